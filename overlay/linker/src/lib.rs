//! Places and relocates native extensions.
//!
//! An [`ExtensionImage`](uio_protocol::image::ExtensionImage) comes from a shell that the guest does not trust.
//! [`plan`] checks all of it, resolves its symbols and says how many pages it takes; [`link`] produces the
//! bytes of those pages for the addresses that the caller then has. Neither touches memory that is not
//! its own, so that a failure at any point leaves the guest as it was: the caller maps, copies and
//! protects only when both have succeeded.
//!
//! Three groups of pages, one for each permission: *text* (read, execute) holds code, gate stubs and
//! veneers; *read-only* holds the global offset table, constants and the lists of constructors; *data*
//! (read, write) holds initialised data, then zeroed data.
//!
//! The work is linear in the size of the image (sorting of names aside), and all memory taken is bounded by
//! [`uio_protocol::limits`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod layout;
mod link;
mod near;
mod plan;
mod relax;
mod relocate;
mod resolve;
mod sort;
mod validate;

pub use layout::{Bases, Pages};
pub use link::{Export, Linked, link};
pub use plan::{Plan, plan};
pub use resolve::{Resolver, STUB_BYTES_MAX, StubBytes, Target, Use};

use alloc::vec::Vec;
use core::fmt;

use uio_protocol::error::LoadError;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Formats out of line: there are many reasons, and each would cost 200 bytes of the guest's image.
#[cold]
#[inline(never)]
fn bad_image(reason: fmt::Arguments<'_>) -> LoadError {
    LoadError::BadImage { reason: alloc::fmt::format(reason) }
}

/// A vector of `count` copies of `value`, or [`LoadError::NoRoom`] where the heap is exhausted: an
/// image must not be able to end the guest by its size.
fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>, LoadError> {
    let mut vector = reserved(count)?;
    vector.resize(count, value);
    Ok(vector)
}

/// An empty vector with room for `count` elements, or [`LoadError::NoRoom`].
fn reserved<T>(count: usize) -> Result<Vec<T>, LoadError> {
    let mut vector = Vec::new();
    vector
        .try_reserve_exact(count)
        .map_err(|_| LoadError::NoRoom { bytes: (count as u64).saturating_mul(size_of::<T>() as u64) })?;
    Ok(vector)
}
