//! The guest's console without a keeper: whatever bytes arrive, the application counts on and the next shell is served.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use uio_protocol::GuestAddress;
use uio_protocol::PROTOCOL_HASH;
use uio_protocol::frame::{Channel, Header, Kind, encode};
use uio_protocol::rpc::Request;
use uio_shell::client::Client;
use uio_tests::artifacts::image;
use uio_tests::console::BareGuest;
use uio_tests::guest::parse_lines;
use uio_tests::process::{self, LIMIT};

/// Bytes of noise.
const FLOOD_BYTES: usize = 4 << 20;
const FLOOD_LIMIT: Duration = Duration::from_secs(60);
/// The application counts each millisecond; what it must reach while the console is flooded.
const RATE_MIN: f64 = 100.0;

/// Noise that is the same in each run: a multiplicative generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Writes all bytes, or as many as the guest takes until `limit`; drops what it answers.
fn flood(mut stream: UnixStream, bytes: &[u8]) -> usize {
    let mut reader = stream.try_clone().expect("a second handle");
    let drain = std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    stream.set_write_timeout(Some(FLOOD_LIMIT)).expect("a time limit");
    let mut written = 0;
    for piece in bytes.chunks(32 * 1024) {
        if stream.write_all(piece).is_err() {
            break;
        }
        written += piece.len();
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
    drain.join().expect("a reader");
    written
}

struct Count<'guest> {
    guest: &'guest BareGuest,
    address: GuestAddress,
}

impl<'guest> Count<'guest> {
    fn of(guest: &'guest BareGuest) -> Self {
        let console = guest.console().display().to_string();
        let image = image().display().to_string();
        let line = ["attach", &console, "--image", &image, "--json", "-e", "sym count"];
        let symbols = parse_lines(&process::run(&mut guest.home().shell(&line), "", LIMIT).good());
        let symbol = symbols.iter().find(|symbol| symbol["name"] == "count").expect("`count`");
        let address = symbol["address"].as_str().expect("an address").trim_start_matches("0x");
        Self { guest, address: GuestAddress(u64::from_str_radix(address, 16).expect("an address")) }
    }

    fn read(&self, client: &Client) -> u64 {
        let bytes = client.peek(self.address, 8).expect("the counter");
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }

    /// Counts a second while `during` runs.
    fn rate(&self, during: impl FnOnce()) -> f64 {
        let before = self.read(&self.guest.session());
        let started = Instant::now();
        during();
        let client = self.guest.session();
        let grown = self.read(&client) - before;
        grown as f64 / started.elapsed().as_secs_f64()
    }
}

#[test]
fn a_flood_of_noise() {
    let guest = BareGuest::start();
    let count = Count::of(&guest);
    let idle = count.rate(|| std::thread::sleep(Duration::from_secs(1)));
    let mut noise = Noise(1);
    let bytes = noise.bytes(FLOOD_BYTES);
    let mut written = 0;
    let flooded = count.rate(|| written = flood(guest.connect(), &bytes));
    println!("counts a second: {idle:.0} idle, {flooded:.0} under {written} bytes of noise");
    assert_eq!(written, FLOOD_BYTES, "the guest stops reading");
    assert!(flooded > RATE_MIN, "{flooded} counts a second");
    // No delimiter at all: one frame that never ends.
    let endless = vec![1; 1 << 20];
    let rate = count.rate(|| assert_eq!(flood(guest.connect(), &endless), endless.len()));
    assert!(rate > RATE_MIN, "{rate} counts a second");
    let zeros = vec![0; 1 << 20];
    let rate = count.rate(|| assert_eq!(flood(guest.connect(), &zeros), zeros.len()));
    assert!(rate > RATE_MIN, "{rate} counts a second");
    let info = guest.session().info().expect("the guest answers");
    println!("damaged frames: {}", info.bad_frames);
    assert!(info.bad_frames > 1000, "{info:?}");
}

fn hello(session: u32, id: u32) -> Vec<u8> {
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session, id };
    encode(header, &Request::Hello { protocol_hash: PROTOCOL_HASH }).expect("a frame")
}

#[test]
fn damaged_frames() {
    let guest = BareGuest::start();
    let count = Count::of(&guest);
    let info = guest.session().info().expect("an answer");
    let free = info.memory_free_bytes;
    let mut noise = Noise(2);
    let frame = |id| {
        let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 0x9000_0001, id };
        encode(header, &Request::Ping { marker: u64::from(id) }).expect("a frame")
    };
    let rate = count.rate(|| {
        let mut bytes = Vec::new();
        for id in 0..20_000 {
            let mut piece = frame(id);
            match noise.next() % 4 {
                // Cut off, and the next one follows.
                0 => piece.truncate(noise.next() as usize % piece.len()),
                // A bit is wrong.
                1 => {
                    let at = noise.next() as usize % piece.len();
                    piece[at] ^= 1 << (noise.next() % 8);
                }
                // Twice its middle.
                2 => piece.extend_from_within(1..),
                _ => {}
            }
            bytes.extend(piece);
        }
        assert_eq!(flood(guest.connect(), &bytes), bytes.len());
    });
    assert!(rate > RATE_MIN, "{rate} counts a second");
    // A shell that dies in the middle of a frame costs that frame.
    for length in 1..hello(0x9000_0002, 1).len() {
        let mut stream = guest.connect();
        stream.write_all(&hello(0x9000_0002, 1)[..length]).expect("the console takes it");
        drop(stream);
    }
    let client = guest.session();
    assert_eq!(client.ping(42).expect("an answer"), 42);
    let info = client.info().expect("an answer");
    assert!(info.bad_frames > 1000, "{info:?}");
    assert!(
        info.memory_free_bytes + (1 << 20) > free,
        "{free} bytes free before, now {}",
        info.memory_free_bytes
    );
}

/// A QEMU that somebody else started: `attach` takes its socket.
#[test]
fn attach_takes_a_raw_socket() {
    let guest = BareGuest::start();
    let console = guest.console().display().to_string();
    let image = image().display().to_string();
    let shown = guest.home().run(&["attach", &console, "-e", "info"]).good();
    assert!(shown.contains("image       count"), "{shown}");
    let shown = guest.home().run(&["attach", &console, "--image", &image, "-e", "print count"]).good();
    assert!(shown.trim().parse::<u64>().is_ok(), "{shown}");
    // Another build's symbols would be lies.
    let other = guest.home().run(&["attach", &console, "--image", "/bin/true", "-e", "print count"]);
    assert_eq!(other.code, Some(1), "{other:#?}");
}
