//! A file system in memory with a limit of bytes and of entries.

mod content;
mod tree;

use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileInfo;

use crate::filesystem::FileSystem;
use crate::path::RelativePath;
use tree::Tree;

pub use content::BLOCK_BYTES;

/// How much a [`RamFs`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of file contents, counted in blocks of [`BLOCK_BYTES`]. Holes cost nothing.
    pub bytes: u64,
    /// Files and directories, the root not counted. Bounds the memory for names and nodes, some
    /// 500 bytes each at most.
    pub entries: usize,
}

/// What a [`RamFs`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of file contents, in whole blocks.
    pub bytes: u64,
    /// Files and directories, the root not counted.
    pub entries: usize,
}

/// A file system in memory. One lock guards all of it and is held while contents are copied.
pub struct RamFs<R: RawMutex> {
    tree: Mutex<R, Tree>,
}

impl<R: RawMutex> RamFs<R> {
    /// An empty file system.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { tree: Mutex::new(Tree::new(limits)) }
    }

    /// What it holds now.
    pub fn usage(&self) -> Usage {
        self.tree.lock().usage()
    }
}

impl<R: RawMutex + Send + Sync> FileSystem for RamFs<R> {
    fn status(&self, path: RelativePath<'_>) -> Result<FileInfo, FileError> {
        self.tree.lock().status(path)
    }

    fn list(&self, path: RelativePath<'_>, skip: usize, max: usize) -> Result<Vec<FileInfo>, FileError> {
        self.tree.lock().list(path, skip, max)
    }

    fn read_at(&self, path: RelativePath<'_>, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        self.tree.lock().read_at(path, offset, buffer)
    }

    fn write_at(&self, path: RelativePath<'_>, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.tree.lock().write_at(path, offset, bytes)
    }

    fn truncate(&self, path: RelativePath<'_>, size: u64) -> Result<(), FileError> {
        self.tree.lock().truncate(path, size)
    }

    fn create(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        self.tree.lock().create(path)
    }

    fn remove(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        self.tree.lock().remove(path)
    }

    fn make_directory(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        self.tree.lock().make_directory(path)
    }

    fn rename(&self, from: RelativePath<'_>, to: RelativePath<'_>) -> Result<(), FileError> {
        self.tree.lock().rename(from, to)
    }
}

#[cfg(test)]
mod tests;
