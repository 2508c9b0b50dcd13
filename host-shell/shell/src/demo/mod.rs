//! `uio-shell demo`: starts a guest of its own, runs every command on it, checks what each did, and leaves the
//! person at the prompt.
//!
//! The tour goes through the same dispatcher as the prompt, against a real guest. What it claims is
//! measured: every step has a check.

mod checks;
mod stage;
mod tour;

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use crate::client::{Client, ClientError};
use crate::commands::{Interrupts, Shell, Target};
use crate::instance::{RunDirectory, RunDirectoryError};
use crate::keeper::{KeeperError, StartError, prepare, start_owned, stop};
use crate::machine::RunOptions;
use crate::machine::image::workspace;
use crate::render::style::Style;
use crate::render::units::time;
use crate::repl;
use stage::Stage;
use uio_prerequisites::{CLANG, InstallError, QEMU, ensure};

/// The image that the tour is about.
const IMAGE: &str = "count";

/// How long the guest may take to answer `Hello`; it has answered its keeper already.
const ATTACH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the demo could not be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The sources of the image and of the sample extensions are not around.
    #[error("the demo needs the uio sources, and there is no uio workspace here")]
    NoWorkspace,
    /// QEMU or clang is missing.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// No place for instances.
    #[error(transparent)]
    RunDirectory(#[from] RunDirectoryError),
    /// The image cannot be built, or not be started.
    #[error(transparent)]
    Prepare(#[from] KeeperError),
    /// The guest did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The guest does not answer.
    #[error(transparent)]
    Attach(#[from] ClientError),
    /// Files, signals.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The terminal failed at the prompt.
    #[error("the prompt failed: {0}")]
    Prompt(#[from] rustyline::error::ReadlineError),
}

impl DemoError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorkspace => Some("go to the folder of the uio sources and try again".into()),
            Self::Install(error) => Some(error.hint()),
            Self::Prepare(error) => error.hint(),
            Self::Start(error) => error.hint(),
            _ => None,
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every step did what it should.
    Good,
    /// Some did not, and were named.
    Failed,
    /// Ctrl-C ended the tour.
    Interrupted,
}

/// Gives the demo. `shell` is the `uio-shell` executable; with `batch` there is no prompt at the end.
///
/// # Errors
///
/// [`DemoError`] if it cannot begin, or the prompt fails. Steps that fail are a [`Verdict`].
pub fn give(batch: bool, shell: &Path) -> Result<Verdict, DemoError> {
    let workspace = workspace().ok_or(DemoError::NoWorkspace)?;
    ensure(&[QEMU, CLANG])?;
    let run = RunDirectory::open()?;
    let folder = Folder::new(&run)?;
    folder.fill()?;
    let mut options = RunOptions::new(IMAGE);
    options.share = Some(folder.share());
    let options = prepare(&options, &run)?;
    let interrupts = Interrupts::install()?;
    let instance = start_owned(&options, &run, shell)?;
    let result = (|| {
        let client = Client::connect(&instance.shell_socket(), ATTACH_TIMEOUT)?;
        let shell = Shell::new(client, Target::of(instance.clone(), None), interrupts.clone());
        guide(shell, &interrupts, &workspace, &folder, batch)
    })();
    // Whatever happened, the guest goes with the demo.
    let stopped = if instance.is_alive() { stop(&instance, false) } else { Ok(()) };
    let verdict = result?;
    stopped?;
    println!("{} is stopped", instance.state.name);
    Ok(verdict)
}

/// The tour, its summary, and the prompt.
fn guide(
    shell: Shell,
    interrupts: &Interrupts,
    workspace: &Path,
    folder: &Folder,
    batch: bool,
) -> Result<Verdict, DemoError> {
    let style = Style::of(&io::stdout());
    repl::greet(&shell);
    shell.warm_symbols();
    let mut stage = Stage::new(shell, style, workspace, folder.path())?;
    let outcome = stage.play(tour::CHAPTERS);
    if outcome.ended_early {
        println!("\n{}", style.warning("the tour was interrupted"));
        return Ok(Verdict::Interrupted);
    }
    println!();
    let worked = format!("{} of {} steps worked", outcome.worked, outcome.steps);
    let took = time(u64::try_from(outcome.took.as_nanos()).unwrap_or(u64::MAX));
    let all = outcome.failed.is_empty();
    println!("{}, in {took}", if all { style.good(&worked) } else { style.error(&worked) });
    for (title, reason) in &outcome.failed {
        println!("  {} {title}: {reason}", style.error("failed:"));
    }
    let verdict = if all { Verdict::Good } else { Verdict::Failed };
    let shell = stage.into_shell();
    if batch || !shell.client.is_connected() {
        return Ok(verdict);
    }
    interrupts.clear();
    println!(
        "\nNow it is yours: `help` lists the commands, TAB completes, `exit` or Ctrl-D leaves and stops this guest."
    );
    repl::interact(shell, false, "stopping the guest ...")?;
    Ok(verdict)
}

/// What the names of the demos' folders begin with; the process id follows.
const FOLDER_PREFIX: &str = "demo-";

/// The demo's own folder below the run directory; goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new(run: &RunDirectory) -> io::Result<Self> {
        Self::clear_left(run);
        let path = run.path().join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Removes the folders of demos that were killed.
    fn clear_left(run: &RunDirectory) {
        for entry in std::fs::read_dir(run.path()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.parse().ok());
            let is_left = id
                .and_then(Pid::from_raw)
                .is_some_and(|demo| test_kill_process(demo) == Err(rustix::io::Errno::SRCH));
            if is_left {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// What the guest sees at `/host`.
    fn share(&self) -> PathBuf {
        self.0.join("share")
    }

    fn fill(&self) -> io::Result<()> {
        std::fs::create_dir_all(self.share())?;
        std::fs::write(self.share().join(tour::LETTER_FILE), tour::LETTER)?;
        std::fs::write(self.0.join(tour::SCRIPT_FILE), tour::SCRIPT)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_demos_are_cleared() {
        let path = std::env::temp_dir().join(format!("uio-demo-left-{}", std::process::id()));
        let run = RunDirectory::at(path.clone()).unwrap();
        let mut killed = std::process::Command::new("true").spawn().unwrap();
        killed.wait().unwrap();
        let left = path.join(format!("demo-{}", killed.id()));
        let keep =
            [path.join(format!("demo-{}", std::os::unix::process::parent_id())), path.join("demo-mine")];
        for folder in keep.iter().chain([&left]) {
            std::fs::create_dir_all(folder.join("share")).unwrap();
        }
        let folder = Folder::new(&run).unwrap();
        assert!(!left.exists());
        assert!(keep.iter().all(|folder| folder.exists()), "others are not the demo's to remove");
        assert!(folder.path().exists());
        drop(folder);
        std::fs::remove_dir_all(path).unwrap();
    }
}
