//! What all measurements share: a folder of their own, the two images, and guests that never outlive the suite.

use std::path::{Path, PathBuf};
use std::process::Command;

use uio_prerequisites::{CLANG, QEMU, ensure};

use super::images::Images;
use crate::bench::children::{Leads, Supervised, spawn, stop_on_signals};
use crate::bench::error::BenchError;
use crate::bench::folder::Folder;
use crate::bench::progress::Progress;
use crate::instance::RunDirectory;
use crate::machine::Accel;
use crate::machine::accelerator::{KvmVerdict, kvm};
use crate::machine::image::workspace;

/// What all measurements share.
#[derive(Debug)]
pub(in crate::bench) struct Workbench {
    /// The `uio-shell` executable.
    pub(super) shell: PathBuf,
    pub(super) images: Images,
    /// What wall times run on.
    pub(super) accel: Accel,
    pub(super) run: RunDirectory,
    pub(super) folder: Folder,
}

impl Workbench {
    pub(super) fn new(progress: &Progress) -> Result<Self, BenchError> {
        ensure(&[QEMU, CLANG])?;
        let workspace = workspace().ok_or(BenchError::NoWorkspace)?;
        let shell = std::env::current_exe().map_err(BenchError::io("the path of this program"))?;
        let folder = Folder::new()?;
        stop_on_signals(folder.root())?;
        let run = RunDirectory::at(folder.path("uio"))?;
        progress.step("building the images");
        let images = Images::build(&workspace)?;
        let accel = if kvm(&run) == KvmVerdict::Usable { Accel::Kvm } else { Accel::Tcg };
        Ok(Self { shell, images, accel, run, folder })
    }

    /// A command that runs `program` so that it dies with this process, however that ends.
    pub(super) fn guarded(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.shell);
        command.arg("guard").arg(std::process::id().to_string()).arg(program);
        command
    }

    /// Starts `command`, away from the person's guests, history and Ctrl-C: a session leader makes a process group
    /// itself, anything else gets one.
    pub(super) fn spawn(&self, command: &mut Command, leads: Leads) -> Result<Supervised, BenchError> {
        command.env("XDG_RUNTIME_DIR", self.folder.root()).env("XDG_STATE_HOME", self.folder.path("state"));
        spawn(command, leads)
    }
}
