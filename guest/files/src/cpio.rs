//! The initrd: a cpio archive in the "newc" format, as `cpio -H newc` and the Linux kernel's
//! initramfs use it (Documentation/driver-api/early-userspace/buffer-format.rst in Linux).
//!
//! [`Archive`] walks the archive in place; [`populate`] copies it into a file system.

mod populate;

use core::fmt;

pub use populate::{PopulateError, PopulateReason, Populated, populate};

/// Bytes of an entry's header: a magic number of 6 characters and 13 numbers of 8 hexadecimal digits.
const HEADER_BYTES: usize = 110;
/// Header, name and data each begin at a multiple of this many bytes.
const ALIGNMENT: usize = 4;
/// Magic number of an entry without a checksum.
const MAGIC: &[u8] = b"070701";
/// Magic number of an entry with a checksum: the sum of its data's bytes modulo 2^32.
const MAGIC_CHECKSUM: &[u8] = b"070702";
/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The bits of `mode` that hold the kind of file.
const MODE_KIND: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_REGULAR: u32 = 0o100_000;
const MODE_LINK: u32 = 0o120_000;

/// What is wrong with an archive. `offset` is where the entry's header begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpioError {
    /// The archive ends within an entry, or before its trailer.
    Truncated {
        /// Byte offset of the entry.
        offset: usize,
        /// Bytes that the entry needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// The entry does not begin with a magic number of this format.
    BadMagic {
        /// Byte offset of the entry.
        offset: usize,
    },
    /// A number of the header has a character that is no hexadecimal digit.
    BadNumber {
        /// Byte offset of the number.
        offset: usize,
    },
    /// The name is empty, does not end in NUL, has a NUL within, or is not UTF-8.
    BadName {
        /// Byte offset of the entry.
        offset: usize,
    },
    /// The data does not have the checksum that the header states.
    BadChecksum {
        /// Byte offset of the entry.
        offset: usize,
        /// From the header.
        stated: u32,
        /// Of the data.
        computed: u32,
    },
}

impl fmt::Display for CpioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset, needed, left } => {
                write!(formatter, "entry at byte {offset} needs {needed} bytes, {left} are left")
            }
            Self::BadMagic { offset } => write!(formatter, "no newc entry at byte {offset}"),
            Self::BadNumber { offset } => write!(formatter, "no hexadecimal number at byte {offset}"),
            Self::BadName { offset } => write!(formatter, "entry at byte {offset} has a bad name"),
            Self::BadChecksum { offset, stated, computed } => {
                write!(formatter, "entry at byte {offset} has checksum {computed:#x}, not {stated:#x}")
            }
        }
    }
}

impl core::error::Error for CpioError {}

/// Kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file; the data is its contents.
    Regular,
    /// A symbolic link; the data is its target.
    Link,
    /// A device, pipe or socket; holds the mode.
    Other(u32),
}

/// Which file an entry is a name of. Entries of one archive with the same identity are hard links,
/// and only the last of them carries the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Inode number.
    pub inode: u32,
    /// Major and minor number of the device that held the file.
    pub device: (u32, u32),
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path as stored: usually relative, possibly with `.` in front.
    pub name: &'a str,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub permissions: u32,
    /// Names that the file had, for hard links.
    pub links: u32,
    /// Which file it is a name of.
    pub identity: Identity,
    /// Contents, or target of a link.
    pub data: &'a [u8],
}

/// Iterates over the entries of an archive without copying. Ends after the trailer or the first
/// error; what follows the trailer is ignored.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    offset: usize,
    ended: bool,
}

impl<'a> Archive<'a> {
    /// Reads the archive at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, ended: false }
    }

    /// The next entry, or none at the trailer.
    fn entry(&mut self) -> Result<Option<Entry<'a>>, CpioError> {
        let offset = self.offset;
        let header = self.part(offset, offset, HEADER_BYTES)?;
        let checked = match &header[..MAGIC.len()] {
            MAGIC => false,
            MAGIC_CHECKSUM => true,
            _ => return Err(CpioError::BadMagic { offset }),
        };
        let mut numbers = [0; 13];
        for (index, number) in numbers.iter_mut().enumerate() {
            let at = MAGIC.len() + 8 * index;
            *number = hexadecimal(&header[at..at + 8]).ok_or(CpioError::BadNumber { offset: offset + at })?;
        }
        let [inode, mode, _uid, _gid, links, _mtime, size, major, minor, _, _, name_size, stated] = numbers;

        let name_start = offset + HEADER_BYTES;
        let name = self.part(offset, name_start, name_size as usize)?;
        let name = match name.split_last() {
            Some((0, name)) if !name.is_empty() && !name.contains(&0) => name,
            _ => return Err(CpioError::BadName { offset }),
        };
        let data_start = aligned(name_start + name_size as usize);
        let data = self.part(offset, data_start, size as usize)?;
        if name == TRAILER {
            return Ok(None);
        }
        let name = core::str::from_utf8(name).map_err(|_| CpioError::BadName { offset })?;
        if checked {
            let computed = data.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
            if computed != stated {
                return Err(CpioError::BadChecksum { offset, stated, computed });
            }
        }
        self.offset = aligned(data_start + size as usize);
        let kind = match mode & MODE_KIND {
            MODE_DIRECTORY => EntryKind::Directory,
            MODE_REGULAR => EntryKind::Regular,
            MODE_LINK => EntryKind::Link,
            _ => EntryKind::Other(mode),
        };
        let identity = Identity { inode, device: (major, minor) };
        Ok(Some(Entry { name, kind, permissions: mode & 0o7777, links, identity, data }))
    }

    /// `length` bytes from `start` on, which belong to the entry at `offset`.
    fn part(&self, offset: usize, start: usize, length: usize) -> Result<&'a [u8], CpioError> {
        // Each length is below 2^32 and each start below the archive's size + 2^33: no overflow.
        self.bytes.get(start..start + length).ok_or(CpioError::Truncated {
            offset,
            needed: start + length - offset,
            left: self.bytes.len().saturating_sub(offset),
        })
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, CpioError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(ALIGNMENT)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Walks whatever `bytes` are as an archive and returns the number of entries before the end or
/// the first error. For fuzzing: it must return, whatever the bytes are.
#[must_use]
pub fn exercise(bytes: &[u8]) -> usize {
    Archive::new(bytes).take_while(Result::is_ok).count()
}

#[cfg(test)]
pub(crate) mod tests;
