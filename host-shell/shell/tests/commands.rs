//! What a person sees of each command, against a scripted guest.

mod guest;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use uio_shell::client::Client;
use uio_shell::commands::{Interrupts, Output, Shell, Target};
use uio_shell::render::style::Style;
use uio_shell::repl::line::execute_into;

struct Session {
    shell: Shell,
    guest: Option<JoinHandle<guest::Report>>,
}

impl Session {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let guest = guest::serve(theirs);
        let client = Client::over(ours, Path::new("test"), Duration::from_secs(5)).unwrap();
        let target = Target { name: "count".into(), image: None, directory: None, share: None };
        Self { shell: Shell::new(client, target, Interrupts::default()), guest: Some(guest) }
    }

    /// Output and success of a line.
    fn run(&mut self, line: &str, json: bool) -> (String, bool) {
        let mut text = Vec::new();
        let mut out = Output::new(&mut text, Style::PLAIN, json);
        let good = execute_into(&mut self.shell, line, &mut out).is_ok();
        (String::from_utf8(text).unwrap(), good)
    }

    #[track_caller]
    fn check(&mut self, line: &str, good: bool, expected: &str) {
        assert_eq!(self.run(line, false), (expected.to_owned(), good), "{line}");
    }

    fn end(mut self) -> guest::Report {
        let guest = self.guest.take().unwrap();
        drop(self.shell);
        guest.join().unwrap()
    }
}

#[test]
fn threads_and_memory() {
    let mut session = Session::new();
    session.check(
        "threads",
        true,
        "TID  NAME     STATE              PRIO  CPU TIME   STACK  MARGIN\n\
        \x20 1  idle     ready                 0   11.80 s  64 KiB  60 KiB\n\
        \x20 2  app      sleeping 600.0 µs     2  520.1 ms  64 KiB  60 KiB\n\
        \x20 3  overlay  running               3    2.4 ms  64 KiB  60 KiB\n\
        \x20 4  9p       waiting: 9p reply     4      0 ns  64 KiB  60 KiB\n",
    );
    session.check(
        "mem",
        true,
        "START                SIZE  ACCESS  KEY  OWNER\n\
         0xffffffff80072000  4 KiB  rw-       1  application data\n\
         \n\
         heap: 212 KiB in 1204 blocks of 1 MiB reserved; largest free block 811 KiB; 18220 allocations since boot\n",
    );
    session.check("peek 0xffffffff80072000 2 --width 4", true, "0xffffffff80072000  03020100 07060504\n");
    session.check("poke 0xffffffff80072000 -1 --width 2", true, "0xffffffff80072000  00 01 -> ff ff\n");
    session.check("peek 0xffffffff80072000 1 --width 2", true, "0xffffffff80072000  ffff\n");
    session.check(
        "peek 0x10",
        false,
        "error: cannot read memory at 0x10: nothing is mapped there\n  hint: `mem` lists what is mapped and what may be written\n",
    );
}

#[test]
fn files() {
    let mut session = Session::new();
    session.check("ls", true, "TYPE  SIZE  NAME\ndir      -  etc\n");
    session.check("cat /etc/motd", true, "Welcome to count.\n");
    session.check("cp etc/motd /etc/copy", true, "/etc/motd -> /etc/copy (18 B)\n");
    session.check("ls /etc", true, "TYPE  SIZE  NAME\nfile  18 B  copy\nfile  18 B  motd\n");
    session.check(
        "cat /nothing",
        false,
        "error: /nothing: no such file or directory\n  hint: `ls` shows what is there; paths start at `/`\n",
    );
    let folder = std::env::temp_dir().join(format!("uio-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // More than one chunk, and not a multiple of one.
    let contents: Vec<u8> = (0..100_001_u32).map(|number| number as u8).collect();
    std::fs::write(folder.join("big"), &contents).unwrap();
    let folder_name = folder.display();
    let (_, good) = session.run(&format!("cp host:{folder_name}/big /etc"), false);
    assert!(good);
    let (_, good) = session.run(&format!("cp /etc/big host:{folder_name}/back"), false);
    assert!(good);
    assert!(std::fs::read(folder.join("back")).unwrap() == contents);
    let (_, good) = session.run(&format!("cat /etc/motd > {folder_name}/motd"), false);
    assert!(good);
    assert_eq!(std::fs::read(folder.join("motd")).unwrap(), b"Welcome to count.\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn runs() {
    let mut session = Session::new();
    session.check("run hello big world", true, "Hello, big world!\n");
    let (text, good) = session.run("run wild", false);
    assert!(!good, "a fault is a failure");
    assert!(text.starts_with(
        "about to write\nfault: extension `wild` wrote to memory that is not its own: application data\n"
    ));
    assert!(text.contains("= address 0xffffffff80072000 (application data): the page has protection key 1"));
    assert!(text.contains("hint: write foreign memory with `uio_write`"));
    session.check(
        "run nothing",
        false,
        "error: no extension `nothing`\n  hint: `ext` lists what is loaded\n",
    );
    session.check("run hullo", false, "error: no extension `hullo`\n  hint: did you mean `hello`?\n");
    session.check(
        "unload loop",
        false,
        "error: the extension is in use: 1 run in it; wild linked to it\n  \
         hint: `kill ID` ends its runs; unload the extensions that link to it first\n",
    );
}

#[test]
fn lost_output_is_announced_and_credit_comes_back() {
    let mut session = Session::new();
    for _ in 0..5 {
        let (text, good) = session.run("run chatty", false);
        assert!(good);
        assert!(text.contains("bytes of its output were lost)"), "the guest sends more than the credit");
        let lines = text.lines().filter(|line| line.contains("xxx")).count();
        assert!(lines > 90, "credit of the run before has come back: {lines} lines");
    }
    assert!(session.end().dropped_bytes > 0);
}

#[test]
fn ctrl_c_ends_the_run_and_nothing_else() {
    let mut session = Session::new();
    let interrupts = session.shell.interrupts.clone();
    let person = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        interrupts.raise();
    });
    let (text, good) = session.run("run loop", false);
    person.join().unwrap();
    assert!(!good);
    assert!(text.starts_with("fault: extension `loop` was interrupted\n"), "{text}");
    session.check("run hello again", true, "Hello, again!\n");
}

#[test]
fn log_and_following() {
    let mut session = Session::new();
    session.check(
        "log",
        true,
        "[    0.000] info   uio count 0.1.0\n\
         [    0.012] info   virtio: console, rng\n\
         [    4.310] warn   extension loop ended\n",
    );
    let interrupts = session.shell.interrupts.clone();
    let person = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        interrupts.raise();
    });
    let (text, good) = session.run("log -f", false);
    person.join().unwrap();
    assert!(good, "Ctrl-C is the way to leave");
    assert!(text.ends_with("(3 lines were lost)\n[    5.000] error  a line for followers\n"), "{text}");
}

#[test]
fn every_command_speaks_json() {
    let mut session = Session::new();
    for line in [
        "help",
        "info",
        "threads",
        "mem",
        "log",
        "feature",
        "feature exports",
        "feature limits",
        "peek 0xffffffff80072000",
        "poke 0xffffffff80072000 1",
        "ls /etc",
        "cat /etc/motd",
        "cp /etc/motd /etc/other",
        "run hello",
        "run wild",
        "ext",
        "kill hello",
        "unload hello",
        "transcript",
        "stack 99999",
        "nonsense",
        "peek",
    ] {
        for (line, json) in [(line.to_owned(), true), (format!("{line} --json"), false)] {
            let by_flag = !json;
            // A line that fails before its flags are read can only say so in text.
            if by_flag && (line.starts_with("nonsense") || line.starts_with("run") || line == "peek --json") {
                continue;
            }
            let (text, _) = session.run(&line, json);
            // The second round has nothing left to unload.
            if by_flag && line.starts_with("unload") {
                continue;
            }
            assert!(!text.is_empty(), "{line}");
            for row in text.lines() {
                let value: Result<serde_json::Value, _> = serde_json::from_str(row);
                assert!(value.is_ok_and(|value| value.is_object()), "{line}: {row}");
            }
        }
    }
}

#[test]
fn pipes_files_and_mistakes() {
    let mut session = Session::new();
    // The program's own output is not ours to see; its status is.
    assert!(session.run("threads | grep -q overlay", false).1);
    session.check("threads | grep -q nobody", false, "error: `grep -q nobody` ended with exit status: 1\n");
    assert!(session.run("run chatty | head -1 > /dev/null", false).1, "a reader may leave early");
    session.check("thraeds", false, "error: unknown command `thraeds`\n  hint: did you mean `threads`?\n");
    session.check(
        "peek --widht 4 1",
        false,
        "error: peek: unknown flag `--widht`; did you mean `--width`?\n  \
         hint: usage: peek ADDRESS|SYMBOL [COUNT] [--width 1|2|4|8]\n",
    );
}

#[test]
fn batch_stops_at_the_first_failure() {
    let mut session = Session::new();
    let script = std::env::temp_dir().join(format!("uio-batch-{}", std::process::id()));
    std::fs::write(&script, "# a comment\n\nrun hello 1\ncat /nothing\nrun hello 2\n").unwrap();
    let (text, good) = session.run(&format!("batch {}", script.display()), false);
    assert!(!good);
    assert_eq!(
        text,
        format!(
            "> run hello 1\nHello, 1!\n> cat /nothing\nerror: /nothing: no such file or directory\n  \
             hint: `ls` shows what is there; paths start at `/`\nerror: {}:4: stopped\n",
            script.display()
        )
    );
    std::fs::write(&script, format!("batch {}\n", script.display())).unwrap();
    let (text, good) = session.run(&format!("batch {}", script.display()), false);
    assert!(!good && text.contains("8 batch files call each other"), "{text}");
    std::fs::remove_file(script).unwrap();
}

#[test]
fn leaving_says_goodbye() {
    let session = Session::new();
    let number = session.shell.client.session();
    let report = session.end();
    assert_eq!(report.opened, [number]);
    assert!(report.closed.contains(&number));
}

#[test]
fn a_silent_guest_is_an_error_not_a_hang() {
    let session = Session::new();
    let run = session.shell.client.run(uio_protocol::inspect::ExtensionId(5), vec![], 0);
    assert!(run.is_ok());
    let request = uio_protocol::rpc::Request::Info;
    let answer = session.shell.client.request_within(&request, Duration::from_millis(100));
    assert!(matches!(answer, Err(uio_shell::client::ClientError::Timeout { .. })));
}

/// The binary on a raw console socket, as `attach SOCKET`.
#[test]
fn the_binary_on_a_raw_socket() {
    let folder = std::env::temp_dir().join(format!("uio-raw-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let attach = |arguments: &[&str], input: &str| {
        let socket = folder.join("console.sock");
        let _ = std::fs::remove_file(&socket);
        let guest = guest::serve_socket(&socket);
        let mut child = Command::new(env!("CARGO_BIN_EXE_uio-shell"))
            .arg("attach")
            .arg(&socket)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        guest.join().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let (text, status) = attach(&["-e", "run hello you", "-e", "cat etc/motd"], "");
    assert_eq!((text.as_str(), status), ("Hello, you!\nWelcome to count.\n", Some(0)));
    let (text, status) = attach(&["-e", "run wild", "-e", "run hello you"], "");
    assert!(text.contains("fault:") && !text.contains("Hello"), "{text}");
    assert_eq!(status, Some(1));
    let (text, status) = attach(&["-e", "info", "--json"], "");
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((info["uptime_ns"].as_u64(), status), (Some(12_410_000_000), Some(0)));
    let script = folder.join("script");
    std::fs::write(&script, "# tour\ncat /etc/motd\n").unwrap();
    let (text, status) = attach(&["-f", script.to_str().unwrap()], "");
    assert_eq!((text.as_str(), status), ("Welcome to count.\n", Some(0)));
    let (text, status) = attach(&[], "cat /etc/motd\nnonsense\nrun hello pipe\n");
    assert!(text.starts_with("Welcome to count.\nerror: unknown command `nonsense`"), "{text}");
    assert!(text.ends_with("Hello, pipe!\n"));
    assert_eq!(status, Some(1), "a failed line shows in the status");
    std::fs::remove_dir_all(folder).unwrap();
}
