//! What can go wrong between a client and a server.

use core::fmt;

use uio_protocol::error::FileError;

use super::transport::TransportError;
use super::wire::WireError;
use crate::errno::{self, EFBIG, ENFILE};

/// Why a call of the client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server refused, with an error number of Linux.
    Server {
        /// That number.
        errno: u32,
    },
    /// A walk ended before its last name.
    WalkStopped {
        /// Whether it ended at something that is no directory.
        at_file: bool,
    },
    /// The message did not get through.
    Transport(TransportError),
    /// The reply is no message, or the request does not fit into one.
    Wire(WireError),
    /// The reply belongs to another request.
    TagMismatch {
        /// Tag of the request.
        sent: u16,
        /// Tag of the reply.
        received: u16,
    },
    /// The reply is of another type than the request asks for.
    UnexpectedReply {
        /// Type number of the right reply.
        expected: u8,
        /// Type number of the one that came.
        received: u8,
    },
    /// The reply states more bytes, or qids, than were asked for.
    CountTooLarge {
        /// Asked for.
        asked: usize,
        /// Stated.
        received: usize,
    },
    /// The server moves data in pieces so small that it never ends, or not at all.
    NoProgress {
        /// Where, as an offset in the file or directory.
        offset: u64,
    },
    /// The directory has more entries than this client reads.
    DirectoryTooLong {
        /// The limit.
        entries: usize,
    },
    /// The server did not send an attribute that was asked for.
    MissingAttributes {
        /// What it did send, a mask.
        valid: u64,
    },
    /// The server speaks another dialect.
    Dialect,
    /// Server or transport allow only messages that are too small, or the server wants larger ones
    /// than were offered.
    MessageSize {
        /// What they allow, in bytes.
        bytes: u32,
    },
    /// All fids are in use.
    NoFid,
    /// The last byte would lie beyond what an offset can express.
    OffsetTooLarge {
        /// The offset asked for.
        offset: u64,
    },
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<ClientError> for FileError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Server { errno } => errno::to_file_error(errno),
            ClientError::WalkStopped { at_file: true } => Self::NotDirectory,
            ClientError::WalkStopped { at_file: false } => Self::NotFound,
            ClientError::NoFid => Self::Errno(ENFILE),
            ClientError::OffsetTooLarge { .. } => Self::Errno(EFBIG),
            ClientError::Transport(_)
            | ClientError::Wire(_)
            | ClientError::TagMismatch { .. }
            | ClientError::UnexpectedReply { .. }
            | ClientError::CountTooLarge { .. }
            | ClientError::NoProgress { .. }
            | ClientError::DirectoryTooLong { .. }
            | ClientError::MissingAttributes { .. }
            | ClientError::Dialect
            | ClientError::MessageSize { .. } => Self::Io,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { errno } => write!(formatter, "server error {errno}"),
            Self::WalkStopped { at_file: true } => formatter.write_str("not a directory"),
            Self::WalkStopped { at_file: false } => formatter.write_str("no such file"),
            Self::Transport(error) => error.fmt(formatter),
            Self::Wire(error) => error.fmt(formatter),
            Self::TagMismatch { sent, received } => {
                write!(formatter, "reply to request {received} instead of {sent}")
            }
            Self::UnexpectedReply { expected, received } => {
                write!(formatter, "reply of type {received} instead of {expected}")
            }
            Self::CountTooLarge { asked, received } => {
                write!(formatter, "{received} bytes or elements in reply, {asked} asked for")
            }
            Self::NoProgress { offset } => write!(formatter, "no progress at offset {offset}"),
            Self::DirectoryTooLong { entries } => {
                write!(formatter, "directory of more than {entries} entries")
            }
            Self::MissingAttributes { valid } => {
                write!(formatter, "server sent only the attributes {valid:#x}")
            }
            Self::Dialect => formatter.write_str("server does not speak 9P2000.L"),
            Self::MessageSize { bytes } => write!(formatter, "unusable message size of {bytes} bytes"),
            Self::NoFid => formatter.write_str("all fids are in use"),
            Self::OffsetTooLarge { offset } => write!(formatter, "offset {offset} is too large"),
        }
    }
}

impl core::error::Error for ClientError {}
