//! A guest without a keeper: QEMU's console socket belongs to the test.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uio_shell::client::Client;
use uio_shell::machine::arguments::{Paths, arguments};
use uio_shell::machine::process::QEMU;
use uio_shell::machine::{Accel, Net, RunOptions};

use crate::artifacts;
use crate::guest::Home;
use crate::process::within;
use crate::slots::Slot;

/// How long QEMU lives if all else fails.
const LIFE_S: &str = "180";
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// What an answer may take until the question is repeated.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A guest whose console has no keeper. Dropped, it is gone.
pub struct BareGuest {
    home: Home,
    paths: Paths,
    qemu: Child,
    _slot: Slot,
}

impl BareGuest {
    /// Boots `count`, and waits until its overlay answers.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[must_use]
    pub fn start() -> Self {
        artifacts::install();
        let image = artifacts::image();
        let slot = Slot::take();
        let home = Home::new();
        let paths = Paths { directory: home.path().to_path_buf() };
        let mut options = RunOptions::new(&image.display().to_string());
        options.net = Net::None;
        let log = File::create(paths.qemu_log()).expect("a log file");
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--signal=KILL", LIFE_S, QEMU]);
        command.args(arguments(&options, image, Accel::Tcg, &paths));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        let qemu = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let guest = Self { home, paths, qemu, _slot: slot };
        assert!(within(BOOT_LIMIT, || guest.console().exists()), "QEMU makes no console");
        drop(guest.session());
        guest
    }

    /// The console's socket. QEMU serves one connection at a time.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.paths.console()
    }

    /// The test's folders.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// A connection to the console.
    ///
    /// # Panics
    ///
    /// If QEMU does not take it.
    #[must_use]
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(self.console()).expect("QEMU's console")
    }

    /// A session on a connection of its own, asked for until the guest answers.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn session(&self) -> Client {
        session_over(|| self.connect(), &self.console())
    }
}

/// A session on what `connect` gives, asked for until the guest answers.
///
/// # Panics
///
/// If it does not answer.
pub fn session_over(connect: impl Fn() -> UnixStream, path: &Path) -> Client {
    let deadline = Instant::now() + BOOT_LIMIT;
    loop {
        match Client::over(connect(), path, ANSWER_LIMIT) {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "no session: {error}"),
        }
    }
}

impl Drop for BareGuest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read(self.paths.serial()).unwrap_or_default();
            eprintln!("guest:\n{}", String::from_utf8_lossy(&log));
        }
        // `timeout` passes TERM on.
        if let Some(pid) = i32::try_from(self.qemu.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if crate::process::wait(&mut self.qemu, BOOT_LIMIT).is_none() {
            let _ = self.qemu.kill();
            let _ = self.qemu.wait();
        }
    }
}
