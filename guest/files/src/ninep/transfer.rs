//! Moves file contents: splits large buffers into messages and keeps several under way.

use lock_api::RawMutex;

use super::error::ClientError;
use super::session::Session;
use super::transport::Transport;
use super::wire::Request;

/// Replies of one call that may move fewer bytes than asked for before the server is considered
/// broken. A sound one does it at the end of a file, or when a disk is full.
const SHORT_REPLIES_MAX: usize = 16;

/// Which file, and how much of it one message may move.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The open file.
    pub(super) fid: u32,
    /// Largest piece in bytes, not 0.
    pub(super) piece_bytes: usize,
}

/// What the replies to one batch moved, up to the first that did not do all it was asked for.
#[derive(Default)]
struct Progress {
    bytes: usize,
    /// The first reply that did less, and what it did.
    stopped: Option<Result<usize, ClientError>>,
}

impl Progress {
    fn add(&mut self, asked: usize, outcome: Result<usize, ClientError>) {
        if self.stopped.is_none() {
            self.bytes += outcome.unwrap_or(0);
            if outcome != Ok(asked) {
                self.stopped = Some(outcome);
            }
        }
    }
}

/// Reads from `offset` on until `buffer` is full or the file ends.
pub(super) fn read<T: Transport, R: RawMutex>(
    session: &Session<T, R>,
    target: Target,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, ClientError> {
    check_range(offset, buffer.len())?;
    let mut done = 0;
    let mut short = 0;
    while done < buffer.len() {
        let mut at = offset + done as u64;
        let mut rest = &mut buffer[done..];
        let mut progress = Progress::default();
        // After a short reply most likely only the end is to be confirmed.
        let pieces = if short == 0 { rest.len().div_ceil(target.piece_bytes) } else { 1 };
        session.transfer(
            pieces,
            |_| {
                let length = target.piece_bytes.min(rest.len());
                let (piece, after) = core::mem::take(&mut rest).split_at_mut(length);
                rest = after;
                let request = Request::Read { fid: target.fid, offset: at, count: length as u32 };
                at += length as u64;
                (request, piece)
            },
            |asked, outcome| progress.add(asked, outcome),
        );
        done += progress.bytes;
        match progress.stopped {
            None => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(0)) => break,
            // Only a reply without data means the end, so ask again from there.
            Some(Ok(_)) => count_short(&mut short, offset + done as u64)?,
        }
    }
    Ok(done)
}

/// Writes all of `bytes` from `offset` on.
pub(super) fn write<T: Transport, R: RawMutex>(
    session: &Session<T, R>,
    target: Target,
    offset: u64,
    bytes: &[u8],
) -> Result<(), ClientError> {
    check_range(offset, bytes.len())?;
    let mut done = 0;
    let mut short = 0;
    while done < bytes.len() {
        let mut at = offset + done as u64;
        let mut rest = &bytes[done..];
        let mut progress = Progress::default();
        session.transfer(
            rest.len().div_ceil(target.piece_bytes),
            |_| {
                let (data, after) = rest.split_at(target.piece_bytes.min(rest.len()));
                rest = after;
                let request = Request::Write { fid: target.fid, offset: at, data };
                at += data.len() as u64;
                (request, &mut [])
            },
            |asked, outcome| progress.add(asked, outcome),
        );
        done += progress.bytes;
        match progress.stopped {
            None => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(0)) => return Err(ClientError::NoProgress { offset: offset + done as u64 }),
            Some(Ok(_)) => count_short(&mut short, offset + done as u64)?,
        }
    }
    Ok(())
}

fn count_short(short: &mut usize, offset: u64) -> Result<(), ClientError> {
    *short += 1;
    if *short > SHORT_REPLIES_MAX { Err(ClientError::NoProgress { offset }) } else { Ok(()) }
}

/// Offsets of Linux are signed, and no byte of a transfer may lie beyond the last.
fn check_range(offset: u64, length: usize) -> Result<(), ClientError> {
    match offset.checked_add(length as u64) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(ClientError::OffsetTooLarge { offset }),
    }
}
