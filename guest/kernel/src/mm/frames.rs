//! Physical frames: one bit each, first fit from where the last search ended.

use super::{OutOfMemory, PAGE_BYTES, PhysicalAddress};
use crate::boot_info::PhysicalRange;
use crate::sync::InterruptLock;

/// Most memory that is managed: 64 GiB, a 2 MiB bitmap.
const FRAMES_MAX: u64 = 64 << (30 - 12);
const BITS: usize = 64;

/// Bitmap of frames; a set bit is a frame in use or not there.
struct Frames {
    bitmap: &'static mut [u64],
    hint: usize,
    total: u64,
    free: u64,
}

static FRAMES: InterruptLock<Frames> =
    InterruptLock::new(Frames { bitmap: &mut [], hint: 0, total: 0, free: 0 });

/// Takes over the memory in `ram`, except the `taken` ranges. Called once, while low memory is still mapped
/// at its own address.
///
/// # Safety
///
/// The ranges are usable memory, nothing but `taken` is in use there, and the first 4 GiB are mapped at their
/// own addresses.
///
/// # Panics
///
/// If no range has room for the bitmap.
pub unsafe fn init(ram: &[PhysicalRange], taken: &[PhysicalRange]) {
    let end = ram.iter().map(|range| range.end().0).max().unwrap_or(0);
    let frames = (end / PAGE_BYTES).min(FRAMES_MAX);
    let words = (frames as usize).div_ceil(BITS);
    let bytes = (words as u64 * 8).next_multiple_of(PAGE_BYTES);
    let place = ram
        .iter()
        .filter(|range| range.start.0 < 1 << 32)
        .find_map(|range| room(range, bytes, taken))
        .expect("no room for the frame bitmap");
    // SAFETY: `room` found the range in usable memory below 4 GiB outside everything taken; seen from now on
    // through the direct map, which shows the same frames.
    let bitmap = unsafe {
        let identity = core::slice::from_raw_parts_mut(place.0 as *mut u64, words);
        identity.fill(u64::MAX);
        identity
    };
    let mut free = 0;
    for range in ram {
        let first = range.start.0.div_ceil(PAGE_BYTES);
        let last = (range.end().0 / PAGE_BYTES).min(frames);
        for frame in first..last {
            bitmap[frame as usize / BITS] &= !(1 << (frame as usize % BITS));
            free += 1;
        }
    }
    let total = free;
    let own = PhysicalRange { start: place, size: bytes };
    for range in taken.iter().chain([&own]) {
        let first = range.start.0 / PAGE_BYTES;
        let last = range.end().0.div_ceil(PAGE_BYTES).min(frames);
        for frame in first..last {
            let bit = 1 << (frame as usize % BITS);
            let word = &mut bitmap[frame as usize / BITS];
            if *word & bit == 0 {
                *word |= bit;
                free -= 1;
            }
        }
    }
    FRAMES.with(|state| *state = Frames { bitmap, hint: 0, total, free });
}

/// Moves the bitmap's address into the direct map, which has just been set up.
pub(super) fn use_direct_map() {
    FRAMES.with(|state| {
        let (start, words) = (state.bitmap.as_ptr() as u64, state.bitmap.len());
        // SAFETY: the same frames at their address in the direct map; the old reference is replaced, not kept.
        state.bitmap =
            unsafe { core::slice::from_raw_parts_mut(PhysicalAddress(start).direct() as *mut u64, words) };
    });
}

/// First place for `bytes` in `range` above 1 MiB and outside `taken`.
fn room(range: &PhysicalRange, bytes: u64, taken: &[PhysicalRange]) -> Option<PhysicalAddress> {
    let mut start = range.start.0.max(1 << 20).next_multiple_of(PAGE_BYTES);
    // Each round steps over one taken range, so there are at most as many rounds as ranges.
    for _ in 0..=taken.len() {
        if start + bytes > range.end().0 {
            return None;
        }
        match taken.iter().find(|other| other.start.0 < start + bytes && start < other.end().0) {
            Some(other) => start = other.end().0.next_multiple_of(PAGE_BYTES),
            None => return Some(PhysicalAddress(start)),
        }
    }
    None
}

/// Allocates `count` contiguous frames. Their contents are whatever was there.
///
/// # Errors
///
/// [`OutOfMemory`] if no run of that length is free.
pub fn allocate(count: usize) -> Result<PhysicalAddress, OutOfMemory> {
    FRAMES.with(|state| {
        let frames = state.bitmap.len() * BITS;
        let from_hint = find(state.bitmap, state.hint, frames, count);
        let first = from_hint
            .or_else(|| find(state.bitmap, 0, frames.min(state.hint + count), count))
            .ok_or(OutOfMemory { bytes: count as u64 * PAGE_BYTES })?;
        for frame in first..first + count {
            state.bitmap[frame / BITS] |= 1 << (frame % BITS);
        }
        state.hint = first + count;
        state.free -= count as u64;
        Ok(PhysicalAddress(first as u64 * PAGE_BYTES))
    })
}

/// First run of `count` clear bits in `start..end`.
fn find(bitmap: &[u64], start: usize, end: usize, count: usize) -> Option<usize> {
    let mut frame = start;
    let mut run = 0;
    while frame < end {
        if run == 0 && frame.is_multiple_of(BITS) && bitmap[frame / BITS] == u64::MAX {
            frame += BITS;
            continue;
        }
        if bitmap[frame / BITS] & (1 << (frame % BITS)) == 0 {
            run += 1;
            if run == count {
                return Some(frame + 1 - count);
            }
        } else {
            run = 0;
        }
        frame += 1;
    }
    None
}

/// Allocates `count` contiguous frames and clears them through the direct map.
///
/// # Errors
///
/// As [`allocate`].
pub fn allocate_zeroed(count: usize) -> Result<PhysicalAddress, OutOfMemory> {
    let frames = allocate(count)?;
    // SAFETY: the frames were just allocated, so nobody else uses them, and the direct map shows them writable.
    unsafe { core::ptr::write_bytes(frames.direct() as *mut u8, 0, count * PAGE_BYTES as usize) };
    Ok(frames)
}

/// Gives back `count` frames from `start`.
///
/// # Panics
///
/// If one of them is free already: that is a bug in the kernel.
pub fn free(start: PhysicalAddress, count: usize) {
    FRAMES.with(|state| {
        let first = (start.0 / PAGE_BYTES) as usize;
        for frame in first..first + count {
            let bit = 1 << (frame % BITS);
            assert!(state.bitmap[frame / BITS] & bit != 0, "frame {frame:#x} freed twice");
            state.bitmap[frame / BITS] &= !bit;
        }
        state.hint = state.hint.min(first);
        state.free += count as u64;
    });
}

/// Memory of the machine and memory in no use, in bytes.
#[must_use]
pub fn totals() -> (u64, u64) {
    FRAMES.with(|state| (state.total * PAGE_BYTES, state.free * PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_run_that_is_long_enough() {
        let bitmap = [u64::MAX, 0b1011, u64::MAX];
        assert_eq!(find(&bitmap, 0, 192, 1), Some(66));
        assert_eq!(find(&bitmap, 0, 192, 2), Some(68));
        assert_eq!(find(&bitmap, 0, 192, 60), Some(68));
        assert_eq!(find(&bitmap, 0, 192, 61), None);
    }

    #[test]
    fn places_the_bitmap_beside_what_is_taken() {
        let range = |start, size| PhysicalRange { start: PhysicalAddress(start), size };
        let ram = range(0, 64 << 20);
        let taken = [range(1 << 20, 3 << 20), range(5 << 20, 1 << 20)];
        assert_eq!(room(&ram, 1 << 20, &taken), Some(PhysicalAddress(4 << 20)));
        assert_eq!(room(&ram, 2 << 20, &taken), Some(PhysicalAddress(6 << 20)));
        assert_eq!(room(&ram, 64 << 20, &taken), None);
    }
}
