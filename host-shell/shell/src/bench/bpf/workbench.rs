//! What the measurements share: the sources, and a folder.

use std::path::PathBuf;

use uio_prerequisites::{CLANG, ensure};

use crate::bench::children::stop_on_signals;
use crate::bench::error::BenchError;
use crate::bench::folder::Folder;
use crate::bench::progress::Progress;
use crate::machine::image::workspace;

/// What the measurements share.
#[derive(Debug)]
pub(in crate::bench) struct Workbench {
    /// The folder of the sources.
    pub(super) workspace: PathBuf,
    pub(super) folder: Folder,
}

impl Workbench {
    pub(super) fn new(_: &Progress) -> Result<Self, BenchError> {
        ensure(&[CLANG])?;
        let workspace = workspace().ok_or(BenchError::NoWorkspace)?;
        let folder = Folder::new()?;
        stop_on_signals(folder.root())?;
        Ok(Self { workspace, folder })
    }
}
