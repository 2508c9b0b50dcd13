//! Messages of 9P2000.L: `size[4] type[1] tag[2] body`, integers little-endian, strings with their
//! length in two bytes in front.
//!
//! [`Request`] and [`Reply`] borrow from the buffers they are encoded into and decoded from.
//! Decoding checks every length; a message has to be used up exactly by its fields.

mod attributes;
mod cursor;
mod dirent;
mod list;
mod reply;
mod request;

use core::fmt;

pub use attributes::{Attributes, FileSystemStatus, Qid, SetAttributes, mode, set, valid};
pub use dirent::{DIRENT_FIXED_BYTES, Dirent, Dirents, encode_dirent};
pub use list::{Names, Qids};
pub use reply::Reply;
pub use request::Request;

/// Bytes of `size[4] type[1] tag[2]`.
pub const HEADER_BYTES: usize = 7;
/// Bytes of an `Rread` or `Rreaddir` before its data. An `Rlerror` has just this size, too.
pub const DATA_REPLY_BYTES: usize = HEADER_BYTES + 4;
/// Bytes of a `Tread`, and of a `Twrite` before its data.
pub const IO_REQUEST_BYTES: usize = HEADER_BYTES + 16;
/// What a message is larger than its data, by convention of 9P servers (`P9_IOHDRSZ` in Linux and
/// QEMU): data of at most msize minus this fits in either direction.
pub const IO_OVERHEAD_BYTES: usize = 24;
/// Enough for any reply but `Rread`, `Rreaddir` and `Rreadlink`: an `Rwalk` with all its qids is 217.
pub const REPLY_BYTES: usize = 256;
/// Smallest msize that this client works with: a `Twalk` with its most and longest names has 4138 bytes.
pub const MESSAGE_BYTES_MIN: u32 = 8192;
/// Largest msize that this client asks for: what a virtio queue of 128 descriptors of one page
/// holds, which QEMU's device is built for.
pub const MESSAGE_BYTES_MAX: u32 = 512 * 1024;
/// Most names of one `Twalk` (`MAXWELEM` in the Plan 9 manual).
pub const WALK_NAMES_MAX: usize = 16;
/// The tag of `Tversion`.
pub const NO_TAG: u16 = u16::MAX;
/// The fid that stands for none.
pub const NO_FID: u32 = u32::MAX;
/// The user number that stands for none.
pub const NO_USER: u32 = u32::MAX;
/// The dialect's name in `Tversion`.
pub const VERSION: &str = "9P2000.L";

/// Message types. An R-message has its T-message's number plus one.
#[expect(missing_docs, reason = "each constant is the message of that name")]
pub mod kind {
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TLCREATE: u8 = 14;
    pub const TGETATTR: u8 = 24;
    pub const TSETATTR: u8 = 26;
    pub const TREADDIR: u8 = 40;
    pub const TFSYNC: u8 = 50;
    pub const TMKDIR: u8 = 72;
    pub const TRENAMEAT: u8 = 74;
    pub const TUNLINKAT: u8 = 76;
    pub const TVERSION: u8 = 100;
    pub const TATTACH: u8 = 104;
    pub const TFLUSH: u8 = 108;
    pub const TWALK: u8 = 110;
    pub const TREAD: u8 = 116;
    pub const TWRITE: u8 = 118;
    pub const TCLUNK: u8 = 120;
}

/// Flags of `Tlopen` and `Tlcreate`: the numbers of Linux on x86.
pub mod open {
    /// Open for reading.
    pub const READ_ONLY: u32 = 0;
    /// Open for writing.
    pub const WRITE_ONLY: u32 = 1;
    /// Create the file; has to be there in `Tlcreate` for QEMU.
    pub const CREATE: u32 = 0o100;
    /// Fail if the file exists.
    pub const EXCLUSIVE: u32 = 0o200;
    /// Fail if it is not a directory.
    pub const DIRECTORY: u32 = 0o200_000;
}

/// Flag of `Tunlinkat`: the name is a directory (`AT_REMOVEDIR`).
pub const UNLINK_DIRECTORY: u32 = 0x200;

/// Why bytes are no message, or a message does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A field ends beyond the message.
    Short {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes are left over after the last field.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The size in the header is not the number of bytes there are.
    Size {
        /// From the header.
        stated: usize,
        /// Delivered.
        delivered: usize,
    },
    /// No message has this type number.
    Type(u8),
    /// A string is not UTF-8.
    NotUtf8,
    /// A string is longer than its two-byte length can say.
    StringTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// A walk has more than [`WALK_NAMES_MAX`] elements.
    TooManyNames {
        /// How many.
        names: usize,
    },
    /// The buffer is too small to encode into.
    NoRoom {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { needed, left } => {
                write!(formatter, "message ends early: {needed} bytes needed, {left} left")
            }
            Self::Trailing { bytes } => write!(formatter, "{bytes} bytes after the last field"),
            Self::Size { stated, delivered } => {
                write!(formatter, "message says it has {stated} bytes, {delivered} came")
            }
            Self::Type(number) => write!(formatter, "unknown message type {number}"),
            Self::NotUtf8 => formatter.write_str("string is not UTF-8"),
            Self::StringTooLong { bytes } => write!(formatter, "string of {bytes} bytes, at most 65535 fit"),
            Self::TooManyNames { names } => {
                write!(formatter, "walk of {names} elements, at most {WALK_NAMES_MAX} allowed")
            }
            Self::NoRoom { needed, left } => {
                write!(formatter, "buffer too small: {needed} bytes needed, {left} left")
            }
        }
    }
}

impl core::error::Error for WireError {}

/// Type and tag of a message, and the rest of it.
pub(crate) fn split_header(message: &[u8]) -> Result<(u8, u16, cursor::Reader<'_>), WireError> {
    let mut reader = cursor::Reader::new(message);
    let stated = reader.u32()? as usize;
    let kind = reader.u8()?;
    let tag = reader.u16()?;
    if stated != message.len() {
        return Err(WireError::Size { stated, delivered: message.len() });
    }
    Ok((kind, tag, reader))
}

#[cfg(test)]
mod tests;
