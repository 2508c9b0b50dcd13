//! Uploads under way: bytes that a session sends in pieces before it asks to load them.

use alloc::string::ToString;
use alloc::vec::Vec;

use uio_protocol::error::RpcError;
use uio_protocol::limits::{CHUNK_BYTES_MAX, SESSION_UPLOADS_MAX, UPLOAD_BYTES_MAX, UPLOADS_MAX};

use crate::table::Table;

#[derive(Debug)]
struct Upload {
    session: u32,
    announced: u32,
    bytes: Vec<u8>,
}

/// All uploads by number.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    uploads: Table<u32, Upload>,
    next: u32,
}

impl Uploads {
    /// Announces an upload and takes the memory for it. Returns its number.
    pub(crate) fn begin(&mut self, session: u32, bytes: u32) -> Result<u32, RpcError> {
        limit("bytes of an upload", UPLOAD_BYTES_MAX, bytes as usize)?;
        limit("uploads under way", UPLOADS_MAX, self.uploads.len() + 1)?;
        let own = self.uploads.iter().filter(|(_, upload)| upload.session == session).count();
        limit("uploads under way of one session", SESSION_UPLOADS_MAX, own + 1)?;
        let mut buffer = Vec::new();
        buffer
            .try_reserve_exact(bytes as usize)
            .map_err(|_| RpcError::OutOfMemory { bytes: u64::from(bytes) })?;
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.uploads.insert(id, Upload { session, announced: bytes, bytes: buffer });
        Ok(id)
    }

    /// Takes a piece. Pieces come in order; a piece that does not leaves the upload as it was.
    pub(crate) fn put(&mut self, session: u32, id: u32, offset: u32, piece: &[u8]) -> Result<(), RpcError> {
        let upload = self.find(session, id)?;
        limit("bytes of a piece", CHUNK_BYTES_MAX, piece.len())?;
        let received = upload.bytes.len();
        if offset as usize != received {
            return Err(RpcError::UploadIncomplete {
                announced: upload.announced,
                received: received as u32,
            });
        }
        limit("bytes announced", upload.announced as usize, received + piece.len())?;
        upload.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Takes a complete upload out. An incomplete one stays.
    pub(crate) fn take(&mut self, session: u32, id: u32) -> Result<Vec<u8>, RpcError> {
        let upload = self.find(session, id)?;
        let (announced, received) = (upload.announced, upload.bytes.len() as u32);
        if received != announced {
            return Err(RpcError::UploadIncomplete { announced, received });
        }
        self.uploads.remove(&id).map(|upload| upload.bytes).ok_or(RpcError::NoUpload(id))
    }

    /// Drops all uploads of a session.
    pub(crate) fn drop_session(&mut self, session: u32) {
        self.uploads.retain(|upload| upload.session != session);
    }

    fn find(&mut self, session: u32, id: u32) -> Result<&mut Upload, RpcError> {
        self.uploads.get_mut(&id).filter(|upload| upload.session == session).ok_or(RpcError::NoUpload(id))
    }
}

/// An error if `asked` passes `limit`.
pub(crate) fn limit(what: &str, limit: usize, asked: usize) -> Result<(), RpcError> {
    if asked > limit {
        return Err(RpcError::Limit { what: what.to_string(), limit: limit as u64, asked: asked as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_and_complete() {
        let mut uploads = Uploads::default();
        let id = uploads.begin(1, 6).unwrap();
        assert_eq!(uploads.put(2, id, 0, b"abc"), Err(RpcError::NoUpload(id)));
        uploads.put(1, id, 0, b"abc").unwrap();
        assert_eq!(
            uploads.put(1, id, 0, b"abc"),
            Err(RpcError::UploadIncomplete { announced: 6, received: 3 })
        );
        assert_eq!(uploads.take(1, id), Err(RpcError::UploadIncomplete { announced: 6, received: 3 }));
        assert!(matches!(uploads.put(1, id, 3, b"defg"), Err(RpcError::Limit { limit: 6, asked: 7, .. })));
        uploads.put(1, id, 3, b"def").unwrap();
        assert_eq!(uploads.take(2, id), Err(RpcError::NoUpload(id)));
        assert_eq!(uploads.take(1, id).unwrap(), b"abcdef");
        assert_eq!(uploads.take(1, id), Err(RpcError::NoUpload(id)));
    }

    #[test]
    fn half_sent_uploads_are_bounded() {
        let mut uploads = Uploads::default();
        assert!(matches!(uploads.begin(1, UPLOAD_BYTES_MAX as u32 + 1), Err(RpcError::Limit { .. })));
        for session in 1..=(UPLOADS_MAX / SESSION_UPLOADS_MAX) as u32 {
            for _ in 0..SESSION_UPLOADS_MAX {
                uploads.begin(session, 1).unwrap();
            }
            assert!(matches!(uploads.begin(session, 1), Err(RpcError::Limit { .. })));
        }
        assert!(matches!(uploads.begin(9, 1), Err(RpcError::Limit { .. })));
        uploads.drop_session(1);
        uploads.begin(9, 1).unwrap();
    }
}
