//! Shells that leave in the middle of something.

use std::time::Duration;

use rustix::process::Signal;
use uio_protocol::limits::UPLOADS_MAX;
use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::{Guest, signal};
use uio_tests::process::within;
use uio_tests::session::Session;

const PATIENCE: Duration = Duration::from_secs(20);

/// Uploads of two MiB that are begun and left.
const ROUNDS: usize = 6;

/// What a round must not use up: sessions, memory, threads.
fn holdings(guest: &Guest) -> (u64, u64, usize) {
    let info = &guest.json("info")[0];
    let number = |field: &str| info[field].as_u64().expect("a number");
    (number("shells"), number("memory_free_bytes"), guest.json("threads").len())
}

/// Half of them leave without a word.
#[test]
fn connections_that_break_leave_nothing() {
    let guest = Guest::start(&["--net", "none"]);
    let socket = guest.socket();
    let before = holdings(&guest);
    for round in 0_usize..300 {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("a connection");
        let junk: Vec<u8> = (0..round * 7).map(|index| (index * 131 + round) as u8).collect();
        // The keeper may hang up on what it does not understand.
        let _ = std::io::Write::write_all(&mut stream, &junk);
    }
    assert!(
        within(PATIENCE, || holdings(&guest) == before),
        "{:?} before, {:?} after",
        before,
        holdings(&guest)
    );
    Counter::of(&guest).must_grow("broken connections");
}

#[test]
fn a_shell_killed_in_mid_command_takes_its_runs_with_it() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let object = extension("loop");
    for isolation in ["mpk", "ring3"] {
        let mut victim = Session::open(&guest);
        victim.send(&format!("run --budget 0 --isolation {isolation} {object}"));
        let runs =
            |wanted: u64| guest.json("ext").first().and_then(|one| one["runs"].as_u64()) == Some(wanted);
        assert!(within(PATIENCE, || runs(1)), "it does not run");
        signal(victim.pid(), Signal::KILL);
        assert!(within(PATIENCE, || runs(0)), "the run of a dead shell goes on");
        counter.must_grow("SIGKILL");
        assert!(guest.json("threads").iter().all(|thread| thread["extension"].is_null()));
        let _ = guest.say(&["unload loop"]);
    }
    // In the middle of other commands.
    for (command, wait_ms) in
        [("peek 0xffffffff80200000 100000", 20), ("run nosuch", 5), ("mem", 1), ("log -f", 50)]
    {
        let mut victim = Session::open(&guest);
        victim.send(command);
        std::thread::sleep(Duration::from_millis(wait_ms));
        signal(victim.pid(), Signal::KILL);
        counter.must_grow(command);
    }
    assert!(within(PATIENCE, || guest.json("info")[0]["shells"] == 2));
}

/// An upload that its shell never finishes is dropped with the shell.
#[test]
fn half_a_load_is_forgotten() {
    let guest = Guest::start(&["--net", "none"]);
    let object = vec![7; 1 << 20];
    let round = || {
        let client = guest.client();
        let _ = client.upload(&object).expect("an upload");
        let _ = client.upload(&object).expect("a second upload");
        assert!(client.upload(&object).is_err(), "one shell may have two uploads");
    };
    // The heap keeps what it grew by.
    round();
    assert!(within(PATIENCE, || holdings(&guest).0 == 1));
    let before = holdings(&guest);
    for _ in 0..ROUNDS {
        round();
    }
    // All of it together, had it been kept, would be three times as much.
    let lost_mib = || before.1.saturating_sub(holdings(&guest).1) >> 20;
    let few = within(PATIENCE, || holdings(&guest).0 == 1 && lost_mib() <= UPLOADS_MAX as u64);
    assert!(few, "{before:?} before, {:?} after", holdings(&guest));
    assert_eq!(holdings(&guest).2, before.2, "threads are left");
}

/// A run that prints without end to a shell that does not read waits; it does not fill the guest's memory.
#[test]
fn a_shell_that_does_not_read_costs_nothing() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let mut silent = Session::open(&guest);
    let _ = silent.ask(&format!("load {}", extension("wild")));
    signal(silent.pid(), Signal::STOP);
    let before = guest.json("info")[0]["memory_free_bytes"].as_u64().expect("a number");
    signal(silent.pid(), Signal::CONT);
    silent.send("run --budget 0 wild print-flood");
    assert!(silent.line(PATIENCE).is_some(), "it prints");
    signal(silent.pid(), Signal::STOP);
    std::thread::sleep(Duration::from_secs(1));
    counter.must_grow("a shell that does not read");
    let during = guest.json("info")[0]["memory_free_bytes"].as_u64().expect("a number");
    assert!(during + (2 << 20) > before, "{before} bytes free before, {during} during");
    assert!(guest.say(&["threads"]).contains("wild"));
    let _ = guest.say(&["kill wild"]);
    signal(silent.pid(), Signal::KILL);
    assert!(within(PATIENCE, || guest.json("ext")[0]["runs"] == 0));
}
