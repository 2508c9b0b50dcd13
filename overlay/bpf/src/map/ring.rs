//! Ring buffers: records of any size from programs to one consumer.
//!
//! A record is a header of one word and its bytes, rounded up to words, never split: if it does not fit before the
//! end, a discarded record fills the rest. Positions count bytes since creation. A reserved record stops the consumer
//! until it is committed or discarded.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::lock::TryLock;
use super::storage::{Storage, WORD, copy_in};
use super::{AccessError, MapError};

/// Bytes of the smallest ring buffer, as on Linux: a page.
pub(super) const BYTES_MIN: u32 = 4096;

/// In a header's length: reserved, and neither committed nor discarded yet.
const BUSY: u32 = 1 << 31;
/// In a header's length: nothing for the consumer.
const DISCARDED: u32 = 1 << 30;
const LENGTH_MASK: u32 = DISCARDED - 1;

#[repr(C)]
struct Header {
    /// Bytes of the record, with [`BUSY`] and [`DISCARDED`].
    length: AtomicU32,
    /// Who reserved it.
    owner: AtomicU32,
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == WORD);

pub(super) struct Ring {
    storage: Storage,
    capacity: u32,
    producers: TryLock,
    consumers: TryLock,
    /// Where the next record starts.
    produced: AtomicU64,
    /// Where the consumer reads on.
    consumed: AtomicU64,
    lost: AtomicU64,
}

/// What a ring buffer is asked with helper 134.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingState {
    /// Bytes between the positions, headers and what is reserved included.
    pub available_bytes: u64,
    /// Size.
    pub capacity_bytes: u64,
    /// Where the consumer is, in bytes since creation.
    pub consumed_bytes: u64,
    /// Where the producers are, in bytes since creation.
    pub produced_bytes: u64,
    /// Records that found no room since creation.
    pub lost: u64,
}

impl Ring {
    pub(super) fn new(capacity: u32) -> Result<Self, MapError> {
        Ok(Self {
            storage: Storage::zeroed(u64::from(capacity))?,
            capacity,
            producers: TryLock::new(),
            consumers: TryLock::new(),
            produced: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.storage.bytes()
    }

    pub(super) fn state(&self) -> RingState {
        let consumed_bytes = self.consumed.load(Ordering::Acquire);
        let produced_bytes = self.produced.load(Ordering::Acquire);
        RingState {
            available_bytes: produced_bytes.saturating_sub(consumed_bytes),
            capacity_bytes: u64::from(self.capacity),
            consumed_bytes,
            produced_bytes,
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    fn offset(&self, position: u64) -> usize {
        // A power of two, below 2^32.
        (position & u64::from(self.capacity - 1)) as usize
    }

    fn header(&self, position: u64) -> &Header {
        // SAFETY: positions are multiples of a word, and offsets lie in storage; atomics only.
        unsafe { &*self.storage.at(self.offset(position)).cast::<Header>() }
    }

    /// Bytes that a record of `length` takes.
    const fn record_bytes(length: u32) -> u64 {
        (length as u64 + HEADER_BYTES as u64).next_multiple_of(WORD as u64)
    }

    /// Where a record of `bytes` for `owner` may be written, or null without room.
    pub(super) fn reserve(&self, bytes: u64, owner: u32) -> *mut u8 {
        let reserved = self.try_reserve(bytes, owner);
        if reserved.is_null() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        reserved
    }

    fn try_reserve(&self, bytes: u64, owner: u32) -> *mut u8 {
        let null = core::ptr::null_mut();
        let capacity = u64::from(self.capacity);
        if bytes > capacity - HEADER_BYTES as u64 {
            return null;
        }
        let length = bytes as u32;
        let needed = Self::record_bytes(length);
        let Ok(_held) = self.producers.try_lock() else { return null };
        let mut position = self.produced.load(Ordering::Relaxed);
        let free = capacity - (position - self.consumed.load(Ordering::Acquire));
        let to_end = capacity - self.offset(position) as u64;
        let filler = if needed > to_end { to_end } else { 0 };
        if needed + filler > free {
            return null;
        }
        if filler > 0 {
            let header = self.header(position);
            header.owner.store(0, Ordering::Relaxed);
            header.length.store((filler as u32 - HEADER_BYTES as u32) | DISCARDED, Ordering::Relaxed);
            position += filler;
        }
        let header = self.header(position);
        header.owner.store(owner, Ordering::Relaxed);
        header.length.store(length | BUSY, Ordering::Relaxed);
        self.produced.store(position + needed, Ordering::Release);
        self.storage.at(self.offset(position)).wrapping_add(HEADER_BYTES)
    }

    /// Copies a record in.
    ///
    /// # Safety
    ///
    /// `data` may be read for `bytes`.
    pub(super) unsafe fn output(&self, data: *const u8, bytes: u64) -> Result<(), AccessError> {
        let record = self.reserve(bytes, 0);
        if record.is_null() {
            return Err(AccessError::Full);
        }
        // SAFETY: the record has its bytes in whole words of storage; the caller vouches for the data.
        unsafe {
            copy_in(record, data, bytes as usize);
            finish(record, false);
        }
        Ok(())
    }

    /// Discards what `owner` has reserved and not given back.
    pub(super) fn abandon(&self, owner: u32) {
        let mut position = self.consumed.load(Ordering::Acquire);
        let end = self.produced.load(Ordering::Acquire);
        while position < end {
            let header = self.header(position);
            let length = header.length.load(Ordering::Acquire);
            if length & BUSY != 0 && header.owner.load(Ordering::Relaxed) == owner {
                header.length.store(length & LENGTH_MASK | DISCARDED, Ordering::Release);
            }
            position += Self::record_bytes(length & LENGTH_MASK);
        }
    }

    /// Shows committed records to `visit`, oldest first, until it breaks, a record is still reserved, or `bytes_max`
    /// bytes of the ring were read. A record at which it breaks stays. How many were consumed.
    pub(super) fn drain(
        &self,
        bytes_max: usize,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<u64, AccessError> {
        let _held = self.consumers.try_lock()?;
        let mut position = self.consumed.load(Ordering::Relaxed);
        let start = position;
        let mut records = 0;
        while position < self.produced.load(Ordering::Acquire) && position - start < bytes_max as u64 {
            let length = self.header(position).length.load(Ordering::Acquire);
            if length & BUSY != 0 {
                break;
            }
            let bytes = length & LENGTH_MASK;
            if length & DISCARDED == 0 {
                let data = self.storage.at(self.offset(position)).wrapping_add(HEADER_BYTES);
                // SAFETY: a committed record lies in one piece in storage. Its program has given it up, and
                // producers get the space only when `consumed` has passed it, below.
                let record = unsafe { core::slice::from_raw_parts(data, bytes as usize) };
                if visit(record).is_break() {
                    break;
                }
                records += 1;
            }
            position += Self::record_bytes(bytes);
            self.consumed.store(position, Ordering::Release);
        }
        Ok(records)
    }
}

/// Commits or discards a reserved record.
///
/// # Safety
///
/// `record` came from [`Ring::reserve`] of a live ring and was not given back since.
pub(super) unsafe fn finish(record: *mut u8, discard: bool) {
    // SAFETY: the header stands in front of the record.
    let header = unsafe { &*record.sub(HEADER_BYTES).cast::<Header>() };
    let length = header.length.load(Ordering::Relaxed) & LENGTH_MASK;
    header.length.store(if discard { length | DISCARDED } else { length }, Ordering::Release);
}
