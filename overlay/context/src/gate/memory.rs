//! Gates about memory: the extension's heap, and stores and loads that are checked instead of faulting.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;

use uio_protocol::GuestAddress;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::{Access, ExtensionId, Isolation};

use super::files::{EFAULT, EPERM, errno};
use super::{GateCall, GateError, violation};
use crate::heap::Allocation;
use crate::platform::{KEY_APPLICATION, PAGE_BYTES};

/// Copies go through a buffer of this size in the kernel's heap.
const PIECE_BYTES: u64 = 16 * 1024;

/// `uio_alloc`: a block of the caller's heap, or null. Fresh pages are zero, reused blocks are not.
pub(super) fn alloc(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [size, alignment, ..] = call.arguments();
    if !alignment.is_power_of_two() {
        return Err(violation(1, "the alignment is not a power of two"));
    }
    let Some(caller) = call.caller else { return Ok(0) };
    loop {
        let allocation = call.shared.with(|state| {
            state
                .domains
                .get_mut(&caller)
                .map_or(Allocation::Exhausted, |domain| domain.heap.allocate(size, alignment))
        });
        match allocation {
            Allocation::Block(address) => return Ok(address.0),
            Allocation::Exhausted => return Ok(0),
            Allocation::Grow(pages) => {
                if !grow(call, caller, pages) {
                    return Ok(0);
                }
            }
        }
    }
}

/// Maps pages for a heap that asked for them; whether they came.
fn grow(call: &GateCall<'_>, caller: ExtensionId, pages: u32) -> bool {
    let platform = call.platform();
    let domain = call.shared.with(|state| {
        state.domains.get(&caller).map(|domain| (domain.name.clone(), domain.key, domain.isolation))
    });
    let Some((name, key, isolation)) = domain else { return false };
    let mapped = platform.map(pages, &format!("extension {name} heap"), false).ok().and_then(|base| {
        let access = Access { write: true, execute: false };
        match platform.protect(base, pages, access, key, isolation == Isolation::Ring3) {
            Ok(()) => Some(base),
            Err(_) => {
                platform.unmap(base, pages);
                None
            }
        }
    });
    call.shared.with(|state| {
        let Some(domain) = state.domains.get_mut(&caller) else { return false };
        match mapped {
            Some(base) => domain.heap.add_region(base, pages),
            None => domain.heap.cancel_growth(pages),
        }
        mapped.is_some()
    })
}

/// `uio_free`: gives a block back; null is nothing. Anything that is not an allocated block of the caller
/// ends the run.
pub(super) fn free(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [address, ..] = call.arguments();
    if address == 0 {
        return Ok(0);
    }
    let address = GuestAddress(address);
    let freed = call.shared.with(|state| {
        let domain = call.caller.and_then(|caller| state.domains.get_mut(&caller));
        domain.is_some_and(|domain| domain.heap.free(address).is_ok())
    });
    if freed { Ok(0) } else { Err(GateError::End(Box::new(Cause::BadFree { address }))) }
}

/// `uio_write`: stores into the application's memory or the caller's own. 0, or a negative errno with
/// nothing written: `EPERM` for memory of anybody else, `EFAULT` for what is not mapped or read-only.
pub(super) fn write(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [to, from, length, ..] = call.arguments();
    if length == 0 {
        return Ok(0);
    }
    if call.platform().check(GuestAddress(to), length, true).is_err() {
        return Ok(errno(EFAULT));
    }
    if !call.may_write(GuestAddress(to), length) && !is_application(call, to, length) {
        return Ok(errno(EPERM));
    }
    let mut buffer = vec![0; length.min(PIECE_BYTES) as usize];
    let mut done = 0;
    while done < length {
        let piece = &mut buffer[..(length - done).min(PIECE_BYTES) as usize];
        call.read(1, GuestAddress(from + done), piece)?;
        if call.platform().write_memory(GuestAddress(to + done), piece).is_err() {
            return Ok(errno(EFAULT));
        }
        done += piece.len() as u64;
    }
    Ok(0)
}

/// Whether every page of a mapped range is the application's.
fn is_application(call: &GateCall<'_>, start: u64, length: u64) -> bool {
    let last = start + (length - 1);
    let mut page = start - start % PAGE_BYTES;
    loop {
        if call.platform().page_key(GuestAddress(page)) != Some(KEY_APPLICATION) {
            return false;
        }
        match page.checked_add(PAGE_BYTES) {
            Some(next) if next <= last => page = next,
            _ => return true,
        }
    }
}

/// `uio_read`: loads from any address into the caller's memory. 0, or `-EFAULT` if some of it is not mapped.
pub(super) fn read(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [to, from, length, ..] = call.arguments();
    if length == 0 {
        return Ok(0);
    }
    if call.platform().check(GuestAddress(from), length, false).is_err() {
        return Ok(errno(EFAULT));
    }
    let mut buffer = vec![0; length.min(PIECE_BYTES) as usize];
    let mut done = 0;
    while done < length {
        let piece = &mut buffer[..(length - done).min(PIECE_BYTES) as usize];
        if call.platform().read_memory(GuestAddress(from + done), piece).is_err() {
            return Ok(errno(EFAULT));
        }
        call.write(0, GuestAddress(to + done), piece)?;
        done += piece.len() as u64;
    }
    Ok(0)
}
