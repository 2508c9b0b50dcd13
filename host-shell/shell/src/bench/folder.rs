//! A suite's own folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::BenchError;

/// A folder that goes away with its owner.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("uio-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(BenchError::io(path.display().to_string()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// A file or folder in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
