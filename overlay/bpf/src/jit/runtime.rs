//! Functions of ours that compiled code calls.

use core::ptr::with_exposed_provenance;

use crate::invocation::Invocation;
use crate::program::{HelperFunction, Program};

/// A function's address as a number.
pub(super) fn address(function: *const ()) -> u64 {
    function.expose_provenance() as u64
}

/// Asks `find`, the function of the helper `tail_call`, for the program at `index` of `map`; returns the address of its
/// machine code, or 0 if there is none or too many tail calls were made.
///
/// # Safety
///
/// `find` is the address of a [`HelperFunction`] that may be called with these arguments and returns the address of a
/// live [`Program`] or 0; `invocation` is live.
pub(super) unsafe extern "sysv64" fn tail_entry(
    context: u64,
    map: u64,
    index: u64,
    _: u64,
    find: u64,
    invocation: *const Invocation<'_>,
) -> u64 {
    let find = with_exposed_provenance::<()>(find as usize);
    // SAFETY: the caller's promise; all function pointers have one size.
    let find = unsafe { core::mem::transmute::<*const (), HelperFunction>(find) };
    // SAFETY: the caller's promise.
    let program = unsafe { find(context, map, index, 0, 0, invocation) };
    if program == 0 {
        return 0;
    }
    // SAFETY: the caller's promise about what it returns.
    let entry = unsafe { (*with_exposed_provenance::<Program>(program as usize)).entry() };
    // SAFETY: the caller's promise.
    let counted = entry.is_some() && unsafe { (*invocation).count_tail_call() };
    if counted { entry.unwrap_or(0) } else { 0 }
}

/// The address of helper `number`, or 0.
///
/// # Safety
///
/// `table` points to `length` entries, ascending by number.
pub(super) unsafe extern "sysv64" fn helper_by_number(
    number: u64,
    table: *const (u32, HelperFunction),
    length: u64,
) -> u64 {
    // SAFETY: the caller's promise.
    let table = unsafe { core::slice::from_raw_parts(table, length as usize) };
    u32::try_from(number)
        .ok()
        .and_then(|number| table.binary_search_by_key(&number, |entry| entry.0).ok())
        .map_or(0, |index| address(table[index].1 as *const ()))
}
