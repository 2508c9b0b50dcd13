//! The prompt as a person uses it, on a terminal.

use std::time::Duration;

use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::{Guest, NAME};
use uio_tests::process::within;
use uio_tests::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn commands_at_the_prompt() {
    let guest = Guest::start(&["--net", "none"]);
    let mut terminal = Terminal::open(&guest);
    assert!(terminal.command("info").contains("image       count"));
    assert!(terminal.command("threads | grep app").lines().all(|line| line.contains("app")));
    assert_eq!(terminal.command("print 6 * 7").trim(), "42");
    // Failures are shown, and the prompt comes again.
    assert!(terminal.command("nosuch").contains("error: unknown command `nosuch`"));
    assert!(terminal.command("# nothing").trim().is_empty());
    let said = terminal.command(&format!("run {} a", extension("hello")));
    assert!(said.starts_with("hello from thread"), "{said}");
    let said = terminal.command(&format!("run {} null-read", extension("wild")));
    assert!(said.contains("fault: extension `wild` read from a null pointer"), "{said}");
    let transcript = guest.home().path().join("transcript");
    assert!(terminal.command(&format!("transcript {}", transcript.display())).contains("writing"));
    assert_eq!(terminal.command("print 40 + 2").trim(), "42");
    let _ = terminal.command("transcript off");
    let written = std::fs::read_to_string(&transcript).expect("a transcript");
    assert!(written.contains(&format!("{NAME}> print 40 + 2\n42\n")), "{written}");
    assert!(terminal.leave().contains("the guest runs on"));
    Counter::of(&guest).must_grow("the shell has left");
}

#[test]
fn control_c_ends_the_command_and_nothing_else() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let mut terminal = Terminal::open(&guest);
    for command in
        [format!("run --budget 0 {}", extension("loop")), format!("run {} sleep", extension("wild"))]
    {
        terminal.type_keys(&format!("{command}\r"));
        let runs = || guest.json("ext").iter().any(|one| one["runs"] == 1);
        assert!(within(PATIENCE, runs), "`{command}` does not run");
        terminal.press_control('c');
        let said = terminal.prompt();
        assert!(said.contains("was interrupted") && said.contains("backtrace:"), "{command}: {said}");
        counter.must_grow(&command);
        assert!(terminal.command("threads").contains("app"));
    }
    // Following the log ends the same way.
    terminal.type_keys("log -f\r");
    terminal.wait_for("overlay ready");
    terminal.press_control('c');
    let _ = terminal.prompt();
    // At the prompt it drops the line.
    terminal.type_keys("nonsense");
    terminal.wait_for("nonsense");
    terminal.press_control('c');
    let _ = terminal.prompt();
    assert_eq!(terminal.command("print 1 + 1").trim(), "2");
    assert!(terminal.leave().contains("the guest runs on"));
    counter.must_grow("Ctrl-C");
}

/// What TAB adds to what is typed, or lists.
#[test]
fn tab_completes() {
    let guest = Guest::start(&["--net", "none"]);
    let _ = guest.say(&[&format!("cp host:{} /a-file-of-the-guest", extension("hello"))]);
    let mut terminal = Terminal::open(&guest);
    let hello = extension("hello");
    let cases = [
        ("thr", "threads"),
        ("disasm set_cou", "disasm set_count"),
        ("print coun", "count"),
        ("cat /a-f", "cat /a-file-of-the-guest"),
        (&format!("load {}", &hello[..hello.len() - 4]), hello.as_str()),
        ("help thr", "help threads"),
    ];
    for (typed, completed) in cases {
        terminal.type_keys(&format!("{typed}\t"));
        terminal.wait_for(completed);
        terminal.press_control('c');
        let _ = terminal.prompt();
    }
    // More than one candidate: they are listed.
    terminal.type_keys("lo\t\t");
    terminal.wait_for("log");
    terminal.wait_for("load");
    terminal.wait_for("> lo");
    terminal.press_control('c');
    let _ = terminal.prompt();
    terminal.type_keys("unl\thel\r");
    assert!(terminal.prompt().contains("no extension `hel`"), "TAB leaves a blank behind a word");
}

#[test]
fn history_lasts() {
    let guest = Guest::start(&["--net", "none"]);
    let mut terminal = Terminal::open(&guest);
    assert_eq!(terminal.command("print 1000 + 1").trim(), "1001");
    assert_eq!(terminal.command("print 2000 + 2").trim(), "2002");
    // Up, up, Enter.
    terminal.type_keys("\x1b[A\x1b[A\r");
    assert!(terminal.prompt().ends_with("\n1001"));
    let _ = terminal.leave();
    let mut terminal = Terminal::open(&guest);
    terminal.type_keys("\x1b[A\x1b[A\r");
    assert!(terminal.prompt().ends_with("\n2002"), "the next session remembers");
    let _ = terminal.leave();
}

#[test]
fn warnings_appear_above_the_prompt_and_the_end_is_noticed() {
    let mut guest = Guest::start(&["--net", "none"]);
    let mut terminal = Terminal::open(&guest);
    let name = guest.home().shell(&["stop", NAME]).output().expect("a shell");
    assert!(name.status.success(), "{name:?}");
    assert_eq!(guest.wait_for_end(PATIENCE), Some(0));
    terminal.type_keys("info\r");
    terminal.wait_for("error:");
    terminal.wait_for("the guest is gone");
    let _ = terminal.leave_at_end();
}
