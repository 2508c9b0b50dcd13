//! Attaching and detaching, ten thousand times.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::frame::{Channel, Header, Kind, encode};
use uio_protocol::rpc::Request;
use uio_shell::client::Client;
use uio_tests::counter::Counter;
use uio_tests::guest::Guest;
use uio_tests::process::{LIMIT, within};

const ROUNDS: usize = 10_000;
/// Shells at a time. More than one, so that sessions overlap.
const SHELLS: usize = 2;
/// Of that many rounds one leaves without a word, and one dies in its `Hello`.
const RUDE_EVERY: usize = 8;
/// The keeper's session and the one that asks.
const OWN_SESSIONS: u32 = 2;
/// Memory that may be missing afterwards: what lists and queues grew by. Ten bytes kept per round would be more.
const KEPT_BYTES_MAX: u64 = 64 * 1024;
/// Attaching takes a millisecond. Half a second is what a person would notice.
const ATTACH_LIMIT: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(20);

/// A shell that dies in the middle of its first frame, or right behind it.
fn die(guest: &Guest, whole: bool) {
    let mut stream = UnixStream::connect(guest.socket()).expect("a keeper that listens");
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 0x8000_0001, id: 1 };
    let hello = encode(header, &Request::Hello { protocol_hash: PROTOCOL_HASH }).expect("a frame");
    let length = if whole { hello.len() } else { hello.len() / 2 };
    stream.write_all(&hello[..length]).expect("a keeper that reads");
}

fn attach(guest: &Guest, round: usize) {
    match round % RUDE_EVERY {
        0 => die(guest, true),
        1 => die(guest, false),
        _ => {
            let client = Client::connect(&guest.socket(), LIMIT)
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
            if round % 64 == 2 {
                assert_eq!(client.ping(round as u64).expect("an answer"), round as u64);
            }
        }
    }
}

/// The fastest of a few tries: a loaded machine is slow now and then, a keeper that has piled something up always.
fn attach_time(guest: &Guest) -> Duration {
    let try_once = || {
        let start = Instant::now();
        drop(guest.client());
        start.elapsed()
    };
    (0..10).map(|_| try_once()).min().expect("ten tries")
}

#[test]
fn ten_thousand_rounds_leave_nothing_behind() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let client = counter.client();
    for round in 0..200 {
        attach(&guest, round);
    }
    let settled = || client.info().expect("an answer").sessions == OWN_SESSIONS;
    assert!(within(SOON, settled), "{:?}", client.info());
    let (before, used) = (client.info().expect("an answer"), client.heap().expect("an answer").used_bytes);

    let count = counter.now();
    std::thread::scope(|scope| {
        for shell in 0..SHELLS {
            let guest = &guest;
            scope.spawn(move || (0..ROUNDS / SHELLS).for_each(|round| attach(guest, round + shell)));
        }
    });
    assert!(counter.now() > count, "the application stood still");

    assert!(within(SOON, settled), "{:?}", client.info());
    let (after, used_after) =
        (client.info().expect("an answer"), client.heap().expect("an answer").used_bytes);
    let kept = before.memory_free_bytes.saturating_sub(after.memory_free_bytes);
    assert!(kept <= KEPT_BYTES_MAX, "{kept} bytes of memory are gone");
    let kept = used_after.saturating_sub(used);
    assert!(kept <= KEPT_BYTES_MAX, "{kept} bytes of the heap are gone");
    assert!(
        within(SOON, || guest.instance().is_some_and(|one| one.state.attached == 1)),
        "the keeper counts shells that left"
    );
    let fastest = attach_time(&guest);
    assert!(fastest < ATTACH_LIMIT, "attaching takes {fastest:?} now");
    let threads =
        std::fs::read_dir(format!("/proc/{}/task", guest.keeper_pid())).expect("the keeper").count();
    assert!(within(SOON, || threads < 32), "the keeper has {threads} threads");
    counter.must_grow("ten thousand rounds");
}
