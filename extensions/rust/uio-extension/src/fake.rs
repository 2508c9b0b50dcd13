//! A stand-in for the guest, for the tests of this crate: the gates that they reach, on thread-local state.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each gate is called by this crate as raw.rs declares it"
)]

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};

thread_local! {
    static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static MEMORY: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// What `action` printed, by call.
pub(crate) fn printed(action: impl FnOnce()) -> Vec<String> {
    PRINTED.take();
    action();
    PRINTED.take()
}

/// Runs `action` in a guest that has these bytes at an address, and nothing else.
pub(crate) fn with_memory(start: u64, bytes: &[u8], action: impl FnOnce()) {
    MEMORY.replace((start, bytes.to_vec()));
    action();
}

fn memory_at(address: u64, bytes: usize, action: impl FnOnce(&mut [u8])) -> c_int {
    MEMORY.with_borrow_mut(|(start, memory)| {
        let Some(offset) = address.checked_sub(*start) else { return -14 };
        match memory.get_mut(offset as usize..offset as usize + bytes) {
            Some(part) => {
                action(part);
                0
            }
            None => -14,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn uio_print(text: *const c_char, bytes: usize) {
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
    PRINTED.with_borrow_mut(|printed| printed.push(String::from_utf8(text.to_vec()).unwrap()));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn uio_read(to: *mut c_void, from: *const c_void, bytes: usize) -> c_int {
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    memory_at(from as u64, bytes, |part| to.copy_from_slice(part))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn uio_write(to: *mut c_void, from: *const c_void, bytes: usize) -> c_int {
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
    memory_at(to as u64, bytes, |part| part.copy_from_slice(from))
}
