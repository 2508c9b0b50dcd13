//! The byte stream under a session: whole frames in, whole frames out.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use uio_protocol::frame::{Decoder, Frame};

use crate::lock;

/// Bytes asked from the socket at a time: one full frame and some.
const READ_BYTES: usize = 64 * 1024;

/// The sending half. Frames of different threads do not mix.
pub(crate) struct Link {
    stream: Mutex<UnixStream>,
    /// A second handle, so that closing does not wait for a sender that blocks.
    closer: Option<UnixStream>,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let closer = stream.try_clone().ok();
        Self { stream: Mutex::new(stream), closer }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.stream).write_all(bytes)
    }

    pub(crate) fn close(&self) {
        if let Some(stream) = &self.closer {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Reads until the end of the stream. Damaged frames are skipped: the other side counts them, and
/// what they answered times out.
pub(crate) fn read_frames(mut reader: UnixStream, mut take: impl FnMut(Frame)) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut input = &buffer[..count];
        while let Some(frame) = decoder.next_frame(&mut input) {
            if let Ok(frame) = frame {
                take(frame);
            }
        }
    }
}
