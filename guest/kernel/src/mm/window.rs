//! The window for loaded code: address ranges near the image, each with its own pages.

use alloc::collections::BTreeMap;

use uio_protocol::inspect::Access;

use super::layout::{WINDOW_END, WINDOW_START};
use super::paging::{self, Permissions};
use super::{OutOfMemory, PAGE_BYTES, PhysicalAddress, frames, regions};
use crate::sync::InterruptLock;

/// Mapped ranges: start → pages, and whether the page below is a stack's guard.
static RANGES: InterruptLock<BTreeMap<u64, Range>> = InterruptLock::new(BTreeMap::new());

#[derive(Clone, Copy)]
struct Range {
    pages: u64,
    stack: bool,
}

/// Maps `pages` zeroed pages, readable and writable, key 0, with an unmapped page on either side.
///
/// # Errors
///
/// [`OutOfMemory`] if the window or the machine's memory has no room.
pub fn map(pages: u32, owner: &str, stack: bool) -> Result<u64, OutOfMemory> {
    let pages = u64::from(pages);
    let failed = OutOfMemory { bytes: pages * PAGE_BYTES };
    if pages == 0 || pages > (WINDOW_END - WINDOW_START) / PAGE_BYTES {
        return Err(failed);
    }
    let start = RANGES.with(|ranges| {
        let start = gap(ranges, pages).ok_or(failed)?;
        ranges.insert(start, Range { pages, stack });
        Ok(start)
    })?;
    let permissions = Permissions::KERNEL_DATA;
    regions::add(start, pages * PAGE_BYTES, permissions, owner);
    for page in 0..pages {
        let address = start + page * PAGE_BYTES;
        let mapped = frames::allocate_zeroed(1).and_then(|frame| {
            paging::map(address, frame, permissions).inspect_err(|_| frames::free(frame, 1))
        });
        if let Err(error) = mapped {
            unmap(start);
            return Err(error);
        }
    }
    Ok(start)
}

/// First gap of `pages` and a guard page on either side.
fn gap(ranges: &BTreeMap<u64, Range>, pages: u64) -> Option<u64> {
    let bytes = pages * PAGE_BYTES;
    let mut start = WINDOW_START + PAGE_BYTES;
    for (&other, range) in ranges {
        if start + bytes + PAGE_BYTES <= other {
            return Some(start);
        }
        start = other + (range.pages + 1) * PAGE_BYTES;
    }
    (start + bytes + PAGE_BYTES <= WINDOW_END).then_some(start)
}

/// Changes what mapped pages of the window allow. Frames of executable pages lose their place in the direct map.
///
/// # Errors
///
/// [`OutOfMemory`] if the direct map has to be split and there is no frame for a table; nothing is changed
/// from the page on at which it happened.
pub fn protect(address: u64, pages: u32, access: Access, key: u8, ring3: bool) -> Result<(), OutOfMemory> {
    // Writable code is never asked for by the kernel; if it were, writing would be what is dropped.
    let access = Access { write: access.write && !access.execute, execute: access.execute };
    let permissions = Permissions { access, key, ring3, uncached: false };
    for page in 0..u64::from(pages) {
        let address = address + page * PAGE_BYTES;
        if let Some(frame) = paging::translate(address) {
            let was = paging::access(address).is_some_and(|(access, _)| access.execute);
            if access.execute != was {
                paging::show_in_direct_map(frame, !access.execute)?;
            }
        }
        paging::protect(address, 1, permissions);
    }
    regions::set_permissions(address, u64::from(pages) * PAGE_BYTES, permissions);
    Ok(())
}

/// First page of `pages` from `address` that is not mapped by [`map`].
///
/// # Errors
///
/// Its address.
pub fn check(address: u64, pages: u64) -> Result<(), u64> {
    for page in 0..pages {
        let at = address.wrapping_add(page * PAGE_BYTES);
        let known = RANGES.with(|ranges| {
            let before = ranges.range(..=at).next_back();
            before.is_some_and(|(&start, range)| at - start < range.pages * PAGE_BYTES)
        });
        if !known {
            return Err(at);
        }
    }
    Ok(())
}

/// Writes into pages of the window whatever they allow. A page that is not writable is so for the moment of the copy,
/// with interrupts off, and not executable meanwhile.
///
/// # Errors
///
/// The first address that is not of such a page.
pub fn fill(address: u64, bytes: &[u8]) -> Result<(), u64> {
    let pages = (address % PAGE_BYTES + bytes.len() as u64).div_ceil(PAGE_BYTES);
    check(address / PAGE_BYTES * PAGE_BYTES, pages)?;
    let mut at = address;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min((PAGE_BYTES - at % PAGE_BYTES) as usize));
        let _off = crate::sync::InterruptsOff::new();
        let page = at / PAGE_BYTES * PAGE_BYTES;
        paging::with_writable(page, || paging::write(at, piece))?;
        at += piece.len() as u64;
        rest = tail;
    }
    Ok(())
}

/// Removes a range that [`map`] returned and frees its pages.
pub fn unmap(start: u64) {
    let Some(range) = RANGES.with(|ranges| ranges.get(&start).copied()) else {
        return;
    };
    for page in 0..range.pages {
        let address = start + page * PAGE_BYTES;
        let executable = paging::access(address).is_some_and(|(access, _)| access.execute);
        if let Some(frame) = paging::unmap(address) {
            if executable {
                // The large page was split when the frame was hidden, so no table is needed now.
                let shown = paging::show_in_direct_map(frame, true);
                debug_assert!(shown.is_ok());
            }
            frames::free(PhysicalAddress(frame.0), 1);
        }
    }
    regions::remove(start, range.pages * PAGE_BYTES);
    RANGES.with(|ranges| ranges.remove(&start));
}

/// Whether an address lies in the guard page below a stack of the window.
#[must_use]
pub fn is_guard(address: u64) -> bool {
    RANGES.with(|ranges| {
        ranges
            .range(address..)
            .next()
            .is_some_and(|(&start, range)| range.stack && start - address <= PAGE_BYTES)
    })
}
