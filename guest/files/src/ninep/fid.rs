//! Files of the server by fid.

use alloc::sync::Arc;

use lock_api::RawMutex;

use super::client::unexpected;
use super::error::ClientError;
use super::open_file::OpenFile;
use super::session::Session;
use super::transport::Transport;
use super::wire::{Attributes, Names, Qid, REPLY_BYTES, Reply, Request, SetAttributes, valid};

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
    /// As [`Client::walk`](super::client::Client::walk).
    pub fn walk<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(Self, Option<Qid>), ClientError> {
        walk(&self.session, self.number, names)
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

/// The attributes in a reply, if kind and size are among them.
pub(super) fn attributes_of(request: &Request<'_>, reply: &Reply<'_>) -> Result<Attributes, ClientError> {
    let needed = valid::MODE | valid::SIZE;
    match reply {
        Reply::GetAttributes(attributes) if attributes.valid & needed == needed => Ok(*attributes),
        Reply::GetAttributes(attributes) => Err(ClientError::MissingAttributes { valid: attributes.valid }),
        other => Err(unexpected(request, other)),
    }
}

/// Walks from any fid.
pub(super) fn walk<'a, T: Transport, R: RawMutex>(
    session: &Arc<Session<T, R>>,
    from: u32,
    mut names: impl Iterator<Item = &'a str>,
) -> Result<(Fid<T, R>, Option<Qid>), ClientError> {
    let number = session.take_fid()?;
    let mut batch = Names::take_from(&mut names);
    let mut last = match walk_step(session, from, number, batch) {
        Ok(last) => last,
        Err(error) => {
            match error {
                // The server says that the fid was not made.
                ClientError::Server { .. } | ClientError::WalkStopped { .. } => {
                    session.give_fid(number);
                }
                _ => session.clunk(number),
            }
            return Err(error);
        }
    };
    let fid = Fid { session: Arc::clone(session), number };
    // A walk takes a limited number of names; the fid moves on for the rest. A path is bounded.
    while !batch.as_slice().is_empty() {
        batch = Names::take_from(&mut names);
        if !batch.as_slice().is_empty() {
            last = walk_step(session, number, number, batch)?;
        }
    }
    Ok((fid, last))
}

fn walk_step<T: Transport, R: RawMutex>(
    session: &Session<T, R>,
    fid: u32,
    new_fid: u32,
    names: Names<'_>,
) -> Result<Option<Qid>, ClientError> {
    let request = Request::Walk { fid, new_fid, names };
    let asked = names.as_slice().len();
    match session.call(&request, &mut [0; REPLY_BYTES])? {
        Reply::Walk { qids } => match qids.as_slice() {
            found if found.len() > asked => Err(ClientError::CountTooLarge { asked, received: found.len() }),
            found if found.len() < asked => {
                let at_file = found.last().is_some_and(|qid| !qid.is_directory());
                Err(ClientError::WalkStopped { at_file })
            }
            found => Ok(found.last().copied()),
        },
        other => Err(unexpected(&request, &other)),
    }
}
