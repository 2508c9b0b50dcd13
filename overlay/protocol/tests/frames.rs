//! Frames survive whatever happens to the stream: cuts, noise, other frames around them.

use proptest::collection::vec;
use proptest::prelude::*;
use uio_protocol::frame::{
    Channel, DELIMITER, Decoder, Frame, FrameError, Header, Kind, encode, encode_body,
};
use uio_protocol::limits::FRAME_BYTES_MAX;
use uio_protocol::rpc::Request;

fn header() -> impl Strategy<Value = Header> {
    let channel =
        prop_oneof![Just(Channel::Rpc), Just(Channel::Events), Just(Channel::Files), Just(Channel::Gdb)];
    let kind = prop_oneof![Just(Kind::Request), Just(Kind::Response), Just(Kind::Notice)];
    (channel, kind, any::<u32>(), any::<u32>()).prop_map(|(channel, kind, session, id)| Header {
        channel,
        kind,
        session,
        id,
    })
}

/// Feeds `stream` in pieces that end at `cuts`.
fn decode(stream: &[u8], cuts: &[usize]) -> Vec<Result<Frame, FrameError>> {
    let mut decoder = Decoder::new();
    let mut found = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        let mut input = &stream[piece[0]..piece[1]];
        while let Some(result) = decoder.next_frame(&mut input) {
            found.push(result);
        }
        assert!(input.is_empty());
    }
    found
}

const ID: Header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 7, id: 9 };

proptest! {
    #[test]
    fn frames_come_back_as_they_went(
        frames in vec((header(), vec(any::<u8>(), 0..300)), 0..8),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let stream: Vec<u8> =
            frames.iter().flat_map(|(header, body)| encode_body(*header, body).unwrap()).collect();
        let found = decode(&stream, &cuts);
        let expected: Vec<_> =
            frames.into_iter().map(|(header, body)| Ok(Frame { header, body })).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn noise_costs_itself_and_what_it_touches(
        noise in vec(any::<u8>(), 0..2000),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let mut stream = noise;
        stream.push(DELIMITER);
        stream.extend(encode(ID, &Request::Ping { marker: 5 }).unwrap());
        let found = decode(&stream, &cuts);
        let last = found.last().unwrap().as_ref().unwrap();
        prop_assert_eq!(last.header, ID);
        prop_assert_eq!(last.message::<Request>().unwrap(), Request::Ping { marker: 5 });
    }

    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let good = encode(ID, &Request::RemoveFile { path: "/etc/nginx/nginx.conf".into() }).unwrap();
        let mut bad = good.clone();
        let index = at.index(bad.len() - 1);
        bad[index] ^= flip;
        let intact = decode(&good, &[]);
        prop_assert!(!decode(&bad, &[]).contains(&intact[0]));
    }

    #[test]
    fn a_cut_frame_is_no_frame(length in 1..60_usize) {
        let whole = encode(ID, &Request::RemoveFile { path: "/x".repeat(20) }).unwrap();
        let mut stream = whole[..length.min(whole.len() - 2)].to_vec();
        stream.push(DELIMITER);
        prop_assert!(decode(&stream, &[]).iter().all(Result::is_err));
    }
}

#[test]
fn a_frame_without_end_is_skipped_and_counted() {
    let mut stream = vec![1; 3 * FRAME_BYTES_MAX];
    stream.push(DELIMITER);
    stream.extend(encode(ID, &Request::Info).unwrap());
    let found = decode(&stream, &[5, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1]);
    assert_eq!(found[0], Err(FrameError::TooLong { bytes: 3 * FRAME_BYTES_MAX }));
    assert_eq!(found[1].as_ref().unwrap().message::<Request>(), Ok(Request::Info));
    assert_eq!(found.len(), 2);
}

#[test]
fn the_largest_frame_passes_and_one_more_byte_does_not() {
    // COBS adds a byte for every 254; the header and the checksum are 16.
    let fits = FRAME_BYTES_MAX - FRAME_BYTES_MAX / 255 - 17;
    let mut largest = 0;
    for bytes in fits - 2..fits + 4 {
        match encode_body(ID, &vec![7; bytes]) {
            Ok(frame) => {
                assert_eq!(decode(&frame, &[]).len(), 1);
                assert!(decode(&frame, &[])[0].is_ok());
                largest = bytes;
            }
            Err(FrameError::TooLong { bytes }) => assert!(bytes > FRAME_BYTES_MAX),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(largest >= fits - 2, "no size near {fits} fits");
    assert!(encode_body(ID, &vec![7; largest + 1]).is_err());
}

#[test]
fn the_layout_is_the_documented_one() {
    // docs/protocol.md: version, channel, kind, reserved, session, id, body, CRC-32, all under COBS.
    let frame = encode(ID, &Request::Info).unwrap();
    let (&delimiter, stuffed) = frame.split_last().unwrap();
    assert_eq!(delimiter, DELIMITER);
    let plain = cobs::decode_vec(stuffed).unwrap();
    assert_eq!(plain[..12], [1, 1, 1, 0, 7, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(plain[12..plain.len() - 4], postcard::to_allocvec(&Request::Info).unwrap());
    let checksum = crc32fast::hash(&plain[..plain.len() - 4]);
    assert_eq!(plain[plain.len() - 4..], checksum.to_le_bytes());
}

#[test]
fn a_message_with_bytes_left_over_is_refused() {
    let mut body = postcard::to_allocvec(&Request::Info).unwrap();
    body.push(0);
    let frame = Frame { header: ID, body };
    assert_eq!(frame.message::<Request>(), Err(FrameError::BadBody));
}

/// The frame that `docs/protocol.md` takes apart.
#[test]
fn the_example_of_the_documentation_is_a_frame() {
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 5, id: 2 };
    let frame = encode(header, &Request::Ping { marker: 7 }).unwrap();
    let text: Vec<String> = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let page = include_str!("../../../docs/protocol.md");
    assert!(page.contains(&text.join(" ")), "{}", text.join(" "));
}
