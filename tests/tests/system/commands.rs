//! Every command of the prompt, by `attach -e` and `--json`.

use std::fs;

use serde_json::Value;
use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::golden::{assert_golden, assert_golden_text};
use uio_tests::guest::{Guest, parse_lines};
use uio_tests::process::{self, LIMIT};

/// Every command, as `help` groups them.
const COMMANDS: [&str; 28] = [
    "info",
    "threads",
    "stack",
    "mem",
    "log",
    "feature",
    "print",
    "set",
    "sym",
    "disasm",
    "peek",
    "poke",
    "ls",
    "cat",
    "cp",
    "edit",
    "run",
    "load",
    "call",
    "ext",
    "kill",
    "unload",
    "bpf",
    "prog",
    "map",
    "help",
    "batch",
    "transcript",
];

const NUMBERS: (&str, &str) = (r"\b\d+\b", "N");

fn text<'value>(value: &'value Value, field: &str) -> &'value str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value}"))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

#[test]
fn help_describes_every_command() {
    let guest = Guest::start(&[]);
    assert_golden_text("help", &guest.say(&["help"]));
    let listed: Vec<String> = guest.json("help").iter().map(|one| text(one, "command").to_owned()).collect();
    assert_eq!(listed, COMMANDS);
    let pages: Vec<String> = COMMANDS.iter().map(|command| format!("help {command}")).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let text = guest.say(&pages);
    assert_golden_text("help_pages", &text);
    for command in COMMANDS {
        let example = text.contains(&format!("\n> {command}"));
        assert!(example, "`help {command}` has no example");
        let dashes = guest.say(&[&format!("{command} --help")]);
        assert_eq!(dashes, guest.say(&[&format!("help {command}")]), "{command} --help");
    }
}

#[test]
fn what_the_guest_is_and_does() {
    let guest = Guest::start(&["--net", "none"]);
    assert_golden("info", &guest.say(&["info"]), &[]);
    assert_golden(
        "threads",
        &guest.say(&["threads"]),
        // How far a thread has come when it is looked at differs.
        &[
            (r"\d+(\.\d+)? (ns|µs|ms|s|B|KiB)\b", "N"),
            NUMBERS,
            (r"(sleeping|waiting).*?  |(ready|running)  ", "STATE  "),
        ],
    );
    assert_golden(
        "mem",
        &guest.say(&["mem"]),
        &[
            (r"(?m)(^.*(heap|memory \(direct map\))\n)+", "BLOCKS\n"),
            (r"in \d+ blocks", "in N blocks"),
            (r"; \d+ alloc", "; N alloc"),
        ],
    );
    assert_golden("feature", &guest.say(&["feature"]), &[]);
    assert_golden("feature_exports", &guest.say(&["feature exports"]), &[]);
    assert_golden("log", &guest.say(&["log"]), &[]);

    let info = &guest.json("info")[0];
    let build_id = process::run(
        std::process::Command::new("readelf").arg("-n").arg(uio_tests::artifacts::image()),
        "",
        LIMIT,
    );
    assert!(build_id.stdout.contains(text(info, "build_id")), "{info} against {}", build_id.stdout);
    assert_eq!((text(info, "image"), text(info, "isolation")), ("count", "pku"));
    assert!(number(info, "memory_free_bytes") <= number(info, "memory_bytes"));

    let threads = guest.json("threads");
    let names: Vec<&str> = threads.iter().map(|thread| text(thread, "name")).collect();
    for name in ["idle", "overlay", "app"] {
        assert!(names.contains(&name), "{name} among {names:?}");
    }
    for thread in &threads {
        assert!(number(thread, "stack_margin_bytes") > 0, "{thread}");
    }
    for region in guest.json("mem") {
        assert!(!(region["write"] == true && region["execute"] == true), "writable and executable: {region}");
    }
    let stack = &guest.json("stack app")[0];
    let frames = stack["frames"].as_array().expect("frames");
    for part in ["guest/images/count/src/main.rs", "uio_kernel::thread::"] {
        assert!(frames.iter().any(|frame| frame.to_string().contains(part)), "no {part} in {stack:#}");
    }
    let shown = guest.say(&["stack app"]);
    assert!(shown.starts_with("thread ") && shown.contains("  0  0xffffffff8"), "{shown}");
    let features = &guest.json("feature")[0];
    assert_eq!(features["isolation"], serde_json::json!({ "mpk": true, "ring3": true, "none": true }));
}

#[test]
fn names_and_memory() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    counter.must_grow("boot");

    assert_golden("sym", &guest.say(&["sym set_count"]), &[NUMBERS]);
    let code = guest.say(&["disasm set_count"]);
    assert!(
        code.starts_with(
            "set_count:
; guest/images/count/src/main.rs:"
        ),
        "{code}"
    );
    assert!(code.contains("xchg [") && code.trim_end().ends_with("ret"), "{code}");
    let address = text(&guest.json("sym count").pop().expect("a symbol"), "address").to_owned();
    assert!(guest.say(&[&format!("sym {address}")]).contains("count"));

    // The application counts on meanwhile, from what was set.
    let before = counter.now();
    let set = guest.say(&["set count 1000000000000"]);
    assert!(set.starts_with("count: ") && set.ends_with(" -> 1000000000000\n"), "{set}");
    let printed: u64 = guest.say(&["print count"]).trim().parse().expect("a number");
    assert!((1_000_000_000_000..1_000_000_100_000).contains(&printed), "{printed}, {before} before");
    let peeked = guest.json("peek count 1 --width 8").pop().expect("a row");
    let bytes = text(&peeked, "bytes");
    let bytes: Vec<u8> =
        (0..16).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
    let peeked = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    assert!((1_000_000_000_000..1_000_000_100_000).contains(&peeked), "{peeked}");
    for (width, value) in [(1, "0x7f"), (2, "0x7fff"), (4, "0x7fffffff"), (8, "5")] {
        let out = guest.say(&[&format!("poke count {value} --width {width}")]);
        assert!(!out.is_empty());
        counter.must_grow("poke");
    }
    assert!(counter.now() < 1_000_000, "poke wrote all eight bytes");
    let printed = guest.json("print &count").pop().expect("a value");
    assert!(printed.to_string().contains(&address), "{printed} against {address}");
    assert_eq!(guest.say(&["print 6 * 7"]).trim(), "42");
    assert!(guest.say(&["print *&count"]).trim().parse::<u64>().is_ok());

    assert_golden("error_print", &guest.execute(&["print cuont"]).bad(), &[]);
    assert_golden("error_set", &guest.execute(&["set count nosuch"]).bad(), &[]);
    assert_golden("error_peek", &guest.execute(&["peek 0"]).bad(), &[]);
    // The image's text is not writable, not even from here.
    assert_golden("error_poke", &guest.execute(&["poke set_count 0"]).bad(), &[]);
    counter.must_grow("refused accesses");
}

#[test]
fn failures_have_exit_code_1_and_say_what_to_do() {
    let guest = Guest::start(&["--net", "none"]);
    let failures = [
        "nosuch",
        "thread",
        "print nosuch",
        "stack 99",
        "stack nobody",
        "sym",
        "peek count 0",
        "peek count --width 3",
        "unload nobody",
        "kill nobody",
        "load /nosuch.o",
        "cat /nosuch",
        "ls /nosuch",
        "call nosuch",
        "call set_count",
        "call set_count 1 2",
        "batch /nosuch",
        "threads | false",
        "threads 'open",
        "threads >",
        "feature nosuch",
    ];
    let mut all = String::new();
    for command in failures {
        let shown = guest.execute(&[command]).bad();
        assert_eq!(shown.matches("error:").count(), 1, "{command}: {shown}");
        all.push_str(&format!("> {command}\n{shown}"));
        let json = process::run(&mut guest.attach(&["--json", "-e", command]), "", LIMIT).bad();
        let objects = parse_lines(&json);
        assert!(objects.iter().any(|one| one["error"].is_string()), "{command}: {objects:?}");
    }
    assert_golden("errors", &all, &[(r"exit status: 1", "STATUS")]);
}

#[test]
fn scripts_stop_at_the_first_failure() {
    let guest = Guest::start(&["--net", "none"]);
    let home = guest.home().path();
    let script = home.join("tour.uio");
    fs::write(&script, "# a comment\n\nprint 1 + 1\nnosuch\nprint 40 + 2\n").expect("a script");
    let script = script.display().to_string();

    let output = process::run(&mut guest.attach(&["-f", &script]), "", LIMIT);
    assert_eq!(output.code, Some(1));
    assert!(output.stdout.starts_with("2\nerror: unknown command"), "{output:#?}");
    assert!(!output.stdout.contains("42"), "{output:#?}");
    assert_eq!(guest.execute(&["nosuch", "print 40 + 2"]).bad().matches("42").count(), 0);

    let batch = guest.execute(&[&format!("batch {script}")]).bad();
    assert!(batch.contains("tour.uio:4: stopped"), "{batch}");
    fs::write(&script, format!("batch {script}\n")).expect("a script");
    let nested = guest.execute(&[&format!("batch {script}")]).bad();
    assert!(nested.contains("call each other"), "{nested}");

    // From a pipe all commands run, and the exit code tells of failures.
    let piped = process::run(&mut guest.attach(&[]), "print 1 + 1\nnosuch\nprint 40 + 2\n", LIMIT);
    assert!(piped.stdout.starts_with("2\n") && piped.stdout.ends_with("42\n"), "{piped:#?}");
    assert_eq!(piped.code, Some(1));
    assert_eq!(process::run(&mut guest.attach(&[]), "print 2\n", LIMIT).code, Some(0));

    let transcript = home.join("transcript");
    let lines = format!("transcript {}\nprint 6 * 7\ntranscript off\nprint 8\n", transcript.display());
    let _ = process::run(&mut guest.attach(&[]), &lines, LIMIT).good();
    let written = fs::read_to_string(&transcript).expect("a transcript");
    assert!(written.contains("42\n") && !written.contains("8\n"), "{written}");
}

#[test]
fn output_goes_to_host_programs_and_files() {
    let guest = Guest::start(&["--net", "none"]);
    // By name: what a thread does at the moment is chance.
    let rows = guest.say(&["threads | grep -w app"]);
    assert!(rows.lines().count() == 1 && !rows.contains("idle"), "{rows}");
    assert_eq!(guest.say(&["threads | head -1 | wc -l"]).trim(), "1");
    let file = guest.home().path().join("out.txt");
    let _ = guest.say(&[&format!("print 1 > {}", file.display()), &format!("print 2 >> {}", file.display())]);
    assert_eq!(fs::read_to_string(&file).expect("output"), "1\n2\n");
    let shown = guest.say(&["threads --json | grep '\"app\"'"]);
    assert_eq!(text(&parse_lines(&shown)[0], "name"), "app");
}

#[test]
fn every_command_speaks_json() {
    let guest = Guest::start(&[]);
    let hello = extension("hello");
    let transcript = guest.home().path().join("transcript").display().to_string();
    let script = guest.home().path().join("script");
    fs::write(&script, "info\n").expect("a script");
    let lines = [
        "help".to_owned(),
        "help info".into(),
        "info".into(),
        "threads".into(),
        "stack app".into(),
        "mem".into(),
        "sym count".into(),
        "print count".into(),
        "set count 5".into(),
        "peek count 8".into(),
        "poke count 5".into(),
        "disasm set_count".into(),
        "log".into(),
        format!("cp host:{} /note", script.display()),
        "ls /".into(),
        "cat /note".into(),
        "call set_count 5".into(),
        format!("load {hello}"),
        "ext".into(),
        "run hello a b".into(),
        "kill hello".into(),
        "unload hello".into(),
        "feature".into(),
        "feature exports".into(),
        "feature helpers".into(),
        "feature maps".into(),
        "feature limits".into(),
        "bpf run extensions/bpf/hello.c hi".into(),
        "prog load extensions/bpf/rate_limiter.c".into(),
        "prog list".into(),
        "prog show rate_limiter".into(),
        "prog test rate_limiter".into(),
        "prog dump rate_limiter xlated".into(),
        "prog dump rate_limiter jited".into(),
        "prog dump rate_limiter proof".into(),
        "map list".into(),
        "map show buckets".into(),
        "map update buckets 10.0.0.1 '{ tokens = 1 }'".into(),
        "map lookup buckets 10.0.0.1".into(),
        "map dump buckets".into(),
        "map delete buckets 10.0.0.1".into(),
        "map pin buckets kept".into(),
        "prog unload rate_limiter".into(),
        "map unpin kept".into(),
        format!("batch {}", script.display()),
        format!("transcript {transcript}"),
        "transcript".into(),
        "transcript off".into(),
    ];
    for line in &lines {
        let objects = guest.json(line);
        assert!(!objects.is_empty() || line == "kill hello", "{line} says nothing");
        assert!(objects.iter().all(Value::is_object), "{line}: {objects:?}");
        // The flag behind the command does the same.
        if line.starts_with("info") {
            assert_eq!(parse_lines(&guest.say(&["info --json"])).len(), objects.len());
        }
    }
}
