//! Linux error numbers (`asm-generic/errno.h`) that 9P servers send, and what they mean here.

use uio_protocol::error::FileError;

/// Operation not permitted.
pub const EPERM: u32 = 1;
/// No such file or directory.
pub const ENOENT: u32 = 2;
/// Input/output error.
pub const EIO: u32 = 5;
/// Permission denied.
pub const EACCES: u32 = 13;
/// Device or resource busy.
pub const EBUSY: u32 = 16;
/// File exists.
pub const EEXIST: u32 = 17;
/// Rename across file systems.
pub const EXDEV: u32 = 18;
/// Not a directory.
pub const ENOTDIR: u32 = 20;
/// Is a directory.
pub const EISDIR: u32 = 21;
/// Invalid argument.
pub const EINVAL: u32 = 22;
/// Too many open files in the system.
pub const ENFILE: u32 = 23;
/// File too large.
pub const EFBIG: u32 = 27;
/// No space left on device.
pub const ENOSPC: u32 = 28;
/// Read-only file system.
pub const EROFS: u32 = 30;
/// File name too long.
pub const ENAMETOOLONG: u32 = 36;
/// Function not implemented.
pub const ENOSYS: u32 = 38;
/// Directory not empty.
pub const ENOTEMPTY: u32 = 39;
/// Operation not supported.
pub const EOPNOTSUPP: u32 = 95;
/// Disk quota exceeded.
pub const EDQUOT: u32 = 122;

/// The [`FileError`] for a Linux error number; those without one of their own stay numbers.
#[must_use]
pub fn to_file_error(errno: u32) -> FileError {
    match errno {
        ENOENT => FileError::NotFound,
        EEXIST => FileError::Exists,
        ENOTDIR => FileError::NotDirectory,
        EISDIR => FileError::IsDirectory,
        ENOTEMPTY => FileError::NotEmpty,
        ENAMETOOLONG => FileError::InvalidPath,
        EPERM | EACCES | EROFS => FileError::Permission,
        ENOSPC | EDQUOT => FileError::NoSpace,
        ENOSYS | EOPNOTSUPP => FileError::Unsupported,
        EIO => FileError::Io,
        other => FileError::Errno(other),
    }
}
