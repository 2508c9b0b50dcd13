//! What a guest offers to extensions written in Rust.
//!
//! An extension is one relocatable object that `load` places into a running guest. It runs in a protection
//! domain of its own: it may read almost everything, and write only its own memory. Everything else it does
//! through the functions here; each is a *gate*, behind which the guest checks the arguments. `extensions/include/uio.h` is
//! the same for C.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use uio_extension::{Arguments, println};
//!
//! uio_extension::main!(run);
//!
//! fn run(arguments: Arguments) -> i32 {
//!     println!("hello from thread {}", uio_extension::thread_id());
//!     arguments.count() as i32
//! }
//! ```
//!
//! `extensions/build.sh OUT_DIR FILE.rs` makes an object of it, with both features of this crate on.
#![cfg_attr(not(test), no_std)]

#[cfg(all(feature = "alloc", not(test)))]
mod allocator;
mod arguments;
mod entry;
mod error;
mod files;
mod inspect;
mod memory;
mod output;
#[cfg(all(feature = "panic-handler", not(test)))]
mod panic;
pub mod raw;
mod time;

pub use arguments::Arguments;
pub use error::Errno;
pub use files::{file_size, read_file, write_file};
pub use inspect::{
    Block, HeapBlocks, NAME_BYTES, RECORDS_MAX, Region, Thread, ThreadState, regions, threads,
};
pub use memory::{read, read_value, write};
pub use output::{Output, abort, log, print};
pub use time::{sleep, thread_id, time, yield_now};

#[cfg(test)]
mod fake;
