//! `run`, `ps`, `stop`, `doctor`: guests from start to end.

use std::time::Duration;

use uio_tests::artifacts;
use uio_tests::golden::assert_golden;
use uio_tests::guest::{Guest, Home, NAME, is_alive, parse_lines};
use uio_tests::process::{self, LIMIT, within};
use uio_tests::slots::Slot;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the background guests of a test, however it ends.
struct Detached<'home>(&'home Home);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let listed = process::run(&mut self.0.shell(&["ps", "--json"]), "", LIMIT);
        for name in
            listed.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        {
            let _ = self.0.run(&["stop", "--force", name["name"].as_str().unwrap_or_default()]);
        }
    }
}

#[test]
fn a_background_guest_from_start_to_stop() {
    artifacts::install();
    let image = artifacts::image().display().to_string();
    let (_slot, _another) = (Slot::take(), ());
    let home = Home::new();
    let _guests = Detached(&home);
    assert!(home.run(&["ps"]).good().is_empty());
    let none = home.run(&["attach", "-e", "info"]);
    assert_eq!(none.code, Some(1));
    assert_golden("error_nothing_runs", &none.stderr, &[]);

    let run = |extra: &[&str]| {
        let mut line = vec!["run", &image, "--accel", "tcg", "--net", "none", "--detach"];
        line.extend(extra);
        home.run(&line)
    };
    assert_eq!(run(&[]).good(), "count\n");
    // It answers at once, and by no name while it is alone.
    assert!(home.run(&["attach", "-e", "info"]).good().contains("image       count"));
    let taken = run(&["--name", NAME]);
    assert_eq!(taken.code, Some(1));
    assert_golden("error_name_taken", &taken.stderr, &[(r"process \d+", "process N")]);
    assert_eq!(run(&["--machine", "microvm"]).good(), "count-2\n");
    assert_golden("error_which", &home.run(&["attach", "-e", "info"]).stderr, &[]);
    let unknown = home.run(&["attach", "coutn", "-e", "info"]);
    assert_eq!(unknown.code, Some(1));
    assert_golden("error_no_such_instance", &unknown.stderr, &[]);

    // A keeper takes note of a shell that has left a moment after it did.
    let nobody = || parse_lines(&home.run(&["ps", "--json"]).good()).iter().all(|one| one["attached"] == 0);
    assert!(within(PATIENCE, nobody), "`ps` counts shells that have left");
    let listed = home.run(&["ps"]).good();
    assert_golden("ps", &listed, &[(r"\b[0-9a-f]{12}\b", "BUILD-ID")]);
    let instances = parse_lines(&home.run(&["ps", "--json"]).good());
    let pids: Vec<i32> = instances
        .iter()
        .map(|one| i32::try_from(one["pid"].as_i64().expect("a pid")).expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    assert_eq!(home.run(&["stop", "count-2"]).good(), "count-2\n");
    assert_eq!(home.run(&["stop", "--force", "count"]).good(), "count\n");
    assert!(within(PATIENCE, || pids.iter().all(|&pid| !is_alive(pid))), "keepers are left: {pids:?}");
    assert!(home.run(&["ps"]).good().is_empty());
    assert_eq!(home.run(&["stop", "count"]).code, Some(1));
}

#[test]
fn attach_waits_for_a_guest_that_starts() {
    artifacts::install();
    let image = artifacts::image().display().to_string();
    let _slot = Slot::take();
    let home = Home::new();
    let _guests = Detached(&home);
    let waiting = std::thread::scope(|scope| {
        let attach = scope.spawn(|| home.run(&["attach", "later", "--waitfor", "-e", "print 6 * 7"]));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!attach.is_finished(), "it does not wait");
        let started =
            home.run(&["run", &image, "--accel", "tcg", "--net", "none", "--name", "later", "--detach"]);
        assert_eq!(started.good(), "later\n");
        attach.join().expect("a shell")
    });
    assert_eq!(waiting.good(), "42\n");
}

#[test]
fn wrong_command_lines_are_explained() {
    artifacts::install();
    let home = Home::new();
    let mut all = String::new();
    for line in [
        &["run", "coutn"][..],
        &["run", "./nosuch"],
        &["run", "count", "--mem", "3"],
        &["run", "count", "--share", "/nosuch/folder"],
        &["run", "count", "--net", "bridge"],
        &["stop", "nobody"],
        &["attach", "nobody"],
    ] {
        let said = home.run(line);
        assert_ne!(said.code, Some(0), "{line:?}");
        all.push_str(&format!("> {} ({:?})\n{}{}\n", line.join(" "), said.code, said.stdout, said.stderr));
    }
    assert_golden("command_lines", &all, &[]);
}

#[test]
fn doctor_says_what_is_there() {
    artifacts::install();
    let home = Home::new();
    let findings = home.run(&["doctor", "--json"]);
    let findings = parse_lines(&findings.stdout);
    assert!(findings.len() > 3, "{findings:?}");
    let text = home.run(&["doctor"]).stdout;
    for program in ["qemu", "clang"] {
        assert!(text.to_lowercase().contains(program), "{text}");
    }
    // Without QEMU in reach it says how to get it.
    let lost = process::run(home.shell(&["doctor"]).env("PATH", "/nonexistent"), "", LIMIT);
    assert_eq!(lost.code, Some(1));
    assert!(lost.stdout.contains("apt-get install"), "{lost:#?}");
}

/// `stop` asks the guest, which powers itself off with exit code 0.
#[test]
fn a_guest_powers_itself_off() {
    for machine in ["q35", "microvm"] {
        let mut guest = Guest::start(&["--net", "none", "--machine", machine]);
        let client = guest.client();
        client.power_off(0).expect("a request");
        assert_eq!(guest.wait_for_end(PATIENCE), Some(0), "{machine}");
        let mut guest = Guest::start(&["--net", "none", "--machine", machine]);
        let client = guest.client();
        client.power_off(7).expect("a request");
        assert_eq!(guest.wait_for_end(PATIENCE), Some(7), "{machine}");
    }
}
