//! Everything that an extension can do wrong ends that extension, with a report of what it did, and nothing else.
//!
//! The cases are those of `extensions/native/wild`. After each one the application still counts and the shell that saw the
//! report still works.

use serde_json::Value;
use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::golden::assert_golden;
use uio_tests::guest::Guest;
use uio_tests::session::Session;

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a report with this headline, behind the extension's name.
    Fault(&'static str),
    /// It returns, after it printed this: no harm was done.
    Returns(&'static str),
}

use End::{Fault, Returns};

const PRIVILEGED: End = Fault("executed a privileged or misaligned instruction");
const FOREIGN_WRITE: End = Fault("wrote to memory that is not its own");
/// From ring 3 the kernel's pages cannot even be read, and some cases read before they write.
const FOREIGN_READ: End = Fault("read from memory that is not its own");
const WATCHDOG: End = Fault("kept interrupts off until the watchdog ended it");
const BUDGET: End = Fault("used up its budget");

/// A case of `wild`, its end in ring 0, and its end in ring 3.
const CASES: [(&str, End, End); 47] = [
    ("null-read", Fault("read from a null pointer"), Fault("read from a null pointer")),
    ("null-write", Fault("wrote to a null pointer"), Fault("wrote to a null pointer")),
    (
        "wild-read",
        Fault("read from 0x5eafdeadb000, where nothing is mapped"),
        Fault("read from 0x5eafdeadb000"),
    ),
    (
        "wild-write",
        Fault("wrote to 0x5eafdeadb000, where nothing is mapped"),
        Fault("wrote to 0x5eafdeadb000"),
    ),
    ("non-canonical-read", PRIVILEGED, PRIVILEGED),
    ("app-write", Fault("wrote to memory that is not its own: application data"), FOREIGN_WRITE),
    ("kernel-write", Fault("wrote to memory that is not its own: heap"), FOREIGN_READ),
    ("extension-write", Fault("wrote to memory that is not its own: extension "), FOREIGN_WRITE),
    ("text-write", Fault("wrote to memory that is not its own: extension wild text"), FOREIGN_WRITE),
    ("constant-write", Fault("wrote to memory that is not its own: extension wild constants"), FOREIGN_WRITE),
    ("page-table-write", FOREIGN_WRITE, PRIVILEGED),
    ("descriptor-table-write", Fault("wrote to memory that is not its own: kernel data"), FOREIGN_READ),
    ("unaligned-sse", PRIVILEGED, PRIVILEGED),
    ("jump-null", Fault("called a null function pointer"), Fault("called a null function pointer")),
    (
        "jump-garbage",
        Fault("jumped to 0x5eafdeadb000, where nothing is mapped"),
        Fault("jumped to 0x5eafdeadb000"),
    ),
    (
        "jump-data",
        Fault("jumped to memory that is not its own: extension wild data"),
        Fault("jumped to memory"),
    ),
    ("jump-non-canonical", PRIVILEGED, PRIVILEGED),
    ("stack-overflow", Fault("overflowed its stack"), Fault("overflowed its stack")),
    (
        "stack-lost",
        Fault("wrote to 0x5eafdeadaff8, where nothing is mapped"),
        Fault("wrote to 0x5eafdeadaff8"),
    ),
    ("stack-in-kernel", Fault("wrote to memory that is not its own: heap"), FOREIGN_WRITE),
    ("loop", BUDGET, BUDGET),
    ("print-flood", BUDGET, BUDGET),
    ("divide-zero", Fault("divided by zero"), Fault("divided by zero")),
    ("invalid-opcode", Fault("executed an invalid instruction"), Fault("executed an invalid instruction")),
    ("breakpoint", Fault("hit a breakpoint instruction"), Fault("hit a breakpoint instruction")),
    // QEMU's translator does not raise floating-point exceptions; the case needs a processor to fail.
    ("simd-exception", Returns(""), Returns("")),
    ("trap-flag", Fault("hit a debug trap"), Fault("hit a debug trap")),
    ("interrupts-off-return", WATCHDOG, PRIVILEGED),
    ("interrupts-off-loop", WATCHDOG, PRIVILEGED),
    ("interrupts-off-halt", WATCHDOG, PRIVILEGED),
    ("hlt", BUDGET, PRIVILEGED),
    // Ring 0 may use ports: what `--isolation ring3` is for.
    ("port-write", Returns(""), PRIVILEGED),
    ("syscall", Fault("executed an invalid instruction"), Fault("executed an invalid instruction")),
    (
        "gate-recursion",
        Fault("nested calls through gates too deeply"),
        Fault("nested calls through gates too deeply"),
    ),
    ("double-free", Fault("which is not an allocated block"), Fault("which is not an allocated block")),
    ("free-garbage", Fault("which is not an allocated block"), Fault("which is not an allocated block")),
    (
        "gate-unmapped",
        Fault("bad argument 1 to a gate: 0x5eafdeadb000 is not mapped"),
        Fault("bad argument 1 to a gate"),
    ),
    (
        "gate-huge-length",
        Fault("bad argument 1 to a gate: the range passes the end"),
        Fault("bad argument 1 to a gate"),
    ),
    (
        "gate-write-kernel",
        Fault("are not the caller's to write: heap's"),
        Fault("are not the caller's to write: heap's"),
    ),
    (
        "gate-write-refused",
        Returns("to the kernel -1, to nowhere -14"),
        Returns("to the kernel -1, to nowhere -14"),
    ),
    (
        "gate-alignment",
        Fault("the alignment is not a power of two"),
        Fault("the alignment is not a power of two"),
    ),
    ("gate-stack-in-kernel", PRIVILEGED, FOREIGN_READ),
    (
        "gate-direction-flag",
        Returns("printed with the direction flag set"),
        Returns("printed with the direction"),
    ),
    ("gate-float-control", Returns(""), Returns("")),
    ("gate-interrupt", PRIVILEGED, Fault("there is no gate 65535")),
    ("abort", Fault("aborted: wild gives up"), Fault("aborted: wild gives up")),
    // Last: what it took stays taken until it is unloaded.
    ("memory-exhaustion", Fault("wrote to a null pointer"), Fault("wrote to a null pointer")),
];

/// Cases that have tests of their own below.
const ELSEWHERE: [&str; 2] = ["sleep", "jump"];

fn output(objects: &[Value]) -> String {
    objects.iter().filter_map(|one| one["output"].as_str()).collect()
}

/// The report among what a command printed.
fn report(objects: &[Value]) -> Option<&Value> {
    objects.iter().find(|one| one["fault"].is_string())
}

fn load(session: &mut Session, isolation: &str) {
    for name in ["hello", "wild_bounce", "wild"] {
        let loaded = session.ask(&format!("load --isolation {isolation} {}", extension(name)));
        assert_eq!(loaded[0]["name"], name, "{loaded:?}");
        assert_eq!(loaded[0]["isolation"], isolation, "{loaded:?}");
    }
}

/// Runs all cases on a guest with these keys.
fn contains(keys: &str, isolation: &str) {
    let guest = Guest::start(&["--isolation-backend", keys, "--net", "none"]);
    let counter = Counter::of(&guest);
    let mut session = Session::open(&guest);
    load(&mut session, isolation);
    let listed = output(&session.ask("run wild list"));
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let mut known: Vec<&str> = CASES.iter().map(|(name, ..)| *name).chain(ELSEWHERE).collect();
    for case in &listed {
        let index = known.iter().position(|name| name == case);
        known.remove(index.unwrap_or_else(|| panic!("`wild {case}` is not tested")));
    }
    assert!(known.is_empty(), "no such cases any more: {known:?}");

    let mut wrong = Vec::new();
    let mut faults = 0;
    for (case, privileged, unprivileged) in CASES {
        let expected = if isolation == "ring3" { unprivileged } else { privileged };
        let budget_ms = if matches!(expected, BUDGET) { 400 } else { 20_000 };
        let said = session.ask(&format!("run --budget {budget_ms} wild {case}"));
        counter.must_grow(case);
        match (expected, report(&said)) {
            (Fault(headline), Some(report)) => {
                faults += 1;
                let fault = report["fault"].as_str().unwrap_or_default();
                let frames = report["frames"].as_array().map_or(0, Vec::len);
                let registers = report["registers"]["rip"].is_string();
                if !fault.contains(headline) || !registers || frames == 0 {
                    wrong.push(format!(
                        "{case}: expected {headline:?} with frames and registers, got {report}"
                    ));
                }
            }
            (Returns(printed), None) => {
                let text = output(&said);
                if !text.contains(printed) || !text.contains(&format!("{case} came back")) {
                    wrong.push(format!("{case}: printed {text:?}"));
                }
            }
            (expected, report) => wrong.push(format!("{case}: expected {expected:?}, got {report:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What `wild app-write` adds would show.
    assert!(counter.now() < 1_000_000_000, "the application's counter was overwritten: {}", counter.now());

    let extensions = session.ask("ext");
    let counted: u64 = extensions.iter().filter_map(|one| one["faults"].as_u64()).sum();
    assert_eq!(counted, faults, "`ext` counts them: {extensions:?}");
    // Exhausted memory comes back.
    assert!(session.ask("unload wild")[0]["returned_bytes"].as_u64() > Some(16 << 20));
    let said = session.ask(&format!("run --isolation {isolation} {} double-free", extension("wild")));
    assert!(
        report(&said).is_some_and(|one| one["cause"] == "bad-free" || one["fault"].is_string()),
        "{said:?}"
    );
    let threads = session.ask("threads");
    assert!(threads.iter().all(|thread| thread["extension"].is_null()), "runs are left: {threads:?}");
    let said = session.ask("run hello");
    assert!(output(&said).starts_with("hello from thread"), "{said:?}");
}

#[test]
fn by_keys_for_user_pages() {
    contains("pku", "mpk");
}

#[test]
fn by_keys_for_supervisor_pages() {
    contains("pks", "mpk");
}

#[test]
fn in_ring_3() {
    contains("pku", "ring3");
}

/// Ring 3 is kept from other extensions by keys for user pages; without them it is refused.
#[test]
fn ring_3_needs_keys_for_user_pages() {
    let guest = Guest::start(&["--isolation-backend", "pks", "--net", "none"]);
    let shown = guest.execute(&[&format!("load --isolation ring3 {}", extension("hello"))]).bad();
    assert_golden("error_no_ring3", &shown, &[]);
    assert_eq!(guest.json("feature")[0]["isolation"]["ring3"], false);
    assert!(guest.say(&["ext"]).contains("nothing is loaded"));
}

/// Code that could lift its isolation is not loaded at all, except where it cannot do harm or is trusted.
#[test]
fn forbidden_instructions_are_refused() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let mut all = String::new();
    for name in ["wild_wrpkru", "wild_xrstor", "wild_wrmsr"] {
        all.push_str(&guest.execute(&[&format!("load {}", extension(name))]).bad());
        let ring3 = guest.execute(&[&format!("run --isolation ring3 {}", extension(name))]);
        all.push_str(&format!("in ring 3:\n{}", ring3.stdout));
        counter.must_grow(name);
        let _ = guest.execute(&[&format!("unload {name}")]);
    }
    assert_golden(
        "forbidden",
        &all,
        &[(r"\+0x[0-9a-f]+", "+OFFSET"), (r"(?s)backtrace:.*?(hint:|in ring 3|error:)", "REGISTERS\n$1")],
    );
    assert!(guest.say(&["ext"]).contains("nothing is loaded"));
}

/// The inside of a gate has the one instruction that could open everything; jumping to it must not.
#[test]
fn jumping_into_gates_opens_nothing() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let mut session = Session::open(&guest);
    let image = std::fs::read(uio_tests::artifacts::image()).expect("the image");
    assert!(image.windows(3).any(|bytes| bytes == [0x0f, 0x01, 0xef]), "the image has a `wrpkru`");
    let text =
        session.ask("mem").into_iter().find(|one| one["owner"] == "image text").expect("the image's text");
    let start = u64::from_str_radix(text["start"].as_str().unwrap().trim_start_matches("0x"), 16)
        .expect("an address");
    let size = usize::try_from(text["size"].as_u64().expect("a size")).expect("a size");
    let code = guest.client().peek(uio_protocol::GuestAddress(start), size).expect("the text");
    let gates: Vec<u64> = (0..size - 3)
        .filter(|&at| code[at..at + 3] == [0x0f, 0x01, 0xef])
        .map(|at| start + at as u64)
        .collect();
    assert!(!gates.is_empty());
    for isolation in ["mpk", "ring3"] {
        let mut ends = 0;
        let loaded = session.ask(&format!("load --isolation {isolation} {}", extension("wild")));
        assert_eq!(loaded[0]["name"], "wild", "{loaded:?}");
        for gate in &gates {
            let said = session.ask(&format!("run wild jump {gate:#x}"));
            // The gate that leads out of loaded code ends the run as a return from `main` does. No other may.
            let left = said.iter().any(|one| one["returned"] == 0) && output(&said).is_empty();
            ends += u32::from(left);
            assert!(report(&said).is_some() || left, "a jump to {gate:#x} under {isolation}: {said:?}");
            counter.must_grow("a jump into a gate");
            // Whatever was opened would still be open.
            let said = session.ask("run wild app-write");
            assert!(report(&said).is_some(), "after a jump to {gate:#x} under {isolation}: {said:?}");
        }
        assert!(ends <= u32::from(isolation == "mpk"), "{ends} gates lead out under {isolation}");
        let _ = session.ask("unload wild");
    }
    assert!(counter.now() < 1_000_000_000);
}

/// Sleeping uses no CPU time, so no budget ends it; a person does.
#[test]
fn a_sleeper_is_killed_from_another_shell() {
    let guest = Guest::start(&["--net", "none"]);
    for isolation in ["mpk", "ring3"] {
        let mut session = Session::open(&guest);
        let _ = session.ask(&format!("load --isolation {isolation} {}", extension("wild")));
        session.send("run wild sleep");
        let runs = || guest.json("ext")[0]["runs"] == 1;
        assert!(uio_tests::process::within(std::time::Duration::from_secs(20), runs), "it does not run");
        let killed = guest.json("kill wild");
        assert_eq!(killed[0]["ended_runs"], 1, "{killed:?}");
        let said = session.ask("threads");
        assert!(
            report(&said).is_some_and(|one| one["fault"] == "extension `wild` was interrupted"),
            "{said:?}"
        );
        let _ = guest.say(&["unload wild"]);
    }
    Counter::of(&guest).must_grow("kill");
}

#[test]
fn a_rust_panic_is_a_report() {
    let guest = Guest::start(&["--net", "none"]);
    for isolation in ["mpk", "ring3"] {
        for (how, words) in [
            ("index", "index out of bounds"),
            ("unwrap", "called `Option::unwrap()` on a `None` value"),
            ("divide", "attempt to divide by zero"),
            ("panic", "panicked"),
        ] {
            let said = guest
                .execute(&[&format!("run --isolation {isolation} {} {how}", extension("rust_panic"))])
                .bad();
            assert!(said.contains("aborted: ") && said.contains("rust_panic.rs"), "{how}: {said}");
            assert!(said.contains(words), "{how}: {said}");
        }
        let said = guest.say(&[&format!("run --isolation {isolation} {}", extension("rust_hello"))]);
        assert!(!said.contains("fault"), "{said}");
        let _ = guest.say(&["unload rust_panic", "unload rust_hello"]);
    }
    Counter::of(&guest).must_grow("a panic");
}

/// What a person sees.
#[test]
fn reports_read_well() {
    let guest = Guest::start(&["--net", "none"]);
    let wild = extension("wild");
    for case in ["app-write", "null-read", "stack-overflow", "gate-unmapped", "loop"] {
        let shown = guest.execute(&[&format!("run --budget 100 {wild} {case}")]).bad();
        let name = format!("fault_{}", case.replace('-', "_"));
        let volatile = [
            (r"\+0x[0-9a-f]+", "+OFFSET"),
            (r"WORD\n", "WORD\n"),
            (r"extension \d+ of", "extension N of"),
            (r"\(\d+ more|\d+ times", "N times"),
        ];
        assert_golden(&name, &shown, &volatile);
        let _ = guest.say(&["unload wild"]);
    }
}
