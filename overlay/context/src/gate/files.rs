//! Gates about files. Errors come back as negative Linux error numbers.

use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::FileError;
use uio_protocol::limits::PATH_BYTES_MAX;

use super::{GateCall, GateError};
use crate::platform::PAGE_BYTES;

/// Contents that are under way at a time, between the caller's memory and the file system: larger ones cost fewer
/// round trips to a share's host. Each run can make the kernel take so much.
const PIECE_BYTES_MAX: u64 = 256 * 1024;

static ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];

// Linux error numbers (asm-generic/errno-base.h, errno.h).
pub(super) const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
pub(super) const EFAULT: i32 = 14;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOTEMPTY: i32 = 39;
const EOPNOTSUPP: i32 = 95;

/// The value of a gate that failed.
pub(super) fn errno(number: i32) -> u64 {
    i64::from(-number).cast_unsigned()
}

fn number(error: FileError) -> i32 {
    match error {
        FileError::NotFound => ENOENT,
        FileError::Exists => EEXIST,
        FileError::NotDirectory => ENOTDIR,
        FileError::IsDirectory => EISDIR,
        FileError::NotEmpty => ENOTEMPTY,
        FileError::InvalidPath => EINVAL,
        FileError::Permission => EACCES,
        FileError::NoSpace => ENOSPC,
        FileError::Unsupported => EOPNOTSUPP,
        FileError::Io => EIO,
        FileError::Errno(number) => i32::try_from(number).unwrap_or(EIO),
    }
}

fn path(call: &GateCall<'_>) -> Result<String, GateError> {
    call.read_string(0, GuestAddress(call.arguments()[0]), PATH_BYTES_MAX)
}

/// `uio_file_size`: bytes of a file.
pub(super) fn size(call: &GateCall<'_>) -> Result<u64, GateError> {
    let path = path(call)?;
    Ok(call.platform().file_status(&path).map_or_else(|error| errno(number(error)), |status| status.size))
}

/// Room for a piece of `length` bytes, or of the largest piece; `None` if the kernel has none.
fn piece_buffer(length: u64) -> Option<Vec<u8>> {
    let bytes = length.min(PIECE_BYTES_MAX) as usize;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).ok()?;
    // By copies of zeros: built for size, `resize` stores byte after byte, which takes longer than the transfer.
    while buffer.len() < bytes {
        buffer.extend_from_slice(&ZEROS[..ZEROS.len().min(bytes - buffer.len())]);
    }
    Some(buffer)
}

/// `uio_file_read`: bytes read, fewer at the end of the file.
pub(super) fn read(call: &GateCall<'_>) -> Result<u64, GateError> {
    let path = path(call)?;
    let [_, offset, to, length, ..] = call.arguments();
    let Some(mut buffer) = piece_buffer(length) else { return Ok(errno(ENOMEM)) };
    let mut done = 0;
    while done < length {
        let piece = &mut buffer[..(length - done).min(PIECE_BYTES_MAX) as usize];
        match call.platform().read_file(&path, offset.saturating_add(done), piece) {
            Ok(0) => break,
            Ok(bytes) => {
                let bytes = bytes.min(piece.len());
                call.write(2, GuestAddress(to + done), &piece[..bytes])?;
                done += bytes as u64;
            }
            Err(error) => return Ok(errno(number(error))),
        }
    }
    Ok(done)
}

/// `uio_file_write`: creates the file if need be; bytes written, which is all.
pub(super) fn write(call: &GateCall<'_>) -> Result<u64, GateError> {
    let path = path(call)?;
    let [_, offset, from, length, ..] = call.arguments();
    let Some(mut buffer) = piece_buffer(length) else { return Ok(errno(ENOMEM)) };
    let mut done = 0;
    loop {
        let piece = &mut buffer[..(length - done).min(PIECE_BYTES_MAX) as usize];
        call.read(2, GuestAddress(from + done), piece)?;
        if let Err(error) = call.platform().write_file(&path, offset.saturating_add(done), false, piece) {
            return Ok(errno(number(error)));
        }
        done += piece.len() as u64;
        if done >= length {
            return Ok(done);
        }
    }
}
