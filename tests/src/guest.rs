//! A guest with its keeper, for one test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use uio_shell::client::Client;
use uio_shell::instance::{Instance, RunDirectory, Status, find};

use crate::artifacts;
use crate::process::{self, Finished, LIMIT, within};
use crate::slots::Slot;

/// Name of the instance.
pub const NAME: &str = "count";
/// How long a guest lives if all else fails. Longer than the longest test.
const LIFE_S: u32 = 420;
/// A guest boots in half a second; a loaded machine may need far longer.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// For a keeper that was told to stop: what the guest and QEMU get, and some.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Lines of logs that a failing test shows.
const LOG_LINES: usize = 40;

/// The folders that a test has for itself: instances, history, home.
pub struct Home {
    folder: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Fresh folders. Socket paths have a limit of 108 bytes, so these lie in the system's folder for temporary files.
    ///
    /// # Panics
    ///
    /// If they cannot be made.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("uio-t.").tempdir().expect("a temporary folder") }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The run directory.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn run_directory(&self) -> RunDirectory {
        RunDirectory::at(self.path().join("uio")).expect("a run directory")
    }

    /// `uio-shell` in these folders.
    #[must_use]
    pub fn shell(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(artifacts::shell());
        self.environment(&mut command);
        command.args(arguments).current_dir(artifacts::workspace());
        command
    }

    /// Points a program to these folders, and makes its output plain.
    pub fn environment(&self, command: &mut Command) {
        command
            .env("XDG_RUNTIME_DIR", self.path())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
    }

    /// Runs `uio-shell` to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        process::run(&mut self.shell(arguments), "", LIMIT)
    }
}

/// A running `count` guest. Dropped, it is gone.
pub struct Guest {
    home: Home,
    keeper: Child,
    _slot: Slot,
}

impl Guest {
    /// Boots a guest on QEMU's translator. `options` go to `uio-shell run`.
    ///
    /// # Panics
    ///
    /// With the end of its logs, if it does not come up.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        artifacts::install();
        let image = artifacts::image().display().to_string();
        let shell = artifacts::shell();
        let slot = Slot::take();
        let home = Home::new();
        let log = File::create(home.path().join("keeper.log")).expect("a log file");
        // The limit holds even if this program is killed: then nothing else ends the guest.
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--kill-after=5", &LIFE_S.to_string()]).arg(shell);
        command.args(["run", &image, "--name", NAME, "--accel", "tcg"]).args(options);
        home.environment(&mut command);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        let keeper = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut guest = Self { home, keeper, _slot: slot };
        let up = within(BOOT_LIMIT, || {
            let running = guest.instance().is_some_and(|one| one.state.status == Status::Running);
            running || matches!(guest.keeper.try_wait(), Ok(Some(_)))
        });
        assert!(up && guest.instance().is_some(), "the guest does not come up");
        guest
    }

    /// The test's folders.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What `uio-shell ps` knows, while the guest is there.
    #[must_use]
    pub fn instance(&self) -> Option<Instance> {
        find(&self.home.run_directory(), Some(NAME)).ok()
    }

    /// The instance's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.run_directory().instance(NAME)
    }

    /// The keeper's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("shell.sock")
    }

    /// The keeper's process.
    ///
    /// # Panics
    ///
    /// If it is gone.
    #[must_use]
    pub fn keeper_pid(&self) -> i32 {
        let pid = self.instance().expect("a running instance").state.pid;
        i32::try_from(pid).expect("a process id")
    }

    /// QEMU's process.
    ///
    /// # Panics
    ///
    /// If it is gone.
    #[must_use]
    pub fn qemu_pid(&self) -> i32 {
        let keeper = self.keeper_pid();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
        let children = children.expect("the keeper's children");
        children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("QEMU is the keeper's child")
    }

    /// Waits for the keeper to end by itself, and gives its exit code.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<i32> {
        process::wait(&mut self.keeper, limit)?.code()
    }

    /// `uio-shell attach` on this guest.
    #[must_use]
    pub fn attach(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.shell(&["attach", NAME]);
        command.args(arguments);
        command
    }

    /// Runs commands by `attach -e`.
    #[must_use]
    pub fn execute(&self, commands: &[&str]) -> Finished {
        let mut command = self.attach(&[]);
        for text in commands {
            command.args(["-e", text]);
        }
        process::run(&mut command, "", LIMIT)
    }

    /// What `commands` print, one after the other; they all succeed.
    ///
    /// # Panics
    ///
    /// With what was said, if one fails.
    #[must_use]
    pub fn say(&self, commands: &[&str]) -> String {
        self.execute(commands).good()
    }

    /// The objects that `command` prints with `--json`.
    ///
    /// # Panics
    ///
    /// If it fails, or a line is no JSON.
    #[must_use]
    pub fn json(&self, command: &str) -> Vec<Value> {
        let output = process::run(&mut self.attach(&["--json", "-e", command]), "", LIMIT).good();
        parse_lines(&output)
    }

    /// A session without a shell.
    ///
    /// # Panics
    ///
    /// If the guest does not take it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(&self.socket(), LIMIT).expect("a session")
    }

    /// Lines of the guest's serial log.
    #[must_use]
    pub fn serial_log(&self) -> String {
        let bytes = fs::read(self.folder().join("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Each line as JSON.
///
/// # Panics
///
/// If a line is no JSON.
#[must_use]
pub fn parse_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// Sends a signal to one process.
///
/// # Panics
///
/// If there is no such process.
pub fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id");
    kill_process(pid, signal).expect("a process to signal");
}

/// Whether a process is there, and not just waiting to be collected.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("keeper:\n{}", tail(&self.home.path().join("keeper.log")));
            eprintln!("guest:\n{}", tail(&self.folder().join("serial.log")));
        }
        let keeper = self.instance().and_then(|one| Pid::from_raw(i32::try_from(one.state.pid).ok()?));
        if let Some(keeper) = keeper {
            let _ = kill_process(keeper, Signal::TERM);
        }
        if process::wait(&mut self.keeper, STOP_LIMIT).is_none() {
            // QEMU dies with its keeper.
            if let Some(keeper) = keeper {
                let _ = kill_process(keeper, Signal::KILL);
            }
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
    }
}
