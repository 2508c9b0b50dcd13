//! What servers know of files and file systems.

use super::WireError;
use super::cursor::{Reader, Writer};

/// Bits of `mode` that say what a file is (`S_IFMT` and its values in Linux).
pub mod mode {
    /// The bits that hold the kind.
    pub const KIND: u32 = 0o170_000;
    /// A directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// A regular file.
    pub const REGULAR: u32 = 0o100_000;
}

/// Bits of `request_mask` and `valid` of `Tgetattr` and `Rgetattr`.
pub mod valid {
    /// `mode` is filled in.
    pub const MODE: u64 = 0x1;
    /// `size` is filled in.
    pub const SIZE: u64 = 0x200;
    /// Everything that a `stat` call of Linux has.
    pub const BASIC: u64 = 0x7ff;
}

/// Bits of `valid` of `Tsetattr`.
pub mod set {
    /// Change the mode.
    pub const MODE: u32 = 0x1;
    /// Change the size.
    pub const SIZE: u32 = 0x8;
}

/// Which file it is, for the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qid {
    /// Kind: [`Qid::DIRECTORY`] and other bits.
    pub kind: u8,
    /// Changes when the file does; many servers leave it 0.
    pub version: u32,
    /// Unique among the files that exist.
    pub path: u64,
}

impl Qid {
    /// Bit of `kind` of a directory.
    pub const DIRECTORY: u8 = 0x80;
    /// Bit of `kind` of a symbolic link.
    pub const LINK: u8 = 0x02;

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        self.kind & Self::DIRECTORY != 0
    }

    pub(super) fn encode(self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.u8(self.kind)?;
        writer.u32(self.version)?;
        writer.u64(self.path)
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { kind: reader.u8()?, version: reader.u32()?, path: reader.u64()? })
    }
}

/// Body of an `Rgetattr`. The four times of the message are a pair of seconds and nanoseconds each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Which fields are filled in: bits of [`valid`].
    pub valid: u64,
    /// Which file it is.
    pub qid: Qid,
    /// Kind and permissions.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Hard links.
    pub links: u64,
    /// Device number of a device.
    pub device: u64,
    /// Size in bytes.
    pub size: u64,
    /// Best size of one read or write, in bytes.
    pub block_bytes: u64,
    /// Blocks of 512 bytes on disk.
    pub blocks: u64,
    /// Last access.
    pub accessed: (u64, u64),
    /// Last change of the contents.
    pub modified: (u64, u64),
    /// Last change of the attributes.
    pub changed: (u64, u64),
    /// Creation.
    pub born: (u64, u64),
    /// Generation of the inode.
    pub generation: u64,
    /// Version of the contents.
    pub data_version: u64,
}

impl Attributes {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.u64(self.valid)?;
        self.qid.encode(writer)?;
        for number in [self.mode, self.user, self.group] {
            writer.u32(number)?;
        }
        let times = [self.accessed, self.modified, self.changed, self.born];
        for number in [self.links, self.device, self.size, self.block_bytes, self.blocks]
            .into_iter()
            .chain(times.into_iter().flat_map(|(seconds, nanoseconds)| [seconds, nanoseconds]))
            .chain([self.generation, self.data_version])
        {
            writer.u64(number)?;
        }
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            valid: reader.u64()?,
            qid: Qid::decode(reader)?,
            mode: reader.u32()?,
            user: reader.u32()?,
            group: reader.u32()?,
            links: reader.u64()?,
            device: reader.u64()?,
            size: reader.u64()?,
            block_bytes: reader.u64()?,
            blocks: reader.u64()?,
            accessed: (reader.u64()?, reader.u64()?),
            modified: (reader.u64()?, reader.u64()?),
            changed: (reader.u64()?, reader.u64()?),
            born: (reader.u64()?, reader.u64()?),
            generation: reader.u64()?,
            data_version: reader.u64()?,
        })
    }
}

/// Body of a `Tsetattr` after the fid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Which fields to set: bits of [`set`].
    pub valid: u32,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last access, in seconds and nanoseconds.
    pub accessed: (u64, u64),
    /// Last change, in seconds and nanoseconds.
    pub modified: (u64, u64),
}

impl SetAttributes {
    /// Sets the size and nothing else.
    #[must_use]
    pub fn size(size: u64) -> Self {
        Self { valid: set::SIZE, size, ..Self::default() }
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        for number in [self.valid, self.mode, self.user, self.group] {
            writer.u32(number)?;
        }
        for number in [self.size, self.accessed.0, self.accessed.1, self.modified.0, self.modified.1] {
            writer.u64(number)?;
        }
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            valid: reader.u32()?,
            mode: reader.u32()?,
            user: reader.u32()?,
            group: reader.u32()?,
            size: reader.u64()?,
            accessed: (reader.u64()?, reader.u64()?),
            modified: (reader.u64()?, reader.u64()?),
        })
    }
}

/// Body of an `Rstatfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystemStatus {
    /// Kind of file system, a magic number of Linux.
    pub kind: u32,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks in no use.
    pub blocks_free: u64,
    /// Blocks that an ordinary user may still take.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes in no use.
    pub files_free: u64,
    /// Identity of the file system.
    pub identity: u64,
    /// Longest name in bytes.
    pub name_bytes_max: u32,
}

impl FileSystemStatus {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.u32(self.kind)?;
        writer.u32(self.block_bytes)?;
        for number in
            [self.blocks, self.blocks_free, self.blocks_available, self.files, self.files_free, self.identity]
        {
            writer.u64(number)?;
        }
        writer.u32(self.name_bytes_max)
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            kind: reader.u32()?,
            block_bytes: reader.u32()?,
            blocks: reader.u64()?,
            blocks_free: reader.u64()?,
            blocks_available: reader.u64()?,
            files: reader.u64()?,
            files_free: reader.u64()?,
            identity: reader.u64()?,
            name_bytes_max: reader.u32()?,
        })
    }
}
