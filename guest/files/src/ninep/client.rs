//! A 9P2000.L client: one session with one server.
//!
//! Calls block the calling thread, and several threads may call at once; each has a tag of its own.
//! Fids clunk themselves when they are dropped, on every path.

use alloc::string::String;
use alloc::sync::Arc;

use lock_api::RawMutex;

use super::error::ClientError;
use super::fid;
use super::session::{ROOT_FID, Session};
use super::transport::Transport;
use super::wire::{
    FileSystemStatus, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, NO_FID, Qid, REPLY_BYTES, Reply, Request, VERSION,
};

pub use super::fid::Fid;
pub use super::open_file::OpenFile;
pub use super::session::{FIDS_MAX, TAGS_MAX, WINDOW_MAX};

/// As whom, and to what, to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachOptions {
    /// Name of the user; servers that map users by number ignore it.
    pub user_name: String,
    /// Number of the user.
    pub user: u32,
    /// Which tree of the server, empty for its default.
    pub tree: String,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self { user_name: "root".into(), user: 0, tree: String::new() }
    }
}

/// A session. Clones are the same session, which ends with the last of them and of its fids.
pub struct Client<T: Transport, R: RawMutex> {
    session: Arc<Session<T, R>>,
}

impl<T: Transport, R: RawMutex> Clone for Client<T, R> {
    fn clone(&self) -> Self {
        Self { session: Arc::clone(&self.session) }
    }
}

impl<T: Transport, R: RawMutex> Client<T, R> {
    /// Agrees on dialect and message size, and attaches to the server's tree.
    ///
    /// # Errors
    ///
    /// [`ClientError::Dialect`], [`ClientError::MessageSize`], or what went wrong with the messages.
    pub fn connect(transport: T, options: &AttachOptions) -> Result<Self, ClientError> {
        let offered = transport.message_bytes_max().min(MESSAGE_BYTES_MAX);
        if offered < MESSAGE_BYTES_MIN {
            return Err(ClientError::MessageSize { bytes: offered });
        }
        let mut session = Session::new(transport, offered);
        let mut buffer = [0; REPLY_BYTES];
        let request = Request::Version { message_bytes_max: offered, version: VERSION };
        match session.call(&request, &mut buffer)? {
            Reply::Version { version, .. } if version != VERSION => return Err(ClientError::Dialect),
            Reply::Version { message_bytes_max: bytes, .. } => {
                if !(MESSAGE_BYTES_MIN..=offered).contains(&bytes) {
                    return Err(ClientError::MessageSize { bytes });
                }
                session.message_bytes_max = bytes;
            }
            other => return Err(unexpected(&request, &other)),
        }
        let request = Request::Attach {
            fid: ROOT_FID,
            auth_fid: NO_FID,
            user_name: &options.user_name,
            tree: &options.tree,
            user: options.user,
        };
        session.call(&request, &mut buffer)?;
        Ok(Self { session: Arc::new(session) })
    }

    /// The message size agreed on, in bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> u32 {
        self.session.message_bytes_max
    }

    /// What carries the messages.
    #[must_use]
    pub fn transport(&self) -> &T {
        self.session.transport()
    }

    /// Fids in use, the root's included; for tests and reports.
    #[must_use]
    pub fn fids_in_use(&self) -> u32 {
        self.session.fids_in_use()
    }

    /// A fid for what `names` lead to from the root, and its qid (none without names: the root).
    ///
    /// # Errors
    ///
    /// [`ClientError::WalkStopped`] or [`ClientError::Server`] if nothing is there,
    /// [`ClientError::NoFid`].
    pub fn walk<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(Fid<T, R>, Option<Qid>), ClientError> {
        fid::walk(&self.session, ROOT_FID, names)
    }

    /// State of the server's file system.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn file_system_status(&self) -> Result<FileSystemStatus, ClientError> {
        let request = Request::FileSystemStatus { fid: ROOT_FID };
        match self.session.call(&request, &mut [0; REPLY_BYTES])? {
            Reply::FileSystemStatus(status) => Ok(status),
            other => Err(unexpected(&request, &other)),
        }
    }
}

/// The error for a reply of another type.
pub(super) fn unexpected(request: &Request<'_>, reply: &Reply<'_>) -> ClientError {
    ClientError::UnexpectedReply { expected: request.kind() + 1, received: reply.kind() }
}
