//! What every file system of the guest can do.

use alloc::vec::Vec;

use uio_protocol::error::FileError;
use uio_protocol::inspect::FileInfo;

use crate::path::RelativePath;

/// A tree of files. Operations name files by path, relative to the root of this file system;
/// there are no handles to leak. Each may block and may be called from several threads at once.
///
/// Links are not followed: a symbolic link shows as
/// [`FileKind::Other`](uio_protocol::inspect::FileKind::Other).
pub trait FileSystem: Send + Sync {
    /// Name, kind and size of what is at `path`. The root's name is `/`.
    ///
    /// # Errors
    ///
    /// [`FileError::NotFound`] or [`FileError::NotDirectory`] if nothing is there.
    fn status(&self, path: RelativePath<'_>) -> Result<FileInfo, FileError>;

    /// At most `max` entries of a directory after the first `skip`, in an order that stays the
    /// same while the directory does. Fewer than `max` mean that the listing is complete.
    ///
    /// # Errors
    ///
    /// [`FileError::NotDirectory`] if `path` is something else.
    fn list(&self, path: RelativePath<'_>, skip: usize, max: usize) -> Result<Vec<FileInfo>, FileError>;

    /// Reads from byte `offset` on into `buffer` and returns the number of bytes read. It can be
    /// less than the buffer holds; 0 means the end of the file (or an empty buffer). Bytes of
    /// `buffer` beyond the count have no defined contents.
    ///
    /// # Errors
    ///
    /// [`FileError::IsDirectory`] for a directory.
    fn read_at(&self, path: RelativePath<'_>, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError>;

    /// Writes all of `bytes` from byte `offset` on, creating the file if there is none. A gap
    /// between the old end and `offset` reads as zeros.
    ///
    /// # Errors
    ///
    /// [`FileError::NoSpace`] among others. A beginning of `bytes` may have been written then.
    fn write_at(&self, path: RelativePath<'_>, offset: u64, bytes: &[u8]) -> Result<(), FileError>;

    /// Makes the file `size` bytes long, cutting it or adding zeros.
    ///
    /// # Errors
    ///
    /// [`FileError::IsDirectory`] for a directory.
    fn truncate(&self, path: RelativePath<'_>, size: u64) -> Result<(), FileError>;

    /// Creates an empty file.
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`] if the name is taken.
    fn create(&self, path: RelativePath<'_>) -> Result<(), FileError>;

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    ///
    /// [`FileError::NotEmpty`] for a directory with entries, [`FileError::Permission`] for the root.
    fn remove(&self, path: RelativePath<'_>) -> Result<(), FileError>;

    /// Creates an empty directory.
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`] if the name is taken.
    fn make_directory(&self, path: RelativePath<'_>) -> Result<(), FileError>;

    /// Gives `from` the path `to`. A file that has that path is replaced, an empty directory too
    /// if `from` is a directory.
    ///
    /// # Errors
    ///
    /// [`FileError::IsDirectory`] or [`FileError::NotDirectory`] if the kinds do not match,
    /// [`FileError::Errno`] with `EINVAL` if `to` lies below `from`.
    fn rename(&self, from: RelativePath<'_>, to: RelativePath<'_>) -> Result<(), FileError>;
}
