//! Guests: QEMU alone, watched through its serial port; or kept by `uio-shell run`, with a socket for shells.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::images::NAME;
use super::workbench::Workbench;
use crate::bench::children::{Leads, POLL, Supervised};
use crate::bench::error::BenchError;
use crate::client::Client;
use crate::instance::{Instance, Status, find};
use crate::machine::arguments::{Paths, arguments};
use crate::machine::process::QEMU;
use crate::machine::{Accel, Machine, Net, RunOptions};

/// How long a guest may take to start; it takes a fraction of a second, and a busy host many times that.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel says when shells can attach.
pub(super) const READY_LINE: &str = "overlay ready";

/// A QEMU of our own.
pub(super) struct Guest {
    process: Supervised,
    lines: Receiver<(Instant, String)>,
    /// When QEMU was started.
    pub(super) started: Instant,
    pub(super) paths: Paths,
    name: String,
}

/// How a [`Guest`] is to run.
pub(super) struct Setup<'a> {
    pub(super) image: &'a Path,
    pub(super) machine: Machine,
    /// Exactly repeatable instruction counts.
    pub(super) icount: bool,
    /// More for QEMU's command line.
    pub(super) extra: Vec<String>,
}

impl Guest {
    /// Starts QEMU with what `uio-shell run` gives it, but for the serial port, which is read here, and the network
    /// card, which is left out.
    pub(super) fn start(bench: &Workbench, name: &str, setup: Setup<'_>) -> Result<Self, BenchError> {
        let directory = bench.folder.path(name);
        std::fs::create_dir_all(&directory).map_err(BenchError::io(directory.display().to_string()))?;
        let paths = Paths { directory };
        let mut options = RunOptions::new(NAME);
        options.machine = setup.machine;
        options.icount = setup.icount;
        options.net = Net::None;
        let accel = if setup.icount { Accel::Tcg } else { bench.accel };
        let mut line = arguments(&options, setup.image, accel, &paths);
        for value in &mut line {
            if value.starts_with("file,id=serial") {
                *value = "stdio,id=serial,signal=off".into();
            }
        }
        line.extend(setup.extra);
        let log = std::fs::File::create(paths.qemu_log())
            .map_err(BenchError::io(paths.qemu_log().display().to_string()))?;
        let mut command = bench.guarded(Path::new(QEMU));
        command.args(line).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let started = Instant::now();
        let mut process = bench.spawn(&mut command, Leads::Group)?;
        let (sender, lines) = channel();
        if let Some(output) = process.child().stdout.take() {
            let reading = std::thread::Builder::new().name("uio-bench-serial".into());
            let spawned = reading.spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
            spawned.map_err(BenchError::io("a thread"))?;
        }
        Ok(Self { process, lines, started, paths, name: name.to_owned() })
    }

    /// Waits for a line of the serial log that contains `text`; gives when it came, and the line.
    pub(super) fn line(&mut self, text: &str) -> Result<(Instant, String), BenchError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((when, line)) if line.contains(text) => return Ok((when, line)),
                Ok((_, line)) => {
                    seen.push_str(line.trim_end());
                    seen.push('\n');
                }
                Err(error) => {
                    seen.push_str(&std::fs::read_to_string(self.paths.qemu_log()).unwrap_or_default());
                    let what = format!("`{text}` from {}", self.name);
                    return Err(match error {
                        RecvTimeoutError::Timeout => {
                            BenchError::Timeout { what, after: START_TIMEOUT, log: seen }
                        }
                        RecvTimeoutError::Disconnected => BenchError::Ended { what, log: seen },
                    });
                }
            }
        }
    }

    /// Waits until QEMU has ended by itself.
    pub(super) fn end(&mut self, timeout: Duration) -> Result<(), BenchError> {
        if self.process.ends_within(timeout) {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.paths.qemu_log()).unwrap_or_default();
        Err(BenchError::Timeout { what: format!("end of {}", self.name), after: timeout, log })
    }
}

/// A guest with a keeper, as `uio-shell run --detach` leaves it.
pub(super) struct Kept {
    _keeper: Supervised,
    instance: Instance,
}

impl Kept {
    /// Starts one and waits until shells can attach. `share` is what it sees at `/host`.
    pub(super) fn start(bench: &Workbench, name: &str, share: Option<&Path>) -> Result<Self, BenchError> {
        let mut line: Vec<String> = ["run", "--keeper", "--net=none"].map(String::from).into();
        line.push(format!("--accel={}", bench.accel.name()));
        line.push(format!("--name={name}"));
        line.extend(share.map(|share| format!("--share={}", share.display())));
        line.push("--".into());
        line.push(bench.images.with.display().to_string());
        let log_path: PathBuf = bench.folder.path(&format!("{name}.log"));
        let log = std::fs::File::create(&log_path).map_err(BenchError::io(log_path.display().to_string()))?;
        let mut command = bench.guarded(&bench.shell);
        command.args(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut keeper = bench.spawn(&mut command, Leads::Session)?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let said = || std::fs::read_to_string(&log_path).unwrap_or_default();
            if let Ok(instance) = find(&bench.run, Some(name))
                && instance.state.status == Status::Running
            {
                return Ok(Self { _keeper: keeper, instance });
            }
            let what = format!("answer of {name}");
            if !matches!(keeper.child().try_wait(), Ok(None)) {
                return Err(BenchError::Ended { what, log: said() });
            }
            if Instant::now() > deadline {
                return Err(BenchError::Timeout { what, after: START_TIMEOUT, log: said() });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Opens a session.
    pub(super) fn connect(&self) -> Result<Client, BenchError> {
        Ok(Client::connect(&self.instance.shell_socket(), START_TIMEOUT)?)
    }
}
