//! Extensions: load, run, call, look into, link to each other, unload.

use std::fs;

use serde_json::Value;
use uio_tests::artifacts::{extension, workspace};
use uio_tests::counter::Counter;
use uio_tests::golden::assert_golden;
use uio_tests::guest::Guest;
use uio_tests::process::within;
use uio_tests::session::Session;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

fn free_bytes(guest: &Guest) -> u64 {
    guest.json("info")[0]["memory_free_bytes"].as_u64().expect("a number")
}

#[test]
fn load_run_call_and_unload() {
    let guest = Guest::start(&["--net", "none"]);
    let add = extension("add");
    let volatile = [(r"0x[0-9a-f]+", "ADDRESS")];
    assert_golden("load", &guest.say(&[&format!("load {add}")]), &volatile);
    assert_golden("ext", &guest.say(&["ext"]), &volatile);
    assert_eq!(guest.say(&["call add 2 3"]).trim(), "returned 5");
    assert_eq!(guest.say(&["call add -7 3"]).trim(), "returned -4");
    assert_eq!(guest.say(&["run add 40 2"]), "40 + 2 = 42\nreturned 42\n");
    let other = guest.execute(&["run --isolation ring3 add 1 2"]).bad();
    assert!(other.contains("`add` was loaded with `--isolation mpk`, not ring3"), "{other}");
    assert!(other.contains("hint: `run --isolation ring3 FILE`"), "{other}");
    assert!(guest.say(&["run --isolation mpk add 1 2"]).contains("returned 3"));
    let anew = guest.say(&[&format!("run --isolation ring3 {add} 1 2")]);
    assert!(anew.contains("(unloaded extension 1, which was mpk)") && anew.contains("returned 3"), "{anew}");
    assert_eq!(guest.json("ext")[0]["isolation"], "ring3");
    let _ = guest.say(&[&format!("run --isolation mpk {add} 1 2")]);
    assert!(guest.say(&["run add one 2"]).contains("\"one\" is not a number"));
    assert_eq!(guest.say(&["unload add"]).split(';').next(), Some("unloaded add"));
    assert!(guest.say(&["ext"]).contains("nothing is loaded"));

    let counter = Counter::of(&guest);
    let returned = guest.json("call set_count 5000000000").pop().expect("a value");
    assert!(
        returned["returned"]["value"].as_u64().is_some_and(|before| before < 5_000_000_000),
        "{returned}"
    );
    assert!(counter.now() >= 5_000_000_000);
}

/// A person's first try: a source, compiled on the way.
#[test]
fn sources_are_compiled() {
    let guest = Guest::start(&["--net", "none"]);
    let hello = workspace().join("extensions/native/hello/hello.c");
    let said = guest.say(&[&format!("run {} world", hello.display())]);
    assert!(said.starts_with("hello from thread") && said.contains("argv[1] = \"world\""), "{said}");
    let rust = workspace().join("extensions/rust/samples/rust_hello.rs");
    let said = guest.execute(&[&format!("run {}", rust.display())]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let broken = guest.home().path().join("broken.c");
    fs::write(&broken, "int main(void) { return nosuch; }\n").expect("a source");
    let said = guest.execute(&[&format!("run {}", broken.display())]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(format!("{}{}", said.stdout, said.stderr).contains("nosuch"), "{said:#?}");
}

/// The application's counter, changed in the two ways that a domain has.
#[test]
fn gates_change_the_application() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let object = extension("set_count");
    for isolation in ["mpk", "ring3", "none"] {
        let _ = guest.say(&["set count 0"]);
        let said = guest.say(&[&format!("run --isolation {isolation} {object} 7000000000")]);
        assert!(counter.now() >= 7_000_000_000, "{isolation}: {said}");
        let said = guest.say(&["run set_count 0"]);
        assert!(said.contains("-> 0") && counter.now() < 7_000_000_000, "{isolation}: {said}");
        let _ = guest.say(&["unload set_count"]);
    }
}

#[test]
fn extensions_link_to_each_other() {
    let guest = Guest::start(&["--net", "none"]);
    let missing = guest.execute(&[&format!("load {}", extension("counter_report"))]).bad();
    assert!(missing.contains("counter_watch_take"), "{missing}");
    // In ring 3 the application's counter is out of reach, so that `init` ends.
    let refused = guest.execute(&[&format!("load --isolation ring3 {}", extension("counter_watch"))]).bad();
    assert!(
        refused.contains("so it was not loaded") && refused.contains("out of reach from ring 3"),
        "{refused}"
    );
    for isolation in ["mpk", "none"] {
        let watch = guest.say(&[&format!("load --isolation {isolation} {}", extension("counter_watch"))]);
        assert!(watch.contains("the counter stands at"), "what `init` prints is shown: {watch}");
        assert!(watch.contains("resident"), "{watch}");
        let _ = guest.say(&[&format!("load --isolation {isolation} {}", extension("counter_report"))]);
        let report = guest.say(&["run counter_report"]);
        let rate: f64 = report
            .lines()
            .find_map(|line| line.strip_suffix(" counts a second"))
            .and_then(|rate| rate.trim().parse().ok())
            .unwrap_or_else(|| panic!("{isolation}: {report}"));
        assert!(rate > 10.0, "{isolation}: {report}");
        assert!(
            guest.say(&["print counter_watch.taken"]).trim().parse::<u64>().is_ok_and(|taken| taken >= 2)
        );
        let listed: Vec<Value> = guest.json("ext");
        assert_eq!(listed[0]["used_by"], serde_json::json!(["counter_report"]), "{listed:?}");
        let refused = guest.execute(&["unload counter_watch"]).bad();
        assert!(refused.contains("counter_report") && refused.contains("hint:"), "{refused}");
        let _ = guest.say(&["unload counter_report", "unload counter_watch"]);
        assert!(guest.say(&["log"]).contains("samples taken"), "`exit` has run");
    }
}

#[test]
fn what_runs_is_not_unloaded() {
    let guest = Guest::start(&["--net", "none"]);
    let mut session = Session::open(&guest);
    session.send(&format!("run --budget 0 {}", extension("loop")));
    let rounds = || guest.json("ext").first().is_some_and(|one| one["runs"] == 1);
    assert!(within(PATIENCE, rounds), "it does not run");
    let refused = guest.execute(&["unload loop"]).bad();
    assert!(refused.contains("in use: 1 run") && refused.contains("hint: `kill"), "{refused}");
    // Its own memory can be looked at meanwhile.
    let first: u64 = guest.say(&["print rounds"]).trim().parse().expect("a number");
    let later = || guest.say(&["print rounds"]).trim().parse::<u64>().is_ok_and(|rounds| rounds > first);
    assert!(within(PATIENCE, later), "`rounds` stands still");
    Counter::of(&guest).must_grow("a loop without a limit");
    assert!(guest.say(&["threads"]).contains("loop"));
    let _ = guest.say(&["kill loop", "unload loop"]);
    let said = session.ask("ext");
    assert!(said.iter().any(|one| one["fault"] == "extension `loop` was interrupted"), "{said:?}");
}

#[test]
fn unloading_gives_memory_back() {
    let guest = Guest::start(&["--net", "none"]);
    let mut session = Session::open(&guest);
    let mut round = |isolation: &str| {
        for (name, arguments) in
            [("hello", "a b"), ("add", "1 2"), ("wild", "null-write"), ("rust_hello", "")]
        {
            let said = session.ask(&format!("run --isolation {isolation} {} {arguments}", extension(name)));
            assert!(!said.is_empty());
            let said = session.ask(&format!("unload {name}"));
            assert!(said[0]["returned_bytes"].as_u64() > Some(0), "{said:?}");
        }
    };
    // The first rounds make room in tables that stay.
    for isolation in ["mpk", "ring3", "none"] {
        round(isolation);
    }
    let before = free_bytes(&guest);
    let threads = guest.json("threads").len();
    for _ in 0..8 {
        for isolation in ["mpk", "ring3"] {
            round(isolation);
        }
    }
    assert_eq!(free_bytes(&guest), before, "memory is lost");
    assert_eq!(guest.json("threads").len(), threads, "threads are left");
}

const LEAKS: usize = 6;

#[test]
fn the_leak_finder_finds_a_leak() {
    let guest = Guest::start(&["--net", "none"]);
    let object = extension("heap_leaks");
    let before = guest.say(&[&format!("run --budget 20000 {object}")]);
    for _ in 0..LEAKS {
        let _ = guest.say(&["call leak 12345"]);
    }
    let after = guest.say(&["run --budget 20000 heap_leaks"]);
    // Blocks of this size, by the table of sizes. A stale copy of a pointer may hide one or two.
    let leaked = |text: &str| -> usize {
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.len() == 3 && row[0].parse().is_ok_and(|size| (12_345..12_500).contains(&size)))
            .filter_map(|row| row[1].parse::<usize>().ok())
            .sum()
    };
    assert_eq!(leaked(&before), 0, "{before}");
    assert!((LEAKS / 2..=LEAKS).contains(&leaked(&after)), "{after}");
}

/// Others that came and went leave stale words behind, which can hide a leak, but make nothing look like one.
#[test]
fn the_leak_finder_among_other_extensions() {
    let guest = Guest::start(&["--net", "none"]);
    for name in ["hello", "add", "set_count", "counter_watch", "counter_report"] {
        let _ = guest.say(&[&format!("load {}", extension(name))]);
    }
    let _ = guest.say(&["run hello", "run add 1 2", "unload hello", "unload add"]);
    let _ = guest.execute(&[&format!("run {} null-read", extension("wild"))]).bad();
    let _ = guest.say(&["unload wild"]);
    let before = guest.say(&[&format!("run --budget 20000 {}", extension("heap_leaks"))]);
    assert!(before.contains("no leaks"), "{before}");
    let calls = ["call leak 12345"; 3 * LEAKS];
    let _ = guest.say(&calls);
    let after = guest.say(&["run --budget 20000 heap_leaks"]);
    let table = after.split_once("bytes each").map_or("", |(_, table)| table);
    let sizes: Vec<u64> =
        table.lines().skip(1).map_while(|line| line.split_whitespace().next()?.parse().ok()).collect();
    // Blocks are made up to whole granules.
    assert!(sizes.len() == 1 && (12_345..12_500).contains(&sizes[0]), "{after}");
}
