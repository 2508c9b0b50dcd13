//! Reads ahead of small sequential reads, so that not each of them is a message.
//!
//! Data is served once, in order, and never kept for a second reading: a read from the beginning,
//! out of order, or after a write goes to the server.

use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};

use super::error::ClientError;

/// Bytes read ahead at first, once a second read continues the one before.
const FIRST_BYTES: usize = 32 * 1024;

/// Bytes read ahead at most. Doubles from [`FIRST_BYTES`] while reading goes on in order; a reader
/// waits once in 64 reads of 4 KiB then.
const MOST_BYTES: usize = 256 * 1024;

/// Reads longer than this go to the server directly: one message for each is cheap enough, and
/// nothing is copied.
const SMALL_BYTES: usize = 64 * 1024;

/// What was read ahead of one file.
struct State {
    /// Storage; the first `valid` bytes are the file's from `start` on.
    buffer: Vec<u8>,
    start: u64,
    valid: usize,
    /// Where the next read has to start to continue the last.
    expected: Option<u64>,
    /// How much to read ahead next.
    next_bytes: usize,
    /// Counts [`Readahead::forget`]: what was asked for before is not kept after.
    epoch: u64,
}

/// What to do for the next part of a read.
enum Plan {
    /// This many bytes were copied from the buffer.
    Copied(usize),
    /// Read into the caller's buffer.
    Direct,
    /// Read ahead into this buffer.
    Ahead { buffer: Vec<u8>, epoch: u64 },
}

/// Read-ahead state of an open file. The lock is held while bytes are copied out, not while
/// they are fetched.
pub(super) struct Readahead<R: RawMutex> {
    state: Mutex<R, State>,
}

impl<R: RawMutex> Readahead<R> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                buffer: Vec::new(),
                start: 0,
                valid: 0,
                expected: None,
                next_bytes: FIRST_BYTES,
                epoch: 0,
            }),
        }
    }

    /// Forgets what was read ahead, because the file has changed or may have.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.valid = 0;
        state.expected = None;
        state.next_bytes = FIRST_BYTES;
        state.epoch += 1;
    }

    /// Reads from `offset` on until `out` is full or the file ends. `fetch` does the same without
    /// reading ahead; one message brings it `piece_bytes`.
    pub(super) fn read(
        &self,
        piece_bytes: usize,
        offset: u64,
        out: &mut [u8],
        fetch: impl Fn(u64, &mut [u8]) -> Result<usize, ClientError>,
    ) -> Result<usize, ClientError> {
        let mut done = 0;
        while done < out.len() {
            let Some(at) = offset.checked_add(done as u64) else {
                return Err(ClientError::OffsetTooLarge { offset });
            };
            let rest = &mut out[done..];
            match self.plan(piece_bytes, at, rest) {
                Plan::Copied(length) => done += length,
                Plan::Direct => {
                    let length = fetch(at, rest)?;
                    self.state.lock().expected = Some(at.saturating_add(length as u64));
                    return Ok(done + length);
                }
                Plan::Ahead { mut buffer, epoch } => {
                    let valid = fetch(at, &mut buffer)?;
                    let taken = valid.min(rest.len());
                    rest[..taken].copy_from_slice(&buffer[..taken]);
                    let ended = valid < buffer.len();
                    let mut state = self.state.lock();
                    if state.epoch == epoch {
                        state.buffer = buffer;
                        state.start = at;
                        state.valid = valid;
                        state.expected = Some(at.saturating_add(taken as u64));
                    }
                    drop(state);
                    done += taken;
                    if ended {
                        break;
                    }
                }
            }
        }
        Ok(done)
    }

    fn plan(&self, piece_bytes: usize, at: u64, rest: &mut [u8]) -> Plan {
        let mut state = self.state.lock();
        let state = &mut *state;
        let sequential = state.expected == Some(at);
        if !sequential {
            state.valid = 0;
            state.next_bytes = FIRST_BYTES;
            return Plan::Direct;
        }
        let inside = at.checked_sub(state.start).and_then(|inside| usize::try_from(inside).ok());
        if let Some(inside) = inside.filter(|inside| *inside < state.valid) {
            let length = rest.len().min(state.valid - inside);
            rest[..length].copy_from_slice(&state.buffer[inside..inside + length]);
            state.expected = Some(at.saturating_add(length as u64));
            return Plan::Copied(length);
        }
        state.valid = 0;
        if rest.len() > SMALL_BYTES {
            return Plan::Direct;
        }
        let bytes = match state.next_bytes {
            next if next < rest.len() => rest.len(),
            // Whole messages, or the last of them would bring a few bytes.
            next if next > piece_bytes => next - next % piece_bytes,
            next => next,
        };
        let mut buffer = core::mem::take(&mut state.buffer);
        if buffer.try_reserve_exact(bytes.saturating_sub(buffer.len())).is_err() {
            return Plan::Direct;
        }
        buffer.resize(bytes, 0);
        state.next_bytes = (2 * state.next_bytes).min(MOST_BYTES);
        Plan::Ahead { buffer, epoch: state.epoch }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    type Ahead = Readahead<parking_lot::RawMutex>;

    /// Bytes of a message, large enough not to matter here.
    const PIECE: usize = 1 << 20;

    struct File {
        bytes: Vec<u8>,
        fetches: Cell<usize>,
    }

    impl File {
        fn new(length: usize) -> Self {
            Self { bytes: (0..length).map(|index| (index % 251) as u8).collect(), fetches: Cell::new(0) }
        }

        fn fetch(&self, at: u64, out: &mut [u8]) -> Result<usize, ClientError> {
            self.fetches.set(self.fetches.get() + 1);
            let from = self.bytes.get(at as usize..).unwrap_or(&[]);
            let length = from.len().min(out.len());
            out[..length].copy_from_slice(&from[..length]);
            Ok(length)
        }
    }

    #[test]
    fn sequential_reads_are_few_fetches() {
        let file = File::new(4 << 20);
        let ahead = Ahead::new();
        let mut out = [0; 4096];
        for index in 0..1024u64 {
            assert_eq!(ahead.read(PIECE, index * 4096, &mut out, |at, out| file.fetch(at, out)), Ok(4096));
            assert_eq!(out[..], file.bytes[index as usize * 4096..][..4096]);
        }
        // 1 direct, 32 + 64 + 128 KiB, then 256 KiB each.
        assert_eq!(file.fetches.get(), 1 + 3 + ((4 << 20) - 228 * 1024usize).div_ceil(256 * 1024));
    }

    #[test]
    fn scattered_reads_fetch_only_what_they_ask_for() {
        let file = File::new(1 << 20);
        let ahead = Ahead::new();
        let fetched = Cell::new(0);
        for index in [9u64, 3, 7, 100, 50] {
            let fetch = |at, out: &mut [u8]| {
                fetched.set(fetched.get() + out.len());
                file.fetch(at, out)
            };
            assert_eq!(ahead.read(PIECE, index * 4096, &mut [0; 4096], fetch), Ok(4096));
        }
        assert_eq!(fetched.get(), 5 * 4096);
    }

    #[test]
    fn a_change_is_seen_after_forget() {
        let mut file = File::new(200_000);
        let ahead = Ahead::new();
        let mut out = [0; 1000];
        for offset in [0, 1000] {
            ahead.read(PIECE, offset, &mut out, |at, out| file.fetch(at, out)).unwrap();
        }
        file.bytes.fill(0xee);
        ahead.read(PIECE, 2000, &mut out, |at, out| file.fetch(at, out)).unwrap();
        assert_ne!(out, [0xee; 1000], "this test must read ahead to mean anything");
        ahead.forget();
        ahead.read(PIECE, 3000, &mut out, |at, out| file.fetch(at, out)).unwrap();
        assert_eq!(out, [0xee; 1000]);
    }

    #[test]
    fn what_was_asked_for_before_a_change_is_not_kept() {
        let file = File::new(200_000);
        let ahead = Ahead::new();
        let mut out = [0; 1000];
        ahead.read(PIECE, 0, &mut out, |at, out| file.fetch(at, out)).unwrap();
        // The file changes while the read-ahead is under way.
        ahead
            .read(PIECE, 1000, &mut out, |at, out| {
                ahead.forget();
                file.fetch(at, out)
            })
            .unwrap();
        let before = file.fetches.get();
        ahead.read(PIECE, 2000, &mut out, |at, out| file.fetch(at, out)).unwrap();
        assert_eq!(file.fetches.get(), before + 1);
    }

    proptest! {
        #[test]
        fn reads_what_is_there(
            length in 0usize..150_000,
            reads in proptest::collection::vec((0u64..160_000, 1usize..80_000, any::<bool>()), 1..20),
        ) {
            let file = File::new(length);
            let ahead = Ahead::new();
            let mut position = 0;
            for (offset, size, sequential) in reads {
                let offset = if sequential { position } else { offset };
                let mut out = vec![0; size];
                let count = ahead.read(PIECE, offset, &mut out, |at, out| file.fetch(at, out)).unwrap();
                let expected = file.bytes.get(offset as usize..).unwrap_or(&[]);
                prop_assert_eq!(&out[..count], &expected[..expected.len().min(size)]);
                position = offset + count as u64;
            }
        }
    }
}
