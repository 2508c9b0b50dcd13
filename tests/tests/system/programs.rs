//! eBPF programs: from a source to a run in the guest, and what a person sees of it.

use std::fs;
use std::path::PathBuf;

use uio_tests::artifacts::workspace;
use uio_tests::counter::Counter;
use uio_tests::golden::assert_golden;
use uio_tests::guest::Guest;
use uio_tests::process::within;
use uio_tests::session::Session;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Addresses of code and numbers of time change with each build and run.
const VOLATILE: [(&str, &str); 4] = [
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"0xf[0-9a-f]+", "ADDRESS"),
    (r"\b\d+(\.\d+)? (ns|µs|ms|s) (a run|each|after boot)", "TIME $3"),
    (r"(/[\w.-]+)+/extensions/", "extensions/"),
];

fn guest() -> Guest {
    Guest::start(&["--net", "none"])
}

/// An IPv4 packet with a UDP header, 64 bytes with the Ethernet header, in hexadecimal digits.
pub(crate) fn udp_packet(source: [u8; 4], target: [u8; 4], port: u16) -> String {
    let mut packet = [0_u8; 64];
    packet[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    packet[12..14].copy_from_slice(&[8, 0]);
    packet[14] = 0x45;
    packet[17] = 50;
    packet[22] = 64;
    packet[23] = 17;
    packet[26..30].copy_from_slice(&source);
    packet[30..34].copy_from_slice(&target);
    packet[36..38].copy_from_slice(&port.to_be_bytes());
    packet.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A C source in the test's own folder, which includes what samples include.
fn source(guest: &Guest, name: &str, text: &str) -> PathBuf {
    let path = guest.home().path().join(format!("{name}.c"));
    fs::write(&path, format!("#include \"uio_bpf_net.h\"\n{text}\n")).expect("a source");
    path
}

#[test]
fn a_program_from_source_to_unload() {
    let guest = guest();
    assert_golden("prog_empty", &guest.say(&["prog list", "map list"]), &[]);
    let said = guest.say(&[
        "prog load extensions/bpf/pass.c",
        "prog list",
        "prog show pass",
        "prog dump pass xlated --source",
        "prog dump pass xlated --opcodes",
        "prog dump pass jited --source",
        "prog test pass",
        "prog test 1 --repeat 1000 --data-in 000102030405060708090a0b0800",
    ]);
    assert_golden("prog", &said, &VOLATILE);
    let listed = &guest.json("prog list")[0];
    assert_eq!((listed["run_count"].as_u64(), listed["engine"].as_str()), (Some(1001), Some("jit")));
    let proof = guest.json("prog dump pass proof");
    assert_eq!(proof[0]["bytes"], listed["proof_bytes"]);
    assert!(guest.say(&["prog unload pass"]).starts_with("unloaded pass; "));
    assert!(guest.say(&["prog list"]).starts_with("no program is loaded"));
}

#[test]
fn both_engines_compute_the_same() {
    let guest = guest();
    let bad = udp_packet([10, 0, 0, 1], [10, 0, 0, 2], 12345);
    let good = udp_packet([10, 0, 0, 1], [10, 0, 0, 2], 53);
    for (flag, name) in [("", "fast"), ("--interpret", "slow")] {
        let _ = guest.say(&[&format!("prog load extensions/bpf/port_filter.c --name {name} {flag}")]);
        for (packet, action) in
            [(&bad, "1 (XDP_DROP)"), (&good, "2 (XDP_PASS)"), (&good[..30].into(), "0 (XDP_ABORTED)")]
        {
            let said = guest.say(&[&format!("prog test {name} --data-in {packet}")]);
            assert!(said.starts_with(&format!("returned {action}")), "{name}: {said}");
            assert!(said.contains("unchanged"), "{said}");
        }
    }
    // One that takes bytes out of the packet: a VLAN tag.
    let tagged = format!("{}81000005{}", &good[..24], &good[24..]);
    let out = guest.home().path().join("out");
    for (flag, name) in [("", "strip"), ("--interpret", "strip_slow")] {
        let _ = guest.say(&[&format!("prog load extensions/bpf/strip_vlan.c --name {name} {flag}")]);
        let said = guest.say(&[&format!("prog test {name} --data-in {tagged} --data-out {}", out.display())]);
        assert!(said.contains("data: 64 bytes\n"), "{said}");
        let bytes = fs::read(&out).expect("the packet");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, good, "{name}");
    }
    let packets = guest.home().path().join("packet");
    fs::write(&packets, [0; 40]).expect("a file");
    let said = guest.say(&[&format!("prog test fast --data-in {}", packets.display())]);
    assert!(said.starts_with("returned 2"), "{said}");
}

#[test]
fn one_off_programs_say_what_they_print() {
    let guest = guest();
    let shout = source(
        &guest,
        "shout",
        "SEC(\"raw/16\") int shout(__u8 *memory, __u64 bytes)\n{\n\
         \x20   bpf_printk(\"first %d of %d\", memory[0], bytes);\n    return memory[0] + memory[1];\n}",
    );
    let shout = shout.display();
    for flag in ["", "--interpret"] {
        let said = guest.say(&[&format!("bpf run {shout} AB {flag}")]);
        assert_eq!(said, "first 65 of 16\nreturned 131 (0x83)\n");
        let said = guest.say(&[&format!("bpf run {shout} --data-in 0a0b {flag}")]);
        assert_eq!(said, "first 10 of 16\nreturned 21 (0x15)\n");
    }
    let objects = guest.json(&format!("bpf run {shout} AB"));
    assert_eq!(objects[0]["output"], "first 65 of 16\n");
    assert_eq!(objects[1]["returned"], 131);
    assert!(guest.say(&["prog list", "map list"]).starts_with("no program is loaded"), "nothing is left");
    let refused = guest.execute(&[&format!("bpf run {shout} {}", "x".repeat(17))]).bad();
    assert!(refused.contains("17 bytes of test data; this program takes 0 to 16"), "{refused}");
    let refused = guest.execute(&["bpf run extensions/bpf/pass.c text"]).bad();
    assert!(refused.contains("hint: give it a packet with `--data-in"), "{refused}");
    let refused = guest.execute(&["bpf run extensions/bpf/tail_call.c"]).bad();
    assert!(refused.contains("hint: `--program` chooses one of `dispatch`"), "{refused}");
    let said = guest.say(&["bpf run extensions/bpf/tail_call.c --program dispatch"]);
    assert!(said.starts_with("returned "), "{said}");
}

/// Everything in `extensions/bpf/rejected` is refused with the place in its source.
#[test]
fn unsafe_programs_do_not_reach_the_guest() {
    let guest = guest();
    let folder = workspace().join("extensions/bpf/rejected");
    let mut sources: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    sources.sort();
    assert!(sources.len() > 10);
    let mut session = Session::open(&guest);
    for path in &sources {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let said = session.ask(&format!("prog load {}", path.display()));
        let error = said[0]["error"].as_str().unwrap_or_default();
        // Loops without a proven bound are accepted and bounded by fuel.
        if name.starts_with("loop_") && error.is_empty() {
            assert_eq!(said[0]["fuel"], true, "{name}: {said:?}");
            continue;
        }
        assert!(!error.is_empty(), "{name} was loaded: {said:?}");
    }
    let text = guest.execute(&["prog load extensions/bpf/rejected/null_unchecked.c"]).bad();
    assert_golden("prog_rejected", &text, &VOLATILE);
}

/// A loop that nobody proves to end is stopped by fuel, one that is long by its budget or by a person; the guest goes on.
#[test]
fn runs_are_bounded() {
    let guest = guest();
    let counter = Counter::of(&guest);
    // Nobody knows whether Collatz' sequence reaches 1 from every number; from 0 it does not.
    let endless = source(
        &guest,
        "endless",
        "SEC(\"raw/8\") long endless(__u64 *memory, __u64 bytes)\n{\n    __u64 value = *memory, steps = 0;\n\n\
         \x20   for (; value != 1; steps++)\n        value = value & 1 ? value * 3 + 1 : value / 2;\n    return steps;\n}",
    );
    let loaded = guest.say(&[&format!("prog load {}", endless.display())]);
    assert!(loaded.contains("bounded by fuel"), "{loaded}");
    let steps = guest.say(&["prog test endless --data-in 1b00000000000000"]);
    assert!(steps.starts_with("returned 111,"), "{steps}");
    let stopped = guest.execute(&["prog test endless --budget 20000"]).bad();
    assert!(stopped.contains("ran out of fuel in a loop without a proven bound"), "{stopped}");
    assert_eq!(guest.json("prog list")[0]["faults"], 1);

    let _ = guest.say(&["prog load extensions/bpf/pass.c"]);
    let over = guest.execute(&["prog test pass --repeat 1000000000 --budget 100"]).bad();
    assert!(over.contains("fault: program `pass`") && over.contains("100 ms"), "{over}");
    let mut session = Session::open(&guest);
    session.send("prog test pass --repeat 1000000000 --budget 0");
    let runs = || guest.json("prog show pass")[0]["running"] == 1;
    assert!(within(PATIENCE, runs), "it does not run");
    let refused = guest.execute(&["prog unload pass"]).bad();
    assert!(refused.contains("in use: 1 run of it") && refused.contains("hint:"), "{refused}");
    counter.must_grow("a program that runs long");
    uio_tests::guest::signal(session.pid(), rustix::process::Signal::INT);
    let said = session.ask("prog show pass");
    assert!(said.iter().any(|one| one["fault"] == "program `pass` was interrupted"), "{said:?}");
    assert!(within(PATIENCE, || guest.json("prog show pass")[0]["running"] == 0));
    let _ = guest.say(&["prog unload pass", "prog unload endless"]);
}

#[test]
fn programs_tail_call_through_a_map() {
    let guest = guest();
    let _ = guest.say(&["prog load extensions/bpf/tail_call.c"]);
    let packet = udp_packet([10, 0, 0, 1], [10, 0, 0, 2], 7);
    let test = format!("prog test dispatch --data-in {packet}");
    let alone = guest.say(&[&test]);
    // The array's index is the protocol: UDP is 17.
    let _ = guest.say(&["map update 1 17 3"]);
    assert!(guest.say(&["map dump 1"]).contains("17: program 3"));
    let called = guest.say(&[&test]);
    assert_ne!(alone.split(',').next(), called.split(',').next(), "the target decides");
    let refused = guest.execute(&["prog unload udp"]).bad();
    assert!(
        refused.contains("holds it for tail calls") && refused.contains("hint: `map delete"),
        "{refused}"
    );
    let _ = guest.say(&["map delete 1 17", "prog unload udp"]);
    assert_eq!(guest.say(&[&test]).split(',').next(), alone.split(',').next());
}

#[test]
fn mistakes_have_a_next_step() {
    let guest = guest();
    let _ = guest.say(&["prog load extensions/bpf/pass.c"]);
    let object = guest.home().path().join("noise.o");
    fs::write(&object, b"\x7fELF and nothing else").expect("a file");
    let flat = guest.home().path().join("odd.o");
    fs::write(&flat, [0; 13]).expect("a file");
    let mut text = String::new();
    for command in [
        "prog show pas",
        "prog show nothing",
        "prog laod x",
        "prog test pass --data-in xyz",
        "prog test pass --repeat 0",
        "prog dump pass yited",
        "prog unload 99",
        "prog load /nowhere.o",
        &format!("prog load {}", object.display()),
        &format!("prog load {}", flat.display()),
        "map show nothing",
        "map dump",
        "bpf rnu x",
    ] {
        let refused = guest.execute(&[command]).bad();
        let refused = refused.replace(&guest.home().path().display().to_string(), "FOLDER");
        text.push_str(&format!(
            "> {}\n{refused}",
            command.replace(&guest.home().path().display().to_string(), "FOLDER")
        ));
    }
    assert_golden("prog_errors", &text, &[]);
}

#[test]
fn memory_comes_back() {
    let guest = guest();
    let mut session = Session::open(&guest);
    let free = || guest.json("info")[0]["memory_free_bytes"].as_u64().expect("a number");
    let mut round = || {
        for name in ["pass", "port_filter", "rate_limiter", "round_robin", "lpm_router"] {
            let said = session.ask(&format!("prog load extensions/bpf/{name}.c --name it"));
            assert_eq!(said[0]["name"], "it", "{said:?}");
            let said = session.ask("prog test it --repeat 10");
            assert_eq!(said[0]["runs"], 10, "{said:?}");
            let said = session.ask("prog unload it");
            assert!(said[0]["returned_bytes"].as_u64() > Some(0), "{said:?}");
        }
    };
    // The first round makes room in tables that stay.
    round();
    let before = free();
    for _ in 0..5 {
        round();
    }
    assert_eq!(free(), before, "memory is lost");
    assert_eq!(guest.json("map list").len(), 0);
}
