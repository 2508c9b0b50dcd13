//! Damaged frames and floods on the raw console.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::error::RpcError;
use uio_protocol::frame::{Channel, DELIMITER, Decoder, Header, Kind, encode, encode_body};
use uio_protocol::inspect::Info;
use uio_protocol::limits::FRAME_BYTES_MAX;
use uio_protocol::rpc::{Reply, Request, Response};
use uio_shell::client::Client;
use uio_tests::console::BareGuest;
use uio_tests::counter::{Counter, assert_pace};
use uio_tests::random::Random;

/// The session that the test speaks in.
const SESSION: u32 = 0x7e57;
/// An answer takes a millisecond; a loaded machine stops QEMU for seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const SEED: u64 = 1789;
/// Bytes of one flood.
const FLOOD_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a flood between two ends of frames, at most.
const PIECE_BYTES: usize = 128 * 1024;
/// How long the counter is watched in peace, to know its pace.
const PEACE: Duration = Duration::from_millis(700);
/// Pace in a flood against pace in peace: nine tenths on an idle machine, near nothing if the overlay kept the processor.
const PACE_LEFT_MIN: f64 = 0.3;

/// The console's connection, without a client around it.
struct Raw {
    stream: UnixStream,
    decoder: Decoder,
    received: Vec<u8>,
    next_id: u32,
}

fn header(id: u32) -> Header {
    Header { channel: Channel::Rpc, kind: Kind::Request, session: SESSION, id }
}

impl Raw {
    /// Connects and says `Hello` as a shell does: a delimiter first.
    fn open(guest: &BareGuest) -> Self {
        let stream = guest.connect();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a time limit");
        stream.set_write_timeout(Some(ANSWER_LIMIT)).expect("a time limit");
        let mut raw = Self { stream, decoder: Decoder::new(), received: Vec::new(), next_id: 1 };
        raw.send(&[DELIMITER]);
        let hello = raw.ask(&Request::Hello { protocol_hash: PROTOCOL_HASH });
        assert!(matches!(hello, Ok(Reply::Welcome { .. })), "{hello:?}");
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("a console that takes bytes");
    }

    /// Asks. Whatever else the guest answers meanwhile, nobody has asked.
    fn ask(&mut self, request: &Request) -> Response {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&encode(header(id), request).expect("a frame"));
        let (answered, response) = self.answer();
        assert_eq!(answered, id, "an answer to something else: {response:?}");
        response
    }

    /// The next answer in our session. A predecessor's `Bye` is answered too.
    fn answer(&mut self) -> (u32, Response) {
        loop {
            let mut input = &self.received[..];
            let frame = self.decoder.next_frame(&mut input);
            let left = input.len();
            self.received.drain(..self.received.len() - left);
            let Some(frame) = frame else {
                let mut buffer = [0; 64 * 1024];
                let count = self.stream.read(&mut buffer).expect("an answer");
                assert_ne!(count, 0, "QEMU closed the console");
                self.received.extend_from_slice(&buffer[..count]);
                continue;
            };
            let frame = frame.expect("the guest sends whole frames");
            if frame.header.session == SESSION {
                assert_eq!(frame.header.kind, Kind::Response);
                return (frame.header.id, frame.message().expect("a response"));
            }
        }
    }

    fn info(&mut self) -> Info {
        match self.ask(&Request::Info) {
            Ok(Reply::Info(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    /// The counter, and when it was read by the guest's clock.
    fn sample(&mut self) -> (u64, u64) {
        let peek = Request::Peek { address: Counter::address(), length: 8 };
        let count = match self.ask(&peek) {
            Ok(Reply::Bytes(bytes)) => u64::from_le_bytes(bytes.try_into().expect("8 bytes")),
            other => panic!("{other:?}"),
        };
        (count, self.info().uptime_ns)
    }

    /// Counts a second of guest time while `body` runs.
    fn pace(&mut self, body: impl FnOnce(&mut Self)) -> f64 {
        let (count, time_ns) = self.sample();
        body(self);
        let (count_after, time_after_ns) = self.sample();
        (count_after - count) as f64 * 1e9 / (time_after_ns - time_ns) as f64
    }
}

/// Sends frames that are not right; gives how many there were.
fn send_damaged(raw: &mut Raw) -> u64 {
    let ping = encode(header(u32::MAX), &Request::Ping { marker: 0x1234_5678_9abc_def0 }).expect("a frame");
    let whole = &ping[..ping.len() - 1];
    let mut sent = 0;
    let mut damage = |raw: &mut Raw, bytes: &[u8]| {
        assert!(!bytes.contains(&DELIMITER), "that would be two frames");
        raw.send(bytes);
        raw.send(&[DELIMITER]);
        sent += 1;
    };
    // Cut at each place.
    for length in 1..whole.len() {
        damage(raw, &whole[..length]);
    }
    // Each bit turned.
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << bit;
            if bytes[at] != DELIMITER {
                damage(raw, &bytes);
            }
        }
    }
    // A byte missing, a byte twice, two frames without a delimiter between them, too long.
    for at in 0..whole.len() {
        damage(raw, &[&whole[..at], &whole[at + 1..]].concat());
    }
    damage(raw, &[whole, whole].concat());
    damage(raw, &vec![0x55; FRAME_BYTES_MAX + 1]);
    damage(raw, &vec![0x01; 4 * FRAME_BYTES_MAX]);
    // Whole, but nothing that a guest is asked.
    for (channel, kind) in [
        (Channel::Rpc, Kind::Response),
        (Channel::Rpc, Kind::Notice),
        (Channel::Events, Kind::Request),
        (Channel::Gdb, Kind::Request),
    ] {
        let header = Header { channel, kind, ..header(u32::MAX) };
        let frame = encode(header, &Request::Ping { marker: 0 }).expect("a frame");
        damage(raw, &frame[..frame.len() - 1]);
    }
    sent
}

#[test]
fn damaged_frames_are_counted_and_cost_nothing_else() {
    let guest = BareGuest::start();
    let mut raw = Raw::open(&guest);
    let before = raw.info().bad_frames;
    let sent = send_damaged(&mut raw);
    // `ask` sees that none of them was answered.
    assert_eq!(raw.info().bad_frames, before + sent);

    // A frame whose body is no request gets an answer, since somebody waits for it.
    for body in [&[][..], &[0xff; 40], &[0x00]] {
        raw.send(&encode_body(header(4711), body).expect("a frame"));
        assert_eq!(raw.answer(), (4711, Err(RpcError::Malformed)), "{body:x?}");
    }

    // A shell that dies in the middle of a frame: the next one is heard, and the rest of the frame does not matter.
    let bad = raw.info().bad_frames;
    let frame = encode(header(9), &Request::Info).expect("a frame");
    raw.send(&frame[..frame.len() / 2]);
    drop(raw);
    let mut raw = Raw::open(&guest);
    assert_eq!(raw.info().bad_frames, bad + 1);
    drop(raw);
    let client: Client = guest.session();
    Counter::over(client).must_grow("damaged frames");
}

/// Makes the pieces of a flood.
type Source = Box<dyn FnMut() -> Vec<u8>>;

fn floods() -> [(&'static str, Source); 3] {
    let (mut any, mut endless) = (Random::new(SEED), Random::new(SEED + 1));
    let request = encode(header(1), &Request::Ping { marker: 0 }).expect("a frame");
    let mut almost = request;
    almost[3] ^= 0x40;
    [
        ("random bytes", Box::new(move || any.bytes(PIECE_BYTES))),
        (
            "bytes without an end of a frame",
            Box::new(move || endless.bytes(PIECE_BYTES).into_iter().map(|byte| byte | 1).collect()),
        ),
        (
            "frames with a wrong checksum",
            Box::new(move || almost.iter().copied().cycle().take(PIECE_BYTES).collect()),
        ),
    ]
}

#[test]
fn the_application_keeps_its_pace_in_a_flood_of_bytes() {
    let guest = BareGuest::start();
    let mut raw = Raw::open(&guest);
    let free = raw.info().memory_free_bytes;
    let bad = raw.info().bad_frames;
    let raw = RefCell::new(raw);
    for (name, mut piece) in floods() {
        let peace = || raw.borrow_mut().pace(|_| std::thread::sleep(PEACE));
        let flood = || {
            let pieces: Vec<Vec<u8>> = (0..FLOOD_BYTES / PIECE_BYTES).map(|_| piece()).collect();
            raw.borrow_mut().pace(|raw| {
                for piece in &pieces {
                    raw.send(piece);
                    raw.send(&[DELIMITER]);
                }
            })
        };
        assert_pace(name, PACE_LEFT_MIN, peace, flood);
    }
    let mut raw = raw.into_inner();
    assert!(raw.info().bad_frames >= bad + (3 * FLOOD_BYTES / PIECE_BYTES) as u64);
    let held = free.saturating_sub(raw.info().memory_free_bytes);
    assert!(held <= 2 * FRAME_BYTES_MAX as u64, "the floods hold {held} bytes");
    drop(raw);
    Counter::over(guest.session()).must_grow("floods");
}
