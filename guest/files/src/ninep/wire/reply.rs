//! R-messages.

use super::attributes::{Attributes, FileSystemStatus, Qid};
use super::cursor::Writer;
use super::list::Qids;
use super::{WireError, kind, split_header};

/// An R-message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in the protocol's manual pages")]
pub enum Reply<'a> {
    /// The request failed, with an error number of Linux.
    Error { errno: u32 },
    /// The session's largest message and dialect.
    Version { message_bytes_max: u32, version: &'a str },
    /// The root.
    Attach { qid: Qid },
    /// The request is forgotten.
    Flush,
    /// The files on the way; fewer than names if the walk stopped early, and no fid then.
    Walk { qids: Qids },
    /// The file is open; `io_bytes` is the largest atomic transfer, 0 if unknown.
    Open { qid: Qid, io_bytes: u32 },
    /// The file is created and open.
    Create { qid: Qid, io_bytes: u32 },
    /// What was read; empty at the end.
    Read { data: &'a [u8] },
    /// Bytes written.
    Write { count: u32 },
    /// The attributes.
    GetAttributes(Attributes),
    /// They are set.
    SetAttributes,
    /// Entries, to be read with [`Dirents`](super::Dirents); empty at the end.
    ReadDirectory { data: &'a [u8] },
    /// The fid is forgotten.
    Clunk,
    /// The directory is made.
    MakeDirectory { qid: Qid },
    /// The name is removed.
    Unlink,
    /// It is renamed.
    Rename,
    /// It is on the disk.
    Sync,
    /// The state of the file system.
    FileSystemStatus(FileSystemStatus),
}

impl<'a> Reply<'a> {
    /// Its type number.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Error { .. } => kind::RLERROR,
            Self::Version { .. } => kind::TVERSION + 1,
            Self::Attach { .. } => kind::TATTACH + 1,
            Self::Flush => kind::TFLUSH + 1,
            Self::Walk { .. } => kind::TWALK + 1,
            Self::Open { .. } => kind::TLOPEN + 1,
            Self::Create { .. } => kind::TLCREATE + 1,
            Self::Read { .. } => kind::TREAD + 1,
            Self::Write { .. } => kind::TWRITE + 1,
            Self::GetAttributes(_) => kind::TGETATTR + 1,
            Self::SetAttributes => kind::TSETATTR + 1,
            Self::ReadDirectory { .. } => kind::TREADDIR + 1,
            Self::Clunk => kind::TCLUNK + 1,
            Self::MakeDirectory { .. } => kind::TMKDIR + 1,
            Self::Unlink => kind::TUNLINKAT + 1,
            Self::Rename => kind::TRENAMEAT + 1,
            Self::Sync => kind::TFSYNC + 1,
            Self::FileSystemStatus(_) => kind::TSTATFS + 1,
        }
    }

    /// Writes the message to the front of `buffer`, for servers; returns its size in bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`] if the buffer is too small, [`WireError::StringTooLong`].
    pub fn encode(&self, tag: u16, buffer: &mut [u8]) -> Result<usize, WireError> {
        let mut writer = Writer::message(buffer, self.kind(), tag)?;
        let out = &mut writer;
        match self {
            Self::Error { errno } => out.u32(*errno)?,
            Self::Version { message_bytes_max, version } => {
                out.u32(*message_bytes_max)?;
                out.string(version)?;
            }
            Self::Attach { qid } | Self::MakeDirectory { qid } => qid.encode(out)?,
            Self::Walk { qids } => qids.encode(out)?,
            Self::Open { qid, io_bytes } | Self::Create { qid, io_bytes } => {
                qid.encode(out)?;
                out.u32(*io_bytes)?;
            }
            Self::Read { data } | Self::ReadDirectory { data } => {
                let count = u32::try_from(data.len())
                    .map_err(|_| WireError::NoRoom { needed: data.len(), left: u32::MAX as usize })?;
                out.u32(count)?;
                out.put(data)?;
            }
            Self::Write { count } => out.u32(*count)?,
            Self::GetAttributes(attributes) => attributes.encode(out)?,
            Self::FileSystemStatus(status) => status.encode(out)?,
            Self::Flush | Self::SetAttributes | Self::Clunk | Self::Unlink | Self::Rename | Self::Sync => {}
        }
        writer.finish(0)
    }

    /// Reads the tag and the message that `message` is.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it is none, or not of the size it says.
    pub fn decode(message: &'a [u8]) -> Result<(u16, Self), WireError> {
        let (number, tag, mut body) = split_header(message)?;
        let from = &mut body;
        let reply = match number {
            kind::RLERROR => Self::Error { errno: from.u32()? },
            number if number % 2 == 0 => return Err(WireError::Type(number)),
            number => match number - 1 {
                kind::TVERSION => Self::Version { message_bytes_max: from.u32()?, version: from.string()? },
                kind::TATTACH => Self::Attach { qid: Qid::decode(from)? },
                kind::TFLUSH => Self::Flush,
                kind::TWALK => Self::Walk { qids: Qids::decode(from)? },
                kind::TLOPEN => Self::Open { qid: Qid::decode(from)?, io_bytes: from.u32()? },
                kind::TLCREATE => Self::Create { qid: Qid::decode(from)?, io_bytes: from.u32()? },
                kind::TREAD => Self::Read { data: from.data()? },
                kind::TWRITE => Self::Write { count: from.u32()? },
                kind::TGETATTR => Self::GetAttributes(Attributes::decode(from)?),
                kind::TSETATTR => Self::SetAttributes,
                kind::TREADDIR => Self::ReadDirectory { data: from.data()? },
                kind::TCLUNK => Self::Clunk,
                kind::TMKDIR => Self::MakeDirectory { qid: Qid::decode(from)? },
                kind::TUNLINKAT => Self::Unlink,
                kind::TRENAMEAT => Self::Rename,
                kind::TFSYNC => Self::Sync,
                kind::TSTATFS => Self::FileSystemStatus(FileSystemStatus::decode(from)?),
                _ => return Err(WireError::Type(number)),
            },
        };
        body.finish()?;
        Ok((tag, reply))
    }
}
