//! Files of the guest, whole.

use uio_protocol::inspect::FileInfo;
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::rpc::{Reply, Request};

use super::{Client, ClientError};

/// # Errors
///
/// Each method: [`ClientError`] as [`Client::request`] says.
impl Client {
    /// Entries of a directory, all of them.
    pub fn list_directory(&self, path: &str) -> Result<Vec<FileInfo>, ClientError> {
        let mut all = Vec::new();
        loop {
            let request = Request::ListDirectory { path: path.to_owned(), skip: all.len() as u32 };
            match self.request(&request)? {
                Reply::Directory { entries, more } => {
                    // "More" with an empty page would never end.
                    let more = more && !entries.is_empty();
                    all.extend(entries);
                    if !more {
                        return Ok(all);
                    }
                }
                other => return Err(ClientError::unexpected("ListDirectory", &other)),
            }
        }
    }

    /// One file's kind and size.
    pub fn file_status(&self, path: &str) -> Result<FileInfo, ClientError> {
        match self.request(&Request::FileStatus { path: path.to_owned() })? {
            Reply::FileStatus(info) => Ok(info),
            other => Err(ClientError::unexpected("FileStatus", &other)),
        }
    }

    /// Reads a file piece by piece; `take` says whether to go on.
    pub fn read_file(&self, path: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), ClientError> {
        let mut offset = 0;
        loop {
            let request = Request::ReadFile { path: path.to_owned(), offset, length: CHUNK_BYTES_MAX as u32 };
            match self.request(&request)? {
                Reply::Bytes(bytes) if bytes.is_empty() => return Ok(()),
                Reply::Bytes(bytes) => {
                    offset += bytes.len() as u64;
                    if !take(&bytes) {
                        return Ok(());
                    }
                }
                other => return Err(ClientError::unexpected("ReadFile", &other)),
            }
        }
    }

    /// Replaces a file's contents, or creates it.
    pub fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), ClientError> {
        // The first piece goes out even when there is none, to create or empty the file.
        let mut pieces = contents.chunks(CHUNK_BYTES_MAX);
        let first = pieces.next().unwrap_or_default();
        self.write_piece(path, 0, true, first)?;
        let mut offset = first.len() as u64;
        for piece in pieces {
            self.write_piece(path, offset, false, piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn write_piece(&self, path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), ClientError> {
        self.command(&Request::WriteFile { path: path.to_owned(), offset, truncate, bytes: bytes.to_vec() })
    }

    /// Removes a file or an empty directory.
    pub fn remove_file(&self, path: &str) -> Result<(), ClientError> {
        self.command(&Request::RemoveFile { path: path.to_owned() })
    }

    /// Makes a directory.
    pub fn make_directory(&self, path: &str) -> Result<(), ClientError> {
        self.command(&Request::MakeDirectory { path: path.to_owned() })
    }
}
