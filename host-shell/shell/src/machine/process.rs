//! QEMU as a child that cannot outlive its keeper.
//!
//! The death signal has to be asked for between `fork` and `exec`. A hook there would need unsafe
//! code, so the keeper starts itself once more (`uio-shell guard`), which asks for the signal and
//! becomes QEMU.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// Exit status of a guard whose parent was gone before it could ask for the death signal.
const ORPHANED: i32 = 125;

/// Starts `program` through a guard. `shell` is the `uio-shell` executable. What the program says
/// goes to `log`. The calling thread must live as long as the child is wanted.
///
/// # Errors
///
/// As [`Command::spawn`].
pub fn spawn_guarded(shell: &Path, program: &str, arguments: &[String], log: &Path) -> io::Result<Child> {
    let output = File::create(log)?;
    Command::new(shell)
        .args(["guard", &std::process::id().to_string(), program])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Ctrl-C at the keeper's terminal is for the keeper.
        .process_group(0)
        .spawn()
}

/// Becomes `program`, killed when the process `parent` ends. Returns only on failure.
#[must_use]
pub fn guard(parent: u32, program: &str, arguments: &[String]) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have ended before the signal was asked for.
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|pid| pid.get() as u32 != parent) {
        std::process::exit(ORPHANED);
    }
    Command::new(program).args(arguments).exec()
}
