//! Guests in the background: starting a keeper of their own, and stopping it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use super::serial::tail;
use super::{KeeperError, POWER_OFF_GRACE, QUIT_GRACE};
use crate::client::{Client, ClientError};
use crate::instance::{Instance, RunDirectory, Status, find};
use crate::machine::RunOptions;

/// How long a guest may take until its overlay answers. An emulated one needs about a second; a busy
/// host several.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
const TAIL_LINES: usize = 15;

/// Why a background guest is not there.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Before anything was started.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The keeper ended.
    #[error("{}", ended(.said, .serial))]
    Ended {
        /// The keeper's words.
        said: String,
        /// End of the guest's serial log.
        serial: String,
    },
    /// The guest runs, but its overlay does not answer.
    #[error("`{name}` was started, but its overlay does not answer after {} s", READY_TIMEOUT.as_secs())]
    Silent {
        /// The instance.
        name: String,
        /// Its serial log.
        log: PathBuf,
    },
    /// The overlay refused the session.
    #[error("`{name}` was started, but: {source}")]
    Refused {
        /// The instance.
        name: String,
        /// Why.
        source: ClientError,
    },
}

fn ended(said: &str, serial: &str) -> String {
    let mut text = String::from("the guest ended before its overlay answered");
    for (title, part) in [("", said), ("its log ends with:", serial)] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(title);
            text.push_str(if title.is_empty() { "" } else { "\n" });
            text.push_str(part);
        }
    }
    text
}

impl StartError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Keeper(error) => error.hint(),
            Self::Ended { .. } => None,
            Self::Silent { name, log } => {
                Some(format!("its serial log is {}; `uio-shell stop {name}` ends it", log.display()))
            }
            Self::Refused { name, .. } => Some(format!("`uio-shell stop {name}` ends it")),
        }
    }
}

/// Starts a keeper of its own for `options` (from [`super::prepare`]) and waits until the guest
/// answers. `shell` is the `uio-shell` executable.
///
/// # Errors
///
/// [`StartError`].
pub fn start_detached(
    options: &RunOptions,
    run: &RunDirectory,
    shell: &Path,
) -> Result<Instance, StartError> {
    start(options, run, shell, None)
}

/// As [`start_detached`], but the guest is powered off when the calling thread ends, however that happens.
///
/// # Errors
///
/// As [`start_detached`].
pub fn start_owned(options: &RunOptions, run: &RunDirectory, shell: &Path) -> Result<Instance, StartError> {
    start(options, run, shell, Some(std::process::id()))
}

/// For a keeper: has SIGTERM sent to this process when its parent, `owner`, ends.
///
/// # Errors
///
/// When the operating system refuses, or the owner is gone already.
pub fn end_with_owner(owner: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() as u32 != owner) {
        return Err(io::Error::other("whoever started this guest is gone"));
    }
    Ok(())
}

fn start(
    options: &RunOptions,
    run: &RunDirectory,
    shell: &Path,
    owner: Option<u32>,
) -> Result<Instance, StartError> {
    let name = options.name.clone().unwrap_or_default();
    if let Ok(instance) = find(run, Some(&name)) {
        return Err(KeeperError::Instance(crate::instance::InstanceError::Taken(instance.state.name)).into());
    }
    let log = run.path().join(format!("{name}.keeper.log"));
    let mut child = spawn(options, shell, &log, owner).map_err(KeeperError::Io)?;
    let serial = run.instance(&name).join("serial.log");
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(StartError::Ended {
                said: tail(&log, TAIL_LINES),
                serial: tail(&serial, TAIL_LINES),
            });
        }
        if let Ok(instance) = find(run, Some(&name))
            && instance.state.status == Status::Running
        {
            let left = deadline.saturating_duration_since(Instant::now());
            return match Client::connect(&instance.shell_socket(), left) {
                Ok(_) => Ok(instance),
                Err(source) => Err(StartError::Refused { name, source }),
            };
        }
        if Instant::now() > deadline {
            return Err(StartError::Silent { name, log: serial });
        }
        std::thread::sleep(POLL);
    }
}

fn spawn(options: &RunOptions, shell: &Path, log: &Path, owner: Option<u32>) -> io::Result<Child> {
    let log = File::create(log)?;
    Command::new(shell)
        .args(["run", "--keeper"])
        .args(owner.map(|owner| format!("--owner={owner}")))
        .args(to_arguments(options))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// The command line that gives `options` again.
fn to_arguments(options: &RunOptions) -> Vec<String> {
    let mut line = vec![
        format!("--machine={}", options.machine.name()),
        format!("--accel={}", options.accel.name()),
        format!("--mem={}", options.mem),
        format!("--net={}", options.net),
    ];
    let isolation = clap::ValueEnum::to_possible_value(&options.isolation_backend);
    line.extend(isolation.map(|value| format!("--isolation-backend={}", value.get_name())));
    line.extend(options.name.as_ref().map(|name| format!("--name={name}")));
    line.extend(options.share.as_ref().map(|path| format!("--share={}", path.display())));
    line.extend(options.initrd.as_ref().map(|path| format!("--initrd={}", path.display())));
    line.extend(options.append.as_ref().map(|text| format!("--append={text}")));
    line.extend(options.publish.iter().map(|ports| format!("--publish={ports}")));
    if options.icount {
        line.push("--icount".to_owned());
    }
    line.extend(["--".to_owned(), options.image.clone()]);
    line
}

/// Stops an instance: asks the guest, then QEMU, then kills the keeper, which takes QEMU with it.
/// With `force` it is killed at once.
///
/// # Errors
///
/// When the keeper cannot be signalled, or will not end.
pub fn stop(instance: &Instance, force: bool) -> io::Result<()> {
    let Some(pid) = i32::try_from(instance.state.pid).ok().and_then(Pid::from_raw) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "instance.json names no process"));
    };
    if !force {
        signal(pid, Signal::TERM)?;
        if gone_within(instance, POWER_OFF_GRACE + 2 * QUIT_GRACE) {
            return Ok(());
        }
    }
    signal(pid, Signal::KILL)?;
    if gone_within(instance, QUIT_GRACE) {
        instance.bury();
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", instance.state.pid)))
}

fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn gone_within(instance: &Instance, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    while instance.is_alive() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::machine::{Accel, Machine, Net, Publish};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: RunOptions,
    }

    #[test]
    fn the_command_line_gives_the_options_again() {
        let mut options = RunOptions::new("-odd image");
        options.name = Some("a".into());
        options.machine = Machine::Microvm;
        options.accel = Accel::Tcg;
        options.share = Some("/srv/x y".into());
        options.net = Net::Tap("tap0".into());
        options.publish = vec![Publish { host: 1, guest: 2 }, Publish { host: 3, guest: 4 }];
        options.append = Some("-x y=z".into());
        options.icount = true;
        let line = ["test".to_owned()].into_iter().chain(to_arguments(&options));
        let again = Line::try_parse_from(line).unwrap().options;
        assert_eq!(format!("{again:?}"), format!("{options:?}"));
    }
}
