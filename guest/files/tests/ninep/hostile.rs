//! The 9P client against a server that lies.

use std::sync::Arc;

use crate::link::Link;
use crate::{Files, Raw, at, client, connected};
use proptest::prelude::*;
use uio_files::filesystem::FileSystem;
use uio_files::ninep::client::{AttachOptions, Client};
use uio_files::ninep::error::ClientError;
use uio_files::ninep::exercise;
use uio_files::ninep::transport::{Exchange, Transport, TransportError};
use uio_files::ninep::wire::{
    Attributes, Dirent, MESSAGE_BYTES_MAX, Qid, Qids, Reply, Request, VERSION, WireError, encode_dirent,
    kind, mode, open, valid,
};
use uio_files::path::RelativePath;
use uio_protocol::error::FileError;

/// Makes a reply to a request.
type Lie = fn(&[u8]) -> Vec<u8>;

/// A reply of the hostile server to the request with this type and tag.
fn reply(request: &[u8], reply: &Reply<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 100_000];
    let tag = u16::from_le_bytes([request[5], request[6]]);
    let length = reply.encode(tag, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// A link whose server answers requests of one type with what `lie` makes.
fn lying(
    kind: u8,
    mut lie: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
) -> (Arc<Link>, Client<Arc<Link>, Raw>) {
    let (link, client) = client();
    link.server.lock().unwrap().put("/f", &[7; 30_000]);
    link.tamper_with(move |request, honest| Ok(if request[4] == kind { lie(request) } else { honest }));
    (link, client)
}

/// What comes of reading 100 bytes of `/f`.
fn read(client: &Client<Arc<Link>, Raw>) -> Result<usize, ClientError> {
    let (fid, _) = client.walk(["f"].into_iter())?;
    fid.open(open::READ_ONLY)?.read_at(0, &mut [0; 100])
}

fn write(client: &Client<Arc<Link>, Raw>, bytes: &[u8]) -> Result<(), ClientError> {
    let (fid, _) = client.walk(["f"].into_iter())?;
    fid.open(open::WRITE_ONLY)?.write_at(0, bytes)
}

#[test]
fn data_replies_are_checked() {
    let cases: [(ClientError, Lie); 9] = [
        (ClientError::TagMismatch { sent: 0, received: 77 }, |_| {
            reply(&[0, 0, 0, 0, 0, 77, 0], &Reply::Read { data: b"x" })
        }),
        (ClientError::UnexpectedReply { expected: 117, received: 119 }, |request| {
            reply(request, &Reply::Write { count: 0 })
        }),
        (ClientError::Wire(WireError::Short { needed: 11, left: 9 }), |request| {
            reply(request, &Reply::Read { data: b"x" })[..9].to_vec()
        }),
        (ClientError::Wire(WireError::Short { needed: 11, left: 0 }), |_| Vec::new()),
        (ClientError::Wire(WireError::Size { stated: 16, delivered: 14 }), |request| {
            reply(request, &Reply::Read { data: b"12345" })[..14].to_vec()
        }),
        (ClientError::Wire(WireError::Size { stated: 16, delivered: 18 }), |request| {
            [&reply(request, &Reply::Read { data: b"12345" })[..], b"67"].concat()
        }),
        (ClientError::CountTooLarge { asked: 100, received: 101 }, |request| {
            reply(request, &Reply::Read { data: &[0; 101] })
        }),
        (ClientError::Wire(WireError::Size { stated: 111, delivered: 12 }), |request| {
            let mut lie = reply(request, &Reply::Read { data: b"x" });
            lie[7] = 100;
            lie
        }),
        (ClientError::Wire(WireError::Trailing { bytes: 1 }), |request| {
            let mut lie = reply(request, &Reply::Error { errno: 5 });
            lie.push(0);
            lie[0] += 1;
            lie
        }),
    ];
    for (error, lie) in cases {
        let (link, client) = lying(kind::TREAD, lie);
        assert_eq!(read(&client), Err(error));
        link.stop_tampering();
        assert_eq!(read(&client), Ok(100), "the session goes on after {error}");
        assert_eq!(client.fids_in_use(), 1);
        assert_eq!(link.server.lock().unwrap().fids(), 1);
    }
}

#[test]
fn other_replies_are_checked() {
    let cases: [(u8, ClientError, Lie); 6] = [
        (kind::TLOPEN, ClientError::TagMismatch { sent: 0, received: 9 }, |_| {
            reply(&[0, 0, 0, 0, 0, 9, 0], &Reply::Open { qid: Qid::default(), io_bytes: 0 })
        }),
        (kind::TLOPEN, ClientError::UnexpectedReply { expected: 13, received: 111 }, |request| {
            reply(request, &Reply::Walk { qids: Qids::default() })
        }),
        (kind::TLOPEN, ClientError::Wire(WireError::Short { needed: 4, left: 3 }), |request| {
            let mut lie = reply(request, &Reply::Open { qid: Qid::default(), io_bytes: 0 });
            lie.pop();
            lie[0] -= 1;
            lie
        }),
        (kind::TLOPEN, ClientError::CountTooLarge { asked: 256, received: 90_000 }, |_| vec![0; 90_000]),
        (kind::TLOPEN, ClientError::Wire(WireError::Type(42)), |request| {
            let mut lie = reply(request, &Reply::Open { qid: Qid::default(), io_bytes: 0 });
            lie[4] = 42;
            lie
        }),
        (kind::TWALK, ClientError::CountTooLarge { asked: 1, received: 2 }, |request| {
            let mut qids = Qids::default();
            qids.push(Qid::default()).unwrap();
            qids.push(Qid::default()).unwrap();
            reply(request, &Reply::Walk { qids })
        }),
    ];
    for (kind, error, lie) in cases {
        let (link, client) = lying(kind, lie);
        assert_eq!(read(&client), Err(error));
        link.stop_tampering();
        assert_eq!(read(&client), Ok(100), "the session goes on after {error}");
        assert_eq!(client.fids_in_use() as usize, link.server.lock().unwrap().fids());
    }
}

#[test]
fn a_fid_of_unknown_state_is_not_used_again() {
    let (link, client) = lying(kind::TCLUNK, |_| vec![1, 2, 3]);
    assert_eq!(read(&client), Ok(100));
    assert_eq!(client.fids_in_use(), 2);
    link.stop_tampering();
    assert_eq!(read(&client), Ok(100));
    assert_eq!(client.fids_in_use(), 2);
}

#[test]
fn a_drip_of_bytes_is_no_progress() {
    let (link, client) = lying(kind::TREAD, |request| reply(request, &Reply::Read { data: b"x" }));
    link.take_total();
    assert_eq!(read(&client), Err(ClientError::NoProgress { offset: 17 }));
    assert_eq!(link.take_count(kind::TREAD), 17);
    let (link, client) = lying(kind::TWRITE, |request| reply(request, &Reply::Write { count: 1 }));
    assert_eq!(write(&client, &[0; 100]), Err(ClientError::NoProgress { offset: 17 }));
    assert!(link.take_count(kind::TWRITE) <= 17);
}

#[test]
fn counts_of_writes_are_checked() {
    let (_link, client) = lying(kind::TWRITE, |request| reply(request, &Reply::Write { count: 0 }));
    assert_eq!(write(&client, &[0; 100]), Err(ClientError::NoProgress { offset: 0 }));
    let (_link, client) = lying(kind::TWRITE, |request| reply(request, &Reply::Write { count: 101 }));
    assert_eq!(write(&client, &[0; 100]), Err(ClientError::CountTooLarge { asked: 100, received: 101 }));
    // One of several that overlap.
    let mut first = true;
    let (_link, client) = lying(kind::TWRITE, move |request| {
        let count = if core::mem::take(&mut first) { u32::MAX } else { 8168 };
        reply(request, &Reply::Write { count })
    });
    let error = write(&client, &[0; 3 * 8168]).unwrap_err();
    assert_eq!(error, ClientError::CountTooLarge { asked: 8168, received: u32::MAX as usize });
}

fn entry(offset: u64, name: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 600];
    let length = encode_dirent(&Dirent { qid: Qid::default(), offset, kind: 8, name }, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// What comes of listing the root, and the number of `Treaddir`s it took.
fn list(skip: usize, lie: impl FnMut(u64) -> Vec<u8> + Send + 'static) -> (Result<usize, FileError>, usize) {
    let (link, files) = connected();
    let mut lie = lie;
    link.tamper_with(move |request, honest| match Request::decode(request) {
        Ok((_, Request::ReadDirectory { offset, .. })) => {
            Ok(reply(request, &Reply::ReadDirectory { data: &lie(offset) }))
        }
        _ => Ok(honest),
    });
    let outcome = files.list(RelativePath::ROOT, skip, 1000).map(|entries| entries.len());
    assert_eq!(files.client().fids_in_use(), 1);
    (outcome, link.take_count(kind::TREADDIR))
}

#[test]
fn a_directory_that_never_advances_is_given_up() {
    assert_eq!(list(0, |offset| entry(offset, b"again")), (Err(FileError::Io), 1));
    assert_eq!(list(0, |_| entry(5, b"again")), (Err(FileError::Io), 2));
    // Only dots, so that no entry ever counts.
    assert_eq!(list(0, |_| entry(3, b".")), (Err(FileError::Io), 2));
}

#[test]
fn an_endless_directory_is_given_up() {
    let page = |offset: u64| -> Vec<u8> { (1..200).flat_map(|index| entry(offset + index, b"x")).collect() };
    let (outcome, messages) = list(1_000_000, page);
    assert_eq!(outcome, Err(FileError::Io));
    assert_eq!(messages, 65_536 / 199 + 1);
    // A circle of offsets ends the same way.
    let (outcome, _) = list(1_000_000, move |offset| entry((offset + 1) % 7, b"."));
    assert_eq!(outcome, Err(FileError::Io));
}

#[test]
fn entries_are_checked() {
    let mut cut = entry(1, b"name");
    cut.pop();
    assert_eq!(list(0, move |_| cut.clone()), (Err(FileError::Io), 1));
    // Names that the server does not have, or that are no text, are listed without a size.
    let (outcome, _) = list(0, |offset| match offset {
        0 => [entry(1, b"no-such"), entry(2, &[0xff, 0xfe])].concat(),
        _ => Vec::new(),
    });
    assert_eq!(outcome, Ok(2));
    // A name with a slash or dots stays a name and cannot be used as a path.
    let (outcome, _) = list(0, |offset| if offset == 0 { entry(1, b"../../etc/passwd") } else { Vec::new() });
    assert_eq!(outcome, Ok(1));
}

#[test]
fn attributes_have_to_be_there() {
    let (_link, client) = lying(kind::TGETATTR, |request| {
        let attributes = Attributes { valid: valid::MODE, mode: mode::REGULAR, ..Attributes::default() };
        reply(request, &Reply::GetAttributes(attributes))
    });
    let (fid, _) = client.walk(["f"].into_iter()).unwrap();
    assert_eq!(fid.attributes(), Err(ClientError::MissingAttributes { valid: valid::MODE }));
}

#[test]
fn sessions_are_agreed_on_or_refused() {
    let connect = |message_bytes_max, version: &'static str| {
        let link = Arc::new(Link { message_bytes_max: 65_536, ..Link::default() });
        link.tamper_with(move |request, honest| {
            Ok(match request[4] {
                kind::TVERSION => reply(request, &Reply::Version { message_bytes_max, version }),
                _ => honest,
            })
        });
        Client::<_, Raw>::connect(link, &AttachOptions::default()).map(|client| client.message_bytes_max())
    };
    assert_eq!(connect(8192, VERSION), Ok(8192));
    assert_eq!(connect(65_536, VERSION), Ok(65_536));
    assert_eq!(connect(65_537, VERSION), Err(ClientError::MessageSize { bytes: 65_537 }));
    assert_eq!(connect(u32::MAX, VERSION), Err(ClientError::MessageSize { bytes: u32::MAX }));
    assert_eq!(connect(8191, VERSION), Err(ClientError::MessageSize { bytes: 8191 }));
    assert_eq!(connect(0, VERSION), Err(ClientError::MessageSize { bytes: 0 }));
    assert_eq!(connect(8192, "9P2000"), Err(ClientError::Dialect));
    assert_eq!(connect(8192, "unknown"), Err(ClientError::Dialect));
    let small = Link { message_bytes_max: 4096, ..Link::default() };
    let refused = Client::<_, Raw>::connect(small, &AttachOptions::default()).map(drop);
    assert_eq!(refused, Err(ClientError::MessageSize { bytes: 4096 }));
}

#[test]
fn a_transfer_size_of_one_byte_is_ignored() {
    for io_bytes in [1, 511, u32::MAX] {
        let (link, client) = client();
        link.server.lock().unwrap().put("/f", &[7; 30_000]);
        link.server.lock().unwrap().io_bytes = io_bytes;
        let (fid, _) = client.walk(["f"].into_iter()).unwrap();
        let file = fid.open(open::READ_ONLY).unwrap();
        assert_eq!(file.read_at(0, &mut [0; 30_000]), Ok(30_000));
        assert_eq!(link.take_count(kind::TREAD), 4);
    }
}

#[test]
fn a_dead_transport_ends_every_call() {
    let (link, files) = connected();
    link.server.lock().unwrap().put("/f", &[7; 30_000]);
    assert_eq!(files.read_at(at("/f").relative(), 5, &mut [0; 9]), Ok(9));
    for error in [TransportError::Closed, TransportError::TimedOut, TransportError::Device(3)] {
        link.tamper_with(move |_, _| Err(error));
        assert_eq!(files.read_at(at("/f").relative(), 5, &mut [0; 30_000]), Err(FileError::Io));
        assert_eq!(files.write_at(at("/f").relative(), 0, &[0; 30_000]), Err(FileError::Io));
        assert_eq!(files.list(RelativePath::ROOT, 0, 9), Err(FileError::Io));
        assert_eq!(files.status(at("/f").relative()).map(drop), Err(FileError::Io));
        assert_eq!(files.remove(at("/f").relative()), Err(FileError::Io));
    }
}

/// A transport that does nothing, as a broken driver would.
struct Silent;

impl Transport for Silent {
    fn message_bytes_max(&self) -> u32 {
        MESSAGE_BYTES_MAX
    }

    fn exchange(&self, _: &mut Exchange<'_>) {}
}

#[test]
fn an_exchange_that_is_not_done_is_no_reply() {
    let outcome = Client::<_, Raw>::connect(Silent, &AttachOptions::default()).map(drop);
    assert_eq!(outcome, Err(ClientError::Transport(TransportError::NotStarted)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Replies of any bytes: every operation returns.
    #[test]
    fn any_replies(script in proptest::collection::vec(
        (0u8..16, prop_oneof![Just(None), (0usize..300).prop_map(Some)], proptest::collection::vec(any::<u8>(), 0..300)),
        0..60,
    )) {
        let mut bytes = Vec::new();
        for (flags, length, body) in script {
            bytes.push(flags);
            bytes.extend((length.unwrap_or(body.len()) as u16).to_le_bytes());
            bytes.extend(body);
        }
        let _ = exercise::replies::<Raw>(&bytes);
    }

    /// Honest replies with damage in them: no panic, no endless work, and the fids that the client
    /// thinks free are free.
    #[test]
    fn damaged_replies(damage in proptest::collection::vec((0usize..40, 0usize..40, any::<u8>(), 0u8..4), 1..6)) {
        let link = Arc::new(Link::default());
        link.server.lock().unwrap().put("/f", &[1; 20_000]);
        let files = Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
        let mut number = 0;
        link.tamper_with(move |_, mut honest| {
            for (when, place, byte, how) in &damage {
                if *when == number {
                    let place = place % honest.len().max(1);
                    match how {
                        0 => honest.iter_mut().skip(place).take(1).for_each(|at| *at = *byte),
                        1 => honest.truncate(place),
                        2 => honest.push(*byte),
                        _ => return Err(TransportError::Device(u32::from(*byte))),
                    }
                }
            }
            number += 1;
            Ok(honest)
        });
        link.take_total();
        let mut buffer = vec![0; 30_000];
        let f = at("/f");
        let _ = files.read_at(f.relative(), 0, &mut buffer);
        let _ = files.read_at(f.relative(), 0, &mut buffer[..10]);
        let _ = files.read_at(f.relative(), 10, &mut buffer[..10]);
        let _ = files.write_at(f.relative(), 3, &buffer);
        let _ = files.list(RelativePath::ROOT, 0, 10);
        let _ = files.rename(f.relative(), at("/g").relative());
        let _ = files.create(at("/h").relative());
        let _ = files.remove(at("/g").relative());
        prop_assert!(link.take_total() < 200);
        link.stop_tampering();
        prop_assert!(files.client().fids_in_use() as usize + 1 >= link.server.lock().unwrap().fids());
        files.write_at(at("/new").relative(), 0, b"works again").unwrap();
        let count = files.read_at(at("/new").relative(), 0, &mut buffer).unwrap();
        prop_assert_eq!(&buffer[..count], b"works again");
    }
}
