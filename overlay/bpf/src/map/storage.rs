//! Memory that programs and the guest share.
//!
//! Programs reach map values by plain machine accesses at any time, also in the middle of what is done here when a
//! timer or another thread interrupts it. So no reference to this memory is ever made: it is read and written by
//! relaxed atomic words, which on this machine are plain moves.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};

use uio_protocol::limits::BPF_MAP_BYTES_MAX;

use super::MapError;

/// Alignment of all storage: a cache line.
const ALIGNMENT: usize = 64;

/// Bytes of a word: all keys and values start on one and fill whole ones.
pub(super) const WORD: usize = 8;

/// `bytes` rounded up to whole words.
pub(super) const fn words(bytes: u32) -> usize {
    (bytes as usize).next_multiple_of(WORD)
}

/// Zeroed memory of a fixed size, freed with its owner.
pub(super) struct Storage {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory that only its owner frees; every access goes through raw pointers whose users argue for it.
unsafe impl Send for Storage {}
// SAFETY: as above; a shared `Storage` gives out nothing but its address.
unsafe impl Sync for Storage {}

impl Storage {
    /// Reserves `bytes`.
    pub(super) fn zeroed(bytes: u64) -> Result<Self, MapError> {
        if bytes > BPF_MAP_BYTES_MAX {
            return Err(MapError::TooLarge { bytes });
        }
        // Never empty, which the allocator would not take.
        let layout = Layout::from_size_align((bytes as usize).max(WORD), ALIGNMENT)
            .map_err(|_| MapError::TooLarge { bytes })?;
        // SAFETY: the layout has a size above zero.
        let base = unsafe { alloc_zeroed(layout) };
        Ok(Self { base: NonNull::new(base).ok_or(MapError::Memory { bytes })?, layout })
    }

    /// Address of the first byte.
    pub(super) const fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes reserved.
    pub(super) const fn bytes(&self) -> u64 {
        self.layout.size() as u64
    }

    /// Address of the byte at `offset`, which has to lie inside.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.layout.size());
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout; the owner ends, and with it every user.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// The word at `address`.
///
/// # Safety
///
/// `address` lies in live storage, aligned to a word.
pub(super) unsafe fn load(address: *const u8) -> u64 {
    // SAFETY: aligned and live by the caller's promise; all accesses to storage here are atomic.
    unsafe { AtomicU64::from_ptr(address.cast_mut().cast()) }.load(Ordering::Relaxed)
}

/// Writes the word at `address`.
///
/// # Safety
///
/// As [`load`].
pub(super) unsafe fn store(address: *mut u8, word: u64) {
    // SAFETY: as in `load`.
    unsafe { AtomicU64::from_ptr(address.cast()) }.store(word, Ordering::Relaxed);
}

/// The `bytes` (1 to 8) at `address` as the low bytes of a word, in at most two reads.
///
/// # Safety
///
/// They may be read.
#[inline(always)]
pub(super) unsafe fn load_short(address: *const u8, bytes: usize) -> u64 {
    // SAFETY: every read lies inside the bytes; where two overlap they agree, or the key is one of two that were
    // there.
    unsafe {
        match bytes {
            8 => address.cast::<u64>().read_unaligned(),
            4..8 => {
                let low = address.cast::<u32>().read_unaligned();
                let high = address.add(bytes - 4).cast::<u32>().read_unaligned();
                u64::from(low) | u64::from(high) << ((bytes - 4) * 8)
            }
            2..4 => {
                let low = address.cast::<u16>().read_unaligned();
                let high = address.add(bytes - 1).read();
                u64::from(low) | u64::from(high) << ((bytes - 1) * 8)
            }
            _ => u64::from(address.read()),
        }
    }
}

/// Copies `bytes` into storage, and zeros up to the end of the last word.
///
/// # Safety
///
/// `destination` is storage of so many whole words; `source` may be read, at any alignment, and may be storage.
pub(super) unsafe fn copy_in(destination: *mut u8, source: *const u8, bytes: usize) {
    let whole = bytes / WORD * WORD;
    let mut at = 0;
    while at < whole {
        // SAFETY: inside both by the caller's promise.
        unsafe { store(destination.add(at), source.add(at).cast::<u64>().read_unaligned()) };
        at += WORD;
    }
    if at < bytes {
        // SAFETY: as above; storage goes on to the end of the word.
        unsafe { store(destination.add(at), load_short(source.add(at), bytes - at)) };
    }
}

/// Copies `bytes` out of storage.
///
/// # Safety
///
/// `source` is storage of so many whole words; `destination` may be written, at any alignment.
pub(super) unsafe fn copy_out(destination: *mut u8, source: *const u8, bytes: usize) {
    let whole = bytes / WORD * WORD;
    let mut at = 0;
    while at < whole {
        // SAFETY: inside both by the caller's promise.
        unsafe { destination.add(at).cast::<u64>().write_unaligned(load(source.add(at))) };
        at += WORD;
    }
    if at < bytes {
        // SAFETY: as above; storage goes on to the end of the word.
        let word = unsafe { load(source.add(at)) }.to_le_bytes();
        // SAFETY: fewer bytes than a word, inside the destination.
        unsafe { ptr::copy_nonoverlapping(word.as_ptr(), destination.add(at), bytes - at) };
    }
}
