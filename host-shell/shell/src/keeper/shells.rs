//! One attached shell: its socket and the queue of frames that wait for it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use uio_protocol::limits::EVENT_CREDIT_BYTES;

use crate::lock;

/// Event bytes that wait for a shell before further ones are dropped. The guest's own credit keeps
/// below this unless the shell gives credit without reading.
const EVENTS_QUEUED_BYTES_MAX: usize = 2 * EVENT_CREDIT_BYTES as usize;

/// Bytes of any kind that wait for a shell before it is given up: one that asks and never reads.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Kept,
    Dropped,
}

pub(super) struct Shell {
    stream: UnixStream,
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// The session number that the shell writes into its own frames.
    pub(super) own_session: AtomicU32,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    closed: bool,
}

impl Shell {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, queue: Mutex::default(), arrived: Condvar::new(), own_session: AtomicU32::new(0) }
    }

    pub(super) fn own_session(&self) -> u32 {
        self.own_session.load(Ordering::Relaxed)
    }

    /// Queues a frame; one that may be lost is dropped when much is waiting. Never blocks.
    pub(super) fn send(&self, frame: Vec<u8>, droppable: bool) -> Queued {
        let mut queue = lock(&self.queue);
        if queue.closed || (droppable && queue.bytes + frame.len() > EVENTS_QUEUED_BYTES_MAX) {
            return Queued::Dropped;
        }
        if queue.bytes + frame.len() > QUEUED_BYTES_MAX {
            drop(queue);
            self.close();
            return Queued::Dropped;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        drop(queue);
        self.arrived.notify_one();
        Queued::Kept
    }

    /// Ends the connection; both of its threads notice.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.arrived.notify_all();
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Ends the connection once what is queued has gone out.
    pub(super) fn close_after_queue(&self) {
        lock(&self.queue).closed = true;
        self.arrived.notify_all();
    }

    /// Writes queued frames until the connection is closed.
    pub(super) fn write_all(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.frames.is_empty() && !queue.closed {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(frame) = queue.frames.pop_front() else {
                drop(queue);
                let _ = self.stream.shutdown(Shutdown::Both);
                return;
            };
            queue.bytes -= frame.len();
            drop(queue);
            if (&self.stream).write_all(&frame).is_err() {
                self.close();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_never_reads_loses_events_and_then_its_connection() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let shell = Shell::new(ours);
        let frame = vec![1; 48 * 1024];
        let kept = (0..100).filter(|_| shell.send(frame.clone(), true) == Queued::Kept).count();
        assert_eq!(kept, EVENTS_QUEUED_BYTES_MAX / frame.len());
        assert_eq!(shell.send(frame.clone(), false), Queued::Kept, "answers are kept longer");
        while shell.send(frame.clone(), false) == Queued::Kept {}
        assert!(lock(&shell.queue).closed);
        assert!(lock(&shell.queue).bytes <= QUEUED_BYTES_MAX);
    }
}
