//! Open files of the server.

use lock_api::RawMutex;

use super::error::ClientError;
use super::fid::Fid;
use super::transfer::{self, Target};
use super::transport::Transport;
use super::wire::{IO_OVERHEAD_BYTES, Qid, REPLY_BYTES, Request};

/// Smallest transfer size of an open file that the client heeds. A server may state any; a few
/// bytes would make every call thousands of messages.
const IO_BYTES_MIN: u32 = 512;

/// An open file of the server. Several threads may use it at once.
pub struct OpenFile<T: Transport, R: RawMutex> {
    pub(super) fid: Fid<T, R>,
    qid: Qid,
    io_bytes: u32,
}

impl<T: Transport, R: RawMutex> OpenFile<T, R> {
    pub(super) fn new(fid: Fid<T, R>, qid: Qid, io_bytes: u32) -> Self {
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

    /// Reads from `offset` on until `buffer` is full or the file ends, with up to [`WINDOW_MAX`](super::client::WINDOW_MAX)
    /// messages under way; returns the bytes read.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; what arrived before is lost.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ClientError> {
        transfer::read(&self.fid.session, self.target(), offset, buffer)
    }

    /// Writes all of `bytes` from `offset` on, with up to [`WINDOW_MAX`](super::client::WINDOW_MAX) messages under way.
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
