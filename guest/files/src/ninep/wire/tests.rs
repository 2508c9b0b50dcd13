use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 200_000];
    let length = request.encode(0x1234, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn encoded_reply(reply: &Reply<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 200_000];
    let length = reply.encode(0x1234, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// Bytes written down from the protocol's description, not made by this code.
#[test]
fn layout_is_the_protocols() {
    let version = Request::Version { message_bytes_max: 8192, version: VERSION };
    assert_eq!(encoded(&version), b"\x15\0\0\0\x64\x34\x12\0\x20\0\0\x08\x009P2000.L");
    let names = Names::take_from(&mut ["etc", "x"].into_iter());
    let walk = Request::Walk { fid: 1, new_fid: 2, names };
    assert_eq!(encoded(&walk), b"\x19\0\0\0\x6e\x34\x12\x01\0\0\0\x02\0\0\0\x02\0\x03\0etc\x01\0x");
    let write = Request::Write { fid: 3, offset: 0x0102_0304_0506_0708, data: b"ab" };
    assert_eq!(
        encoded(&write),
        b"\x19\0\0\0\x76\x34\x12\x03\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x02\0\0\0ab"
    );
    let error = Reply::Error { errno: 2 };
    assert_eq!(encoded_reply(&error), b"\x0b\0\0\0\x07\x34\x12\x02\0\0\0");
    assert_eq!(encoded_reply(&error).len(), DATA_REPLY_BYTES);
}

#[test]
fn sizes_are_the_protocols() {
    let read = Request::Read { fid: 0, offset: 0, count: 0 };
    assert_eq!(encoded(&read).len(), IO_REQUEST_BYTES);
    let write = Request::Write { fid: 0, offset: 0, data: b"" };
    assert_eq!(encoded(&write).len(), IO_REQUEST_BYTES);
    assert_eq!(encoded_reply(&Reply::GetAttributes(Attributes::default())).len(), 160);
    assert_eq!(encoded_reply(&Reply::FileSystemStatus(FileSystemStatus::default())).len(), 67);
    let set = Request::SetAttributes { fid: 0, attributes: SetAttributes::size(1) };
    assert_eq!(encoded(&set).len(), 67);
    let mut qids = Qids::default();
    for _ in 0..WALK_NAMES_MAX {
        qids.push(Qid::default()).unwrap();
    }
    assert_eq!(qids.push(Qid::default()), Err(WireError::TooManyNames { names: 17 }));
    assert!(encoded_reply(&Reply::Walk { qids }).len() <= REPLY_BYTES);
}

#[test]
fn typed_refusals() {
    let mut message = encoded(&Request::Clunk { fid: 1 });
    assert_eq!(Request::decode(&message[..6]), Err(WireError::Short { needed: 2, left: 1 }));
    assert_eq!(Request::decode(&message[..10]), Err(WireError::Size { stated: 11, delivered: 10 }));
    message.push(0);
    assert_eq!(Request::decode(&message), Err(WireError::Size { stated: 11, delivered: 12 }));
    message[0] = 12;
    assert_eq!(Request::decode(&message), Err(WireError::Trailing { bytes: 1 }));
    message[4] = 99;
    assert_eq!(Request::decode(&message), Err(WireError::Type(99)));
    let mut data = encoded_reply(&Reply::Read { data: b"abc" });
    data[7..11].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Reply::decode(&data), Err(WireError::Short { needed: 0xffff_ffff, left: 3 }));
    let long = "x".repeat(70_000);
    let request = Request::Unlink { fid: 0, name: &long, flags: 0 };
    assert_eq!(request.encode(0, &mut [0; 80_000]), Err(WireError::StringTooLong { bytes: 70_000 }));
    assert_eq!(
        Request::Clunk { fid: 1 }.encode(0, &mut [0; 10]),
        Err(WireError::NoRoom { needed: 4, left: 3 })
    );
}

#[test]
fn a_payload_may_travel_apart() {
    let request = Request::Write { fid: 7, offset: 9, data: b"payload" };
    let mut header = [0; IO_REQUEST_BYTES];
    let length = request.encode_header(0x1234, &mut header).unwrap();
    assert_eq!([&header[..length], request.payload()].concat(), encoded(&request));
}

fn qid() -> impl Strategy<Value = Qid> {
    any::<(u8, u32, u64)>().prop_map(|(kind, version, path)| Qid { kind, version, path })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (qid(), any::<[u64; 8]>(), any::<[u32; 3]>(), any::<[(u64, u64); 4]>()).prop_map(
        |(qid, n, small, times)| Attributes {
            valid: n[0],
            qid,
            mode: small[0],
            user: small[1],
            group: small[2],
            links: n[1],
            device: n[2],
            size: n[3],
            block_bytes: n[4],
            blocks: n[5],
            accessed: times[0],
            modified: times[1],
            changed: times[2],
            born: times[3],
            generation: n[6],
            data_version: n[7],
        },
    )
}

type Ingredients = ((u32, u32, u32), u64, String, Vec<String>, Vec<u8>);

fn ingredients() -> impl Strategy<Value = Ingredients> {
    (any::<(u32, u32, u32)>(), any::<u64>(), any::<String>(), vec(any::<String>(), 0..=16), any::<Vec<u8>>())
}

proptest! {
    #[test]
    fn requests_round_trip(((a, b, c), long, text, names, data) in ingredients()) {
        let text = text.as_str();
        let set = SetAttributes {
            valid: a, mode: b, user: c, group: a, size: long, accessed: (1, long), modified: (long, 2),
        };
        let requests = [
            Request::Version { message_bytes_max: a, version: text },
            Request::Attach { fid: a, auth_fid: b, user_name: text, tree: "t", user: c },
            Request::Flush { old_tag: a as u16 },
            Request::Walk { fid: a, new_fid: b, names: Names::take_from(&mut names.iter().map(String::as_str)) },
            Request::Open { fid: a, flags: b },
            Request::Create { fid: a, name: text, flags: b, mode: c, group: a },
            Request::Read { fid: a, offset: long, count: b },
            Request::Write { fid: a, offset: long, data: &data },
            Request::GetAttributes { fid: a, mask: long },
            Request::SetAttributes { fid: a, attributes: set },
            Request::ReadDirectory { fid: a, offset: long, count: b },
            Request::Clunk { fid: a },
            Request::MakeDirectory { fid: a, name: text, mode: b, group: c },
            Request::Unlink { fid: a, name: text, flags: b },
            Request::Rename { old_fid: a, old_name: text, new_fid: b, new_name: "n" },
            Request::Sync { fid: a, data_only: b },
            Request::FileSystemStatus { fid: a },
        ];
        for request in requests {
            let message = encoded(&request);
            prop_assert_eq!(Request::decode(&message), Ok((0x1234, request)));
        }
    }

    #[test]
    fn replies_round_trip(
        ((a, b, c), long, text, _, data) in ingredients(),
        qid in qid(),
        attributes in attributes(),
        count in 0..=WALK_NAMES_MAX,
    ) {
        let mut qids = Qids::default();
        for _ in 0..count {
            qids.push(qid).unwrap();
        }
        let status = FileSystemStatus {
            kind: a, block_bytes: b, blocks: long, blocks_free: 1, blocks_available: long, files: 3, files_free: 4,
            identity: 5, name_bytes_max: c,
        };
        let replies = [
            Reply::Error { errno: a },
            Reply::Version { message_bytes_max: a, version: &text },
            Reply::Attach { qid },
            Reply::Flush,
            Reply::Walk { qids },
            Reply::Open { qid, io_bytes: a },
            Reply::Create { qid, io_bytes: a },
            Reply::Read { data: &data },
            Reply::Write { count: a },
            Reply::GetAttributes(attributes),
            Reply::SetAttributes,
            Reply::ReadDirectory { data: &data },
            Reply::Clunk,
            Reply::MakeDirectory { qid },
            Reply::Unlink,
            Reply::Rename,
            Reply::Sync,
            Reply::FileSystemStatus(status),
        ];
        for reply in replies {
            let message = encoded_reply(&reply);
            prop_assert_eq!(Reply::decode(&message), Ok((0x1234, reply)));
        }
    }

    #[test]
    fn entries_round_trip(qid in qid(), offset: u64, names in vec(any::<Vec<u8>>(), 0..9)) {
        let mut data = vec![0; 10_000];
        let mut at = 0;
        for name in &names {
            at += encode_dirent(&Dirent { qid, offset, kind: 8, name }, &mut data[at..]).unwrap();
        }
        let read: Result<Vec<_>, _> = Dirents::new(&data[..at]).map(|entry| entry.map(|entry| entry.name)).collect();
        prop_assert_eq!(read.unwrap(), names);
    }

    /// Whatever a decoder accepts, it writes again as it was.
    #[test]
    fn decoding_loses_nothing(body: Vec<u8>, kind: u8, tag: u16) {
        let mut message = ((body.len() + HEADER_BYTES) as u32).to_le_bytes().to_vec();
        message.push(kind);
        message.extend(tag.to_le_bytes());
        message.extend(&body);
        let mut again = vec![0; message.len()];
        if let Ok((tag, request)) = Request::decode(&message) {
            prop_assert_eq!(request.encode(tag, &mut again), Ok(message.len()));
            prop_assert_eq!(&again, &message);
        }
        if let Ok((tag, reply)) = Reply::decode(&message) {
            prop_assert_eq!(reply.encode(tag, &mut again), Ok(message.len()));
            prop_assert_eq!(&again, &message);
        }
        for entry in Dirents::new(&body) {
            prop_assert!(entry.is_err() || body.len() >= DIRENT_FIXED_BYTES);
        }
    }

    #[test]
    fn a_cut_message_is_refused(cut in 0usize..160, attributes in attributes()) {
        let message = encoded_reply(&Reply::GetAttributes(attributes));
        prop_assert!(Reply::decode(&message[..cut]).is_err());
        let mut lying = message[..cut].to_vec();
        if cut >= 4 {
            lying[..4].copy_from_slice(&(cut as u32).to_le_bytes());
            prop_assert!(Reply::decode(&lying).is_err());
        }
    }
}
