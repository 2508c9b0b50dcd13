//! Files of the guest. Paths are absolute.

use core::ffi::CStr;

use crate::{Errno, raw};

/// Size of a file in bytes.
///
/// # Errors
///
/// Why the file system refused.
pub fn file_size(path: &CStr) -> Result<u64, Errno> {
    // SAFETY: the gate reads the string up to its NUL.
    Errno::check(unsafe { raw::uio_file_size(path.as_ptr()) })
}

/// Reads from `offset` into `to`; how many bytes, fewer than asked for only at the end of the file.
///
/// # Errors
///
/// Why the file system refused.
pub fn read_file(path: &CStr, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the gate reads the string up to its NUL and writes `to`, which is borrowed exclusively.
    let status = unsafe { raw::uio_file_read(path.as_ptr(), offset, to.as_mut_ptr().cast(), to.len()) };
    Errno::check(status).map(|bytes| (bytes as usize).min(to.len()))
}

/// Writes all of `from` at `offset`, making the file if need be.
///
/// # Errors
///
/// Why the file system refused; some of it may be written then.
pub fn write_file(path: &CStr, offset: u64, from: &[u8]) -> Result<(), Errno> {
    // SAFETY: the gate reads the string up to its NUL, and `from`.
    let status = unsafe { raw::uio_file_write(path.as_ptr(), offset, from.as_ptr().cast(), from.len()) };
    Errno::check(status).map(|_| ())
}
