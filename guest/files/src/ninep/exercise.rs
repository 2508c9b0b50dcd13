//! Drives a client with replies made of arbitrary bytes, for fuzzing and for property tests.

use lock_api::{Mutex, RawMutex};

use super::client::{AttachOptions, Client};
use super::fs::NinePFileSystem;
use super::transport::{Exchange, Transport, TransportError};
use super::wire::{HEADER_BYTES, MESSAGE_BYTES_MIN, Reply, VERSION, kind};
use crate::filesystem::FileSystem;
use crate::path::{AbsolutePath, RelativePath};

/// Bits of the byte in front of each scripted reply: which fields of its header to make right, so
/// that arbitrary bytes get past the first checks.
const FIX_SIZE: u8 = 1;
const FIX_TYPE: u8 = 2;
const FIX_TAG: u8 = 4;
/// States more bytes than there are.
const OVERSTATE: u8 = 8;

/// Entries asked for in a listing; with names of any length they need more than one reply.
const LIST_MAX: usize = 100;

/// A server whose replies come from a script: for each a byte of flags, its length in two bytes,
/// and the bytes. `Tversion` and `Tattach` are answered properly. At the end of the script the
/// transport is closed.
struct Script<'a, R: RawMutex> {
    bytes: Mutex<R, &'a [u8]>,
}

impl<R: RawMutex + Send + Sync> Transport for Script<'_, R> {
    fn message_bytes_max(&self) -> u32 {
        MESSAGE_BYTES_MIN
    }

    fn in_flight_max(&self) -> usize {
        4
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        exchange.outcome = self.answer(exchange);
    }
}

impl<R: RawMutex> Script<'_, R> {
    fn answer(&self, exchange: &mut Exchange<'_>) -> Result<usize, TransportError> {
        let request = exchange.request.get(..HEADER_BYTES).ok_or(TransportError::NotStarted)?;
        let tag = u16::from_le_bytes([request[5], request[6]]);
        let set_up = match request[4] {
            kind::TVERSION => Some(Reply::Version { message_bytes_max: MESSAGE_BYTES_MIN, version: VERSION }),
            kind::TATTACH => Some(Reply::Attach { qid: super::wire::Qid::default() }),
            _ => None,
        };
        if let Some(reply) = set_up {
            return reply.encode(tag, exchange.reply).map_err(|_| TransportError::NotStarted);
        }
        let mut script = self.bytes.lock();
        let (flags, length, rest) = match **script {
            [flags, low, high, ref rest @ ..] => (flags, usize::from(u16::from_le_bytes([low, high])), rest),
            _ => return Err(TransportError::Closed),
        };
        let (bytes, rest) = rest.split_at(length.min(rest.len()));
        *script = rest;
        drop(script);
        let room = exchange.reply.len() + exchange.destination.len();
        let length = bytes.len().min(room);
        let places = exchange.reply.iter_mut().chain(exchange.destination.iter_mut());
        places.zip(bytes).for_each(|(place, byte)| *place = *byte);
        if let Some(header) = exchange.reply.first_chunk_mut::<HEADER_BYTES>() {
            if flags & FIX_SIZE != 0 {
                header[..4].copy_from_slice(&(length as u32).to_le_bytes());
            }
            if flags & FIX_TYPE != 0 {
                header[4] = exchange.request[4] + 1;
            }
            if flags & FIX_TAG != 0 {
                header[5..].copy_from_slice(&tag.to_le_bytes());
            }
        }
        Ok(if flags & OVERSTATE != 0 { room + length } else { length })
    }
}

/// Runs every operation of the file system against replies scripted by `bytes`. It must return,
/// without a panic, whatever they are. Returns how many operations succeeded.
///
/// `R` is any raw mutex.
#[must_use]
pub fn replies<R: RawMutex + Send + Sync>(bytes: &[u8]) -> usize {
    let script = Script::<R> { bytes: Mutex::new(bytes) };
    let Ok(client) = Client::<_, R>::connect(script, &AttachOptions::default()) else {
        return 0;
    };
    let files = NinePFileSystem::new(client);
    let Ok(path) = AbsolutePath::normalise("/a/b") else { return 0 };
    let (path, root) = (path.relative(), RelativePath::ROOT);
    let mut buffer = [0; 3 * MESSAGE_BYTES_MIN as usize];
    let outcomes = [
        files.list(root, 1, LIST_MAX).map(drop),
        files.read_at(path, 0, &mut buffer[..100]).map(drop),
        files.read_at(path, 100, &mut buffer[..100]).map(drop),
        files.read_at(path, 1, &mut buffer).map(drop),
        files.write_at(path, 7, &buffer),
        files.status(path).map(drop),
        files.truncate(path, 3),
        files.create(path),
        files.make_directory(path),
        files.rename(path, root).map(drop),
        files.remove(path),
        files.sync(path),
        files.client().file_system_status().map(drop).map_err(Into::into),
    ];
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn scripted(flags: u8, body: &[u8]) -> Vec<u8> {
        [&[flags], &(body.len() as u16).to_le_bytes()[..], body].concat()
    }

    /// The script reaches every operation: all are refused but the last.
    #[test]
    fn a_script_is_followed() {
        let refused = scripted(FIX_SIZE | FIX_TAG, &[0, 0, 0, 0, kind::RLERROR, 0, 0, 2, 0, 0, 0]);
        let status = scripted(FIX_SIZE | FIX_TYPE | FIX_TAG, &[0; 67]);
        // One walk for each, and one more where a file to write is not found.
        let script = [refused.repeat(13), status].concat();
        assert_eq!(replies::<parking_lot::RawMutex>(&script), 1);
        assert_eq!(replies::<parking_lot::RawMutex>(&script[1..]), 0);
    }
}
