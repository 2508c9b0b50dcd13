//! The gates as they are: C functions and records of fixed layout. `extensions/include/uio.h` says what each
//! does and what its arguments must be.
#![expect(missing_docs, reason = "documented in uio.h, whose declarations these are")]

use core::ffi::{c_char, c_int, c_void};

unsafe extern "C" {
    pub fn uio_print(text: *const c_char, bytes: usize);
    pub fn uio_log(text: *const c_char, bytes: usize);
    pub fn uio_abort(message: *const c_char, bytes: usize) -> !;
    pub fn uio_time_ns() -> u64;
    pub fn uio_sleep_ns(nanoseconds: u64);
    pub fn uio_yield();
    pub fn uio_thread_id() -> u32;
    pub fn uio_alloc(bytes: usize, alignment: usize) -> *mut c_void;
    pub fn uio_free(block: *mut c_void);
    pub fn uio_write(to: *mut c_void, from: *const c_void, bytes: usize) -> c_int;
    pub fn uio_read(to: *mut c_void, from: *const c_void, bytes: usize) -> c_int;
    pub fn uio_threads(out: *mut uio_thread, max: usize) -> usize;
    pub fn uio_regions(out: *mut uio_region, max: usize) -> usize;
    pub fn uio_heap_blocks(cursor: *mut u64, out: *mut uio_block, max: usize) -> usize;
    pub fn uio_file_size(path: *const c_char) -> i64;
    pub fn uio_file_read(path: *const c_char, offset: u64, to: *mut c_void, bytes: usize) -> i64;
    pub fn uio_file_write(path: *const c_char, offset: u64, from: *const c_void, bytes: usize) -> i64;
}

/// `struct uio_thread`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uio_thread {
    pub cpu_time_ns: u64,
    pub stack_pointer: u64,
    pub id: u32,
    pub extension: u32,
    pub stack_bytes: u32,
    pub stack_margin_bytes: u32,
    pub state: u32,
    pub priority: u32,
    pub name: [u8; 32],
}

/// `struct uio_region`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uio_region {
    pub start: u64,
    pub bytes: u64,
    pub access: u32,
    pub key: u32,
    pub owner: [u8; 32],
}

/// `struct uio_block`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct uio_block {
    pub address: u64,
    pub bytes: u64,
}

const _: () = assert!(size_of::<uio_thread>() == 72);
const _: () = assert!(size_of::<uio_region>() == 56);
const _: () = assert!(size_of::<uio_block>() == 16);
