//! Processes that a suite starts: none outlives it.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::error::BenchError;
use crate::lock;

/// How often something that has no event is looked at.
pub(super) const POLL: Duration = Duration::from_millis(1);
/// Exit status after Ctrl-C, as shells report it.
const INTERRUPTED: i32 = 130;

/// Processes to end when the suite is told to stop.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Starts `command` away from the person's Ctrl-C: a session leader makes a process group itself, anything else gets
/// one.
pub(super) fn spawn(command: &mut Command, leads: Leads) -> Result<Supervised, BenchError> {
    if leads == Leads::Group {
        command.process_group(0);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    // Held until the child is registered, so that a signal cannot come between.
    let mut children = lock(&CHILDREN);
    let child = command.spawn().map_err(BenchError::io(program))?;
    children.extend(pid(&child));
    Ok(Supervised(child))
}

/// What a child is the leader of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// A process group, from its start.
    Group,
    /// A session, which it will make itself. The leader of a group could not.
    Session,
}

/// A child that is ended and reaped with its owner.
#[derive(Debug)]
pub(super) struct Supervised(Child);

impl Supervised {
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits for its end; `false` if it does not come in time.
    pub(super) fn ends_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            match self.0.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(Some(_)) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let mut children = lock(&CHILDREN);
        let _ = self.0.kill();
        let _ = self.0.wait();
        let own = pid(&self.0);
        children.retain(|other| Some(*other) != own);
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Ctrl-C, a closed terminal and `kill` end what runs, clean up, and end the suite.
pub(super) fn stop_on_signals(folder: &Path) -> Result<(), BenchError> {
    let folder = folder.to_path_buf();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(BenchError::io("signal handlers"))?;
    let waiting = std::thread::Builder::new().name("uio-bench-stop".into());
    let spawned = waiting.spawn(move || {
        if signals.forever().next().is_some() {
            // Never released again: nothing more is started.
            let children = lock(&CHILDREN);
            for child in children.iter() {
                let _ = kill_process(*child, Signal::KILL);
            }
            let _ = fs::remove_dir_all(&folder);
            let _ = writeln!(std::io::stderr(), "\nstopped");
            std::process::exit(INTERRUPTED);
        }
    });
    spawned.map(drop).map_err(BenchError::io("a thread"))
}
