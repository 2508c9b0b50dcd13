//! Shells, QEMU and keepers killed by SIGKILL, which none of them can prepare for.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use uio_shell::client::Client;
use uio_tests::artifacts::{compile, extension};
use uio_tests::counter::Counter;
use uio_tests::guest::{Guest, NAME, is_alive, signal};
use uio_tests::process::{self, within};
use uio_tests::session::Session;

/// For what takes a few milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(20);
/// In this time a keeper's QEMU follows it.
const FOLLOW_LIMIT: Duration = Duration::from_secs(2);

const FLOOD: &str = r#"
#include <uio.h>

static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789\n";

int main(void) {
    for (;;) uio_print(line, sizeof line - 1);
}
"#;

fn runs(client: &Client, name: &str) -> u32 {
    let extensions = client.extensions().expect("an answer");
    extensions.iter().find(|one| one.name == name).map_or(0, |one| one.runs)
}

fn sessions(client: &Client) -> u32 {
    client.info().expect("an answer").sessions
}

/// Kills a shell while `object` runs for it without a limit.
fn shell_dies(guest: &Guest, counter: &Counter, object: &str, name: &str, ready: &str) {
    let client = counter.client();
    let before = sessions(client);
    let mut shell = Session::open(guest);
    shell.send(&format!("run --budget 0 {object}"));
    let deadline = Instant::now() + SOON;
    while !shell.line(SOON).is_some_and(|line| line.contains(ready)) {
        assert!(Instant::now() < deadline, "{name} does not print");
    }
    assert_eq!(sessions(client), before + 1);
    assert_eq!(runs(client, name), 1);
    signal(shell.pid(), Signal::KILL);
    assert!(within(SOON, || runs(client, name) == 0), "{name} runs on without its shell");
    assert!(within(SOON, || sessions(client) == before), "the session stays");
    assert!(
        within(SOON, || guest.instance().is_some_and(|one| one.state.attached == 1)),
        "`ps` counts the dead shell"
    );
    counter.must_grow("the death of a shell");
    // The next one may have what it left.
    assert!(guest.say(&[&format!("unload {name}")]).starts_with(&format!("unloaded {name}")));
    let free = client.threads().expect("threads").iter().all(|thread| thread.extension.is_none());
    assert!(free, "a thread of {name} is left");
}

#[test]
fn a_shell_killed_in_mid_command_takes_its_run_with_it() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    shell_dies(&guest, &counter, &extension("loop"), "loop", "looping");
    let flood = compile("robustness_flood", FLOOD);
    shell_dies(&guest, &counter, &flood, "robustness_flood", "0123456789");

    // One that is stopped, not dead: it takes no output, and the run waits, as at a pipe.
    let client = counter.client();
    let mut shell = Session::open(&guest);
    shell.send(&format!("run --budget 0 {flood}"));
    assert!(shell.line(SOON).is_some());
    signal(shell.pid(), Signal::STOP);
    assert!(
        within(SOON, || {
            let threads = client.threads().expect("threads");
            let cpu_time = |threads: &[uio_protocol::inspect::ThreadInfo]| {
                threads.iter().find(|thread| thread.extension.is_some()).map(|thread| thread.cpu_time_ns)
            };
            let before = cpu_time(&threads);
            std::thread::sleep(Duration::from_millis(200));
            before.is_some() && before == cpu_time(&client.threads().expect("threads"))
        }),
        "the flood does not wait for its shell"
    );
    counter.must_grow("a shell that does not read");
    assert_eq!(guest.say(&["print 6 * 7"]), "42\n");
    signal(shell.pid(), Signal::CONT);
    drop(shell);
    assert!(within(SOON, || runs(client, "robustness_flood") == 0));
    counter.must_grow("all of it");
}

/// An `attach` that waits for a run without an end.
fn waiting_shell(guest: &Guest) -> process::Finished {
    let object = extension("loop");
    process::run(&mut guest.attach(&["-e", &format!("run --budget 0 {object}")]), "", SOON * 2)
}

fn listed(guest: &Guest) -> Vec<Value> {
    uio_tests::guest::parse_lines(&guest.home().run(&["ps", "--json"]).good())
}

/// Ends a process of the guest's while one shell waits for a run and one for a person; both have to notice.
fn shells_notice(guest: &Guest, kill: impl FnOnce() + Send) {
    let client = guest.client();
    let counter = Counter::of(guest);
    counter.must_grow("boot");
    assert_eq!(listed(guest)[0]["name"], NAME);
    let mut idle = Session::open(guest);
    assert_eq!(idle.ask("print 6 * 7").len(), 1);
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| waiting_shell(guest));
        assert!(within(SOON, || runs(&client, "loop") == 1), "the loop does not start");
        kill();
        waiting.join().expect("a shell that ends")
    });
    assert_eq!(waited.code, Some(1), "{waited:#?}");
    assert!(format!("{}{}", waited.stdout, waited.stderr).contains("the guest is gone"), "{waited:#?}");
    idle.send("info");
    let said = idle.line(SOON).unwrap_or_default();
    assert!(said.contains("the guest is gone"), "{said}");
    assert_eq!(idle.close(), Some(1));
    assert!(within(SOON, || listed(guest).is_empty()), "`ps` lists what is gone: {:?}", listed(guest));
    let late = guest.execute(&["info"]);
    assert_eq!(late.code, Some(1), "{late:#?}");
}

#[test]
fn qemu_killed_is_noticed_by_every_shell() {
    let mut guest = Guest::start(&["--net", "none"]);
    let qemu = guest.qemu_pid();
    shells_notice(&guest, || signal(qemu, Signal::KILL));
    // It was nobody's wish, but it is over: what a keeper says then is not decided here, only that it ends.
    assert!(guest.wait_for_end(SOON).is_some(), "the keeper stays");
    assert!(!is_alive(qemu));
}

#[test]
fn a_keeper_killed_takes_qemu_with_it() {
    let guest = Guest::start(&["--net", "none"]);
    let (keeper, qemu) = (guest.keeper_pid(), guest.qemu_pid());
    let name =
        Command::new("ps").args(["-o", "comm=", "-p", &qemu.to_string()]).stdin(Stdio::null()).output();
    assert!(String::from_utf8_lossy(&name.expect("ps").stdout).starts_with("qemu"), "{qemu} is not QEMU");
    let mut followed = None;
    shells_notice(&guest, || {
        let start = Instant::now();
        signal(keeper, Signal::KILL);
        followed = within(SOON, || !is_alive(qemu)).then(|| start.elapsed());
    });
    let followed = followed.expect("QEMU outlives its keeper");
    assert!(followed < FOLLOW_LIMIT, "QEMU followed after {followed:?}");
    // The name is free again.
    let home = guest.home();
    let started = home.run(&[
        "run",
        &uio_tests::artifacts::image().display().to_string(),
        "--name",
        NAME,
        "--accel",
        "tcg",
        "--net",
        "none",
        "--detach",
    ]);
    assert_eq!(started.code, Some(0), "{started:#?}");
    assert_eq!(home.run(&["stop", NAME]).code, Some(0));
}
