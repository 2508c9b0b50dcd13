//! A 9P2000.L client: one session with one server.
//!
//! Calls block the calling thread, and several threads may call at once; each has a tag of its own.
//! Fids clunk themselves when they are dropped, on every path.

use alloc::string::String;
use alloc::sync::Arc;

use lock_api::RawMutex;

use super::error::ClientError;
use super::session::{ROOT_FID, Session};
use super::transfer::{self, Target};
use super::transport::Transport;
use super::wire::{
    Attributes, FileSystemStatus, IO_OVERHEAD_BYTES, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, NO_FID, Names,
    Qid, REPLY_BYTES, Reply, Request, SetAttributes, VERSION, valid,
};

pub use super::session::{FIDS_MAX, TAGS_MAX, WINDOW_MAX};

/// Smallest transfer size of an open file that the client heeds. A server may state any; a few
/// bytes would make every call thousands of messages.
const IO_BYTES_MIN: u32 = 512;

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
        self.walk_from(ROOT_FID, names)
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

    fn walk_from<'a>(
        &self,
        from: u32,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<(Fid<T, R>, Option<Qid>), ClientError> {
        let number = self.session.take_fid()?;
        let mut batch = Names::take_from(&mut names);
        let mut last = match self.walk_step(from, number, batch) {
            Ok(last) => last,
            Err(error) => {
                match error {
                    // The server says that the fid was not made.
                    ClientError::Server { .. } | ClientError::WalkStopped { .. } => {
                        self.session.give_fid(number);
                    }
                    _ => self.session.clunk(number),
                }
                return Err(error);
            }
        };
        let fid = Fid { session: Arc::clone(&self.session), number };
        // A walk takes a limited number of names; the fid moves on for the rest. A path is bounded.
        while !batch.as_slice().is_empty() {
            batch = Names::take_from(&mut names);
            if !batch.as_slice().is_empty() {
                last = self.walk_step(number, number, batch)?;
            }
        }
        Ok((fid, last))
    }

    fn walk_step(&self, fid: u32, new_fid: u32, names: Names<'_>) -> Result<Option<Qid>, ClientError> {
        let request = Request::Walk { fid, new_fid, names };
        let asked = names.as_slice().len();
        match self.session.call(&request, &mut [0; REPLY_BYTES])? {
            Reply::Walk { qids } => match qids.as_slice() {
                found if found.len() > asked => {
                    Err(ClientError::CountTooLarge { asked, received: found.len() })
                }
                found if found.len() < asked => {
                    let at_file = found.last().is_some_and(|qid| !qid.is_directory());
                    Err(ClientError::WalkStopped { at_file })
                }
                found => Ok(found.last().copied()),
            },
            other => Err(unexpected(&request, &other)),
        }
    }
}

/// A file of the server that is not open. Forgets itself on the server when dropped, which is a call.
pub struct Fid<T: Transport, R: RawMutex> {
    pub(super) session: Arc<Session<T, R>>,
    pub(super) number: u32,
}

impl<T: Transport, R: RawMutex> Drop for Fid<T, R> {
    fn drop(&mut self) {
        self.session.clunk(self.number);
    }
}

impl<T: Transport, R: RawMutex> Fid<T, R> {
    /// A fid for what `names` lead to from here, and its qid; without names another fid for the same.
    ///
    /// # Errors
    ///
    /// As [`Client::walk`].
    pub fn walk<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(Self, Option<Qid>), ClientError> {
        Client { session: Arc::clone(&self.session) }.walk_from(self.number, names)
    }

    /// Opens it with flags of [`wire::open`](super::wire::open).
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn open(self, flags: u32) -> Result<OpenFile<T, R>, ClientError> {
        let request = Request::Open { fid: self.number, flags };
        match self.session.call(&request, &mut [0; REPLY_BYTES])? {
            Reply::Open { qid, io_bytes } => Ok(OpenFile::new(self, qid, io_bytes)),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Creates `name` in this directory, with flags as for [`Self::open`] and permissions `mode`, and
    /// opens it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn create(self, name: &str, flags: u32, mode: u32) -> Result<OpenFile<T, R>, ClientError> {
        let request = Request::Create { fid: self.number, name, flags, mode, group: 0 };
        match self.session.call(&request, &mut [0; REPLY_BYTES])? {
            Reply::Create { qid, io_bytes } => Ok(OpenFile::new(self, qid, io_bytes)),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Kind, size and the rest.
    ///
    /// # Errors
    ///
    /// [`ClientError::MissingAttributes`] if the reply lacks kind or size, and other [`ClientError`]s.
    pub fn attributes(&self) -> Result<Attributes, ClientError> {
        let request = self.attributes_request();
        let mut buffer = [0; REPLY_BYTES];
        let reply = self.session.call(&request, &mut buffer)?;
        attributes_of(&request, &reply)
    }

    pub(super) fn attributes_request(&self) -> Request<'static> {
        Request::GetAttributes { fid: self.number, mask: valid::BASIC }
    }

    /// Cuts or extends the file to `size` bytes.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn set_size(&self, size: u64) -> Result<(), ClientError> {
        let request = Request::SetAttributes { fid: self.number, attributes: SetAttributes::size(size) };
        self.session.call(&request, &mut [0; REPLY_BYTES]).map(drop)
    }

    /// Makes a directory with permissions `mode` in this one.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn make_directory(&self, name: &str, mode: u32) -> Result<(), ClientError> {
        let request = Request::MakeDirectory { fid: self.number, name, mode, group: 0 };
        self.session.call(&request, &mut [0; REPLY_BYTES]).map(drop)
    }

    /// Removes `name` from this directory; `flags` is 0 for a file and
    /// [`wire::UNLINK_DIRECTORY`](super::wire::UNLINK_DIRECTORY) for a directory.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn unlink(&self, name: &str, flags: u32) -> Result<(), ClientError> {
        let request = Request::Unlink { fid: self.number, name, flags };
        self.session.call(&request, &mut [0; REPLY_BYTES]).map(drop)
    }

    /// Moves `name` of this directory to `new_name` of another.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn rename(&self, name: &str, new_directory: &Self, new_name: &str) -> Result<(), ClientError> {
        let request =
            Request::Rename { old_fid: self.number, old_name: name, new_fid: new_directory.number, new_name };
        self.session.call(&request, &mut [0; REPLY_BYTES]).map(drop)
    }
}

/// An open file of the server. Several threads may use it at once.
pub struct OpenFile<T: Transport, R: RawMutex> {
    pub(super) fid: Fid<T, R>,
    qid: Qid,
    io_bytes: u32,
}

impl<T: Transport, R: RawMutex> OpenFile<T, R> {
    fn new(fid: Fid<T, R>, qid: Qid, io_bytes: u32) -> Self {
        let most = fid.session.message_bytes_max - IO_OVERHEAD_BYTES as u32;
        let io_bytes = if io_bytes < IO_BYTES_MIN { most } else { io_bytes.min(most) };
        Self { fid, qid, io_bytes }
    }

    /// Which file it is.
    #[must_use]
    pub fn qid(&self) -> Qid {
        self.qid
    }

    /// Bytes that one message moves at most.
    #[must_use]
    pub fn io_bytes(&self) -> usize {
        self.io_bytes as usize
    }

    /// Reads from `offset` on until `buffer` is full or the file ends, with up to [`WINDOW_MAX`]
    /// messages under way; returns the bytes read.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; what arrived before is lost.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ClientError> {
        transfer::read(&self.fid.session, self.target(), offset, buffer)
    }

    /// Writes all of `bytes` from `offset` on, with up to [`WINDOW_MAX`] messages under way.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; a part may have been written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        transfer::write(&self.fid.session, self.target(), offset, bytes)
    }

    /// Has the server write the file to its disk.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn sync(&self) -> Result<(), ClientError> {
        let request = Request::Sync { fid: self.fid.number, data_only: 0 };
        self.fid.session.call(&request, &mut [0; REPLY_BYTES]).map(drop)
    }

    fn target(&self) -> Target {
        Target { fid: self.fid.number, piece_bytes: self.io_bytes() }
    }
}

/// The attributes in a reply, if kind and size are among them.
pub(super) fn attributes_of(request: &Request<'_>, reply: &Reply<'_>) -> Result<Attributes, ClientError> {
    let needed = valid::MODE | valid::SIZE;
    match reply {
        Reply::GetAttributes(attributes) if attributes.valid & needed == needed => Ok(*attributes),
        Reply::GetAttributes(attributes) => Err(ClientError::MissingAttributes { valid: attributes.valid }),
        other => Err(unexpected(request, other)),
    }
}

fn unexpected(request: &Request<'_>, reply: &Reply<'_>) -> ClientError {
    ClientError::UnexpectedReply { expected: request.kind() + 1, received: reply.kind() }
}
