//! The run directory: `$XDG_RUNTIME_DIR/uio`, or `/tmp/uio-<uid>`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::text::os_reason;

/// Why the run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// Cannot be made or read.
    #[error("run directory {}: {}", path.display(), os_reason(source))]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else made it: whoever owns it could listen to every session.
    #[error("run directory {} belongs to user {owner}, not to you", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
}

/// The folder that holds all instances of this user.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// The user's run directory, made if needed, closed to others.
    ///
    /// # Errors
    ///
    /// [`RunDirectoryError`] if it cannot be made, or is somebody else's.
    pub fn open() -> Result<Self, RunDirectoryError> {
        let user = rustix::process::getuid().as_raw();
        let base = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
        let path = match base {
            Some(base) => PathBuf::from(base).join("uio"),
            None => PathBuf::from(format!("/tmp/uio-{user}")),
        };
        Self::at(path)
    }

    /// As [`Self::open`], elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn at(path: PathBuf) -> Result<Self, RunDirectoryError> {
        let fail = |source| RunDirectoryError::Io { path: path.clone(), source };
        match DirBuilder::new().mode(0o700).recursive(true).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
        }
        let metadata = fs::symlink_metadata(&path).map_err(fail)?;
        let user = rustix::process::getuid().as_raw();
        if metadata.uid() != user || !metadata.is_dir() {
            return Err(RunDirectoryError::Foreign { path, owner: metadata.uid() });
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(fail)?;
        }
        Ok(Self { path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of an instance.
    #[must_use]
    pub fn instance(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
