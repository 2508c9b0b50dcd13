//! The programs that uio needs beside Rust: which there are, and installing what is missing, by apt.
//!
//! The shell asks before it starts a guest or compiles an extension, tests before they use a program.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A program that uio needs, and the Debian package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
    /// What for.
    pub purpose: &'static str,
}

/// What runs guests.
pub const QEMU: Tool =
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", purpose: "runs the guests" };
/// What compiles extensions.
pub const CLANG: Tool = Tool { program: "clang", package: "clang", purpose: "compiles C extensions" };

/// Why something is still missing.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not root, or no apt: the person has to do it.
    #[error("{} missing", names(.0))]
    ByHand(Vec<Tool>),
    /// apt failed.
    #[error("`{command}` failed")]
    Apt {
        /// What was run.
        command: String,
    },
}

impl InstallError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ByHand(tools) => format!("install with: {}", command_line(tools)),
            Self::Apt { command } => format!("run it yourself to see why: {command}"),
        }
    }
}

fn names(tools: &[Tool]) -> String {
    let names: Vec<&str> = tools.iter().map(|tool| tool.program).collect();
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// Whether a program is in `PATH`.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The command that installs `tools`.
#[must_use]
pub fn command_line(tools: &[Tool]) -> String {
    let packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    let sudo = if rustix::process::getuid().is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// One installation at a time in a process; apt itself keeps processes apart.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Makes sure that `tools` are there: installs them when root on a Debian, after saying so.
///
/// # Errors
///
/// [`InstallError`]; its hint is the exact command.
pub fn ensure(tools: &[Tool]) -> Result<(), InstallError> {
    // What a panicking thread left is what apt left; the next look finds out.
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| !is_installed(tool.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::getuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(InstallError::ByHand(missing));
    }
    let command = command_line(&missing);
    eprintln!("{} missing; installing with: {command}", names(&missing));
    // Package lists may be older than the archive's files.
    let _ = apt(&["update", "-qq"]);
    let mut line = vec!["install", "-y", "-qq", "--no-install-recommends"];
    line.extend(missing.iter().map(|tool| tool.package));
    if apt(&line) && missing.iter().all(|tool| is_installed(tool.program)) {
        Ok(())
    } else {
        Err(InstallError::Apt { command })
    }
}

/// [`ensure`] for tests.
///
/// # Panics
///
/// With the command that installs what is missing, if it could not be installed.
pub fn require(tools: &[Tool]) {
    if let Err(error) = ensure(tools) {
        panic!("{error}; {}", error.hint());
    }
}

/// apt's chatter goes to standard error, so that the caller's output stays its own.
fn apt(arguments: &[&str]) -> bool {
    Command::new("apt-get")
        // Another process may be installing: wait for it.
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .is_ok_and(|status| status.success())
}
