//! T-messages.

use super::attributes::SetAttributes;
use super::cursor::Writer;
use super::list::Names;
use super::{WireError, kind, split_header};

/// A T-message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in the protocol's manual pages")]
#[expect(clippy::large_enum_variant, reason = "requests live on the stack for the time of one call")]
pub enum Request<'a> {
    /// Starts a session; all fids of the one before are gone.
    Version { message_bytes_max: u32, version: &'a str },
    /// Makes `fid` the root of the tree `tree`.
    Attach { fid: u32, auth_fid: u32, user_name: &'a str, tree: &'a str, user: u32 },
    /// Forgets the request with tag `old_tag`.
    Flush { old_tag: u16 },
    /// Makes `new_fid` what `names` lead to from `fid`.
    Walk { fid: u32, new_fid: u32, names: Names<'a> },
    /// Opens `fid`.
    Open { fid: u32, flags: u32 },
    /// Creates `name` in the directory `fid`, and makes `fid` that file, opened.
    Create { fid: u32, name: &'a str, flags: u32, mode: u32, group: u32 },
    /// Reads a file.
    Read { fid: u32, offset: u64, count: u32 },
    /// Writes a file.
    Write { fid: u32, offset: u64, data: &'a [u8] },
    /// Asks for attributes.
    GetAttributes { fid: u32, mask: u64 },
    /// Sets attributes.
    SetAttributes { fid: u32, attributes: SetAttributes },
    /// Reads a directory from the entry after the one with `offset` on; 0 for the first.
    ReadDirectory { fid: u32, offset: u64, count: u32 },
    /// Forgets a fid.
    Clunk { fid: u32 },
    /// Makes a directory.
    MakeDirectory { fid: u32, name: &'a str, mode: u32, group: u32 },
    /// Removes a name.
    Unlink { fid: u32, name: &'a str, flags: u32 },
    /// Renames.
    Rename { old_fid: u32, old_name: &'a str, new_fid: u32, new_name: &'a str },
    /// Writes a file through to the disk; only its contents if `data_only` is not 0.
    Sync { fid: u32, data_only: u32 },
    /// Asks for the state of the file system.
    FileSystemStatus { fid: u32 },
}

impl<'a> Request<'a> {
    /// Its type number. The reply's is one more.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Version { .. } => kind::TVERSION,
            Self::Attach { .. } => kind::TATTACH,
            Self::Flush { .. } => kind::TFLUSH,
            Self::Walk { .. } => kind::TWALK,
            Self::Open { .. } => kind::TLOPEN,
            Self::Create { .. } => kind::TLCREATE,
            Self::Read { .. } => kind::TREAD,
            Self::Write { .. } => kind::TWRITE,
            Self::GetAttributes { .. } => kind::TGETATTR,
            Self::SetAttributes { .. } => kind::TSETATTR,
            Self::ReadDirectory { .. } => kind::TREADDIR,
            Self::Clunk { .. } => kind::TCLUNK,
            Self::MakeDirectory { .. } => kind::TMKDIR,
            Self::Unlink { .. } => kind::TUNLINKAT,
            Self::Rename { .. } => kind::TRENAMEAT,
            Self::Sync { .. } => kind::TFSYNC,
            Self::FileSystemStatus { .. } => kind::TSTATFS,
        }
    }

    /// Writes the whole message to the front of `buffer`; returns its size in bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`] if the buffer is too small, [`WireError::StringTooLong`].
    pub fn encode(&self, tag: u16, buffer: &mut [u8]) -> Result<usize, WireError> {
        let length = self.encode_header(tag, buffer)?;
        let payload = self.payload();
        let left = buffer.len() - length;
        buffer[length..]
            .get_mut(..payload.len())
            .ok_or(WireError::NoRoom { needed: payload.len(), left })?
            .copy_from_slice(payload);
        Ok(length + payload.len())
    }

    /// The data of a `Twrite`, nothing for other messages: what may be sent from where it is.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::Write { data, .. } => data,
            _ => &[],
        }
    }

    /// Writes the message without its [`Self::payload`], which has to follow it on the wire;
    /// returns the bytes written.
    ///
    /// # Errors
    ///
    /// As [`Self::encode`].
    pub fn encode_header(&self, tag: u16, buffer: &mut [u8]) -> Result<usize, WireError> {
        let mut writer = Writer::message(buffer, self.kind(), tag)?;
        let out = &mut writer;
        match *self {
            Self::Version { message_bytes_max, version } => {
                out.u32(message_bytes_max)?;
                out.string(version)?;
            }
            Self::Attach { fid, auth_fid, user_name, tree, user } => {
                out.u32(fid)?;
                out.u32(auth_fid)?;
                out.string(user_name)?;
                out.string(tree)?;
                out.u32(user)?;
            }
            Self::Flush { old_tag } => out.u16(old_tag)?,
            Self::Walk { fid, new_fid, names } => {
                out.u32(fid)?;
                out.u32(new_fid)?;
                names.encode(out)?;
            }
            Self::Open { fid, flags } => {
                out.u32(fid)?;
                out.u32(flags)?;
            }
            Self::Create { fid, name, flags, mode, group } => {
                out.u32(fid)?;
                out.string(name)?;
                out.u32(flags)?;
                out.u32(mode)?;
                out.u32(group)?;
            }
            Self::Read { fid, offset, count } | Self::ReadDirectory { fid, offset, count } => {
                out.u32(fid)?;
                out.u64(offset)?;
                out.u32(count)?;
            }
            Self::Write { fid, offset, data } => {
                let count = u32::try_from(data.len())
                    .map_err(|_| WireError::NoRoom { needed: data.len(), left: u32::MAX as usize })?;
                out.u32(fid)?;
                out.u64(offset)?;
                out.u32(count)?;
            }
            Self::GetAttributes { fid, mask } => {
                out.u32(fid)?;
                out.u64(mask)?;
            }
            Self::SetAttributes { fid, attributes } => {
                out.u32(fid)?;
                attributes.encode(out)?;
            }
            Self::Clunk { fid } | Self::FileSystemStatus { fid } => out.u32(fid)?,
            Self::MakeDirectory { fid, name, mode, group } => {
                out.u32(fid)?;
                out.string(name)?;
                out.u32(mode)?;
                out.u32(group)?;
            }
            Self::Unlink { fid, name, flags } => {
                out.u32(fid)?;
                out.string(name)?;
                out.u32(flags)?;
            }
            Self::Rename { old_fid, old_name, new_fid, new_name } => {
                out.u32(old_fid)?;
                out.string(old_name)?;
                out.u32(new_fid)?;
                out.string(new_name)?;
            }
            Self::Sync { fid, data_only } => {
                out.u32(fid)?;
                out.u32(data_only)?;
            }
        }
        writer.finish(self.payload().len())
    }

    /// Reads the tag and the message that `message` is.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it is none, or not of the size it says.
    pub fn decode(message: &'a [u8]) -> Result<(u16, Self), WireError> {
        let (number, tag, mut body) = split_header(message)?;
        let from = &mut body;
        let request = match number {
            kind::TVERSION => Self::Version { message_bytes_max: from.u32()?, version: from.string()? },
            kind::TATTACH => Self::Attach {
                fid: from.u32()?,
                auth_fid: from.u32()?,
                user_name: from.string()?,
                tree: from.string()?,
                user: from.u32()?,
            },
            kind::TFLUSH => Self::Flush { old_tag: from.u16()? },
            kind::TWALK => Self::Walk { fid: from.u32()?, new_fid: from.u32()?, names: Names::decode(from)? },
            kind::TLOPEN => Self::Open { fid: from.u32()?, flags: from.u32()? },
            kind::TLCREATE => Self::Create {
                fid: from.u32()?,
                name: from.string()?,
                flags: from.u32()?,
                mode: from.u32()?,
                group: from.u32()?,
            },
            kind::TREAD => Self::Read { fid: from.u32()?, offset: from.u64()?, count: from.u32()? },
            kind::TWRITE => Self::Write { fid: from.u32()?, offset: from.u64()?, data: from.data()? },
            kind::TGETATTR => Self::GetAttributes { fid: from.u32()?, mask: from.u64()? },
            kind::TSETATTR => {
                Self::SetAttributes { fid: from.u32()?, attributes: SetAttributes::decode(from)? }
            }
            kind::TREADDIR => {
                Self::ReadDirectory { fid: from.u32()?, offset: from.u64()?, count: from.u32()? }
            }
            kind::TCLUNK => Self::Clunk { fid: from.u32()? },
            kind::TMKDIR => Self::MakeDirectory {
                fid: from.u32()?,
                name: from.string()?,
                mode: from.u32()?,
                group: from.u32()?,
            },
            kind::TUNLINKAT => Self::Unlink { fid: from.u32()?, name: from.string()?, flags: from.u32()? },
            kind::TRENAMEAT => Self::Rename {
                old_fid: from.u32()?,
                old_name: from.string()?,
                new_fid: from.u32()?,
                new_name: from.string()?,
            },
            kind::TFSYNC => Self::Sync { fid: from.u32()?, data_only: from.u32()? },
            kind::TSTATFS => Self::FileSystemStatus { fid: from.u32()? },
            other => return Err(WireError::Type(other)),
        };
        body.finish()?;
        Ok((tag, request))
    }
}
