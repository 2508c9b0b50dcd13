//! Loads, stores and atomic operations at addresses that programs compute.

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::instruction::{Atomic, Size, Width};

/// The value of `size` at `address`, zero-extended, or sign-extended if `signed`.
///
/// # Safety
///
/// The bytes may be read.
#[inline]
pub(super) unsafe fn load(address: u64, size: Size, signed: bool) -> u64 {
    let address = address as usize;
    // SAFETY: the caller's promise; the reads ask for no alignment.
    unsafe {
        match (size, signed) {
            (Size::B1, false) => u64::from(*with_exposed_provenance::<u8>(address)),
            (Size::B2, false) => u64::from(with_exposed_provenance::<u16>(address).read_unaligned()),
            (Size::B4, false) => u64::from(with_exposed_provenance::<u32>(address).read_unaligned()),
            (Size::B1, true) => *with_exposed_provenance::<i8>(address) as u64,
            (Size::B2, true) => with_exposed_provenance::<i16>(address).read_unaligned() as u64,
            (Size::B4, true) => with_exposed_provenance::<i32>(address).read_unaligned() as u64,
            (Size::B8, _) => with_exposed_provenance::<u64>(address).read_unaligned(),
        }
    }
}

/// Stores the low bytes of `value`.
///
/// # Safety
///
/// The bytes may be written.
#[inline]
pub(super) unsafe fn store(address: u64, size: Size, value: u64) {
    let address = address as usize;
    // SAFETY: the caller's promise; the writes ask for no alignment.
    unsafe {
        match size {
            Size::B1 => *with_exposed_provenance_mut::<u8>(address) = value as u8,
            Size::B2 => with_exposed_provenance_mut::<u16>(address).write_unaligned(value as u16),
            Size::B4 => with_exposed_provenance_mut::<u32>(address).write_unaligned(value as u32),
            Size::B8 => with_exposed_provenance_mut::<u64>(address).write_unaligned(value),
        }
    }
}

/// What an atomic operation leaves in registers.
#[derive(Clone, Copy)]
pub(super) struct Fetched {
    /// What was in memory.
    pub(super) old: u64,
    /// Whether R0 gets it, rather than the source register or none.
    pub(super) to: Destination,
}

#[derive(Clone, Copy)]
pub(super) enum Destination {
    None,
    Source,
    R0,
}

/// Carries out `op` on the memory at `address`, with `source` and, to compare with, `expected`.
///
/// # Safety
///
/// The bytes may be read and written.
pub(super) unsafe fn atomic(op: Atomic, width: Width, address: u64, source: u64, expected: u64) -> Fetched {
    let order = Ordering::SeqCst;
    macro_rules! on {
        ($atomic:ty, $value:ty) => {{
            let pointer = with_exposed_provenance_mut::<$value>(address as usize);
            let (source, expected) = (source as $value, expected as $value);
            if pointer.is_aligned() {
                // SAFETY: the caller's promise, and it is aligned. Others use this memory through
                // programs and helpers only, which take it to be shared.
                let cell = unsafe { <$atomic>::from_ptr(pointer) };
                match op {
                    Atomic::Add { .. } => cell.fetch_add(source, order),
                    Atomic::Or { .. } => cell.fetch_or(source, order),
                    Atomic::And { .. } => cell.fetch_and(source, order),
                    Atomic::Xor { .. } => cell.fetch_xor(source, order),
                    Atomic::Exchange => cell.swap(source, order),
                    Atomic::CompareExchange => {
                        cell.compare_exchange(expected, source, order, order).unwrap_or_else(|old| old)
                    }
                }
            } else {
                // Not atomic towards other processors: the verifier refuses it, and this keeps such programs
                // computing what compiled code computes.
                // SAFETY: the caller's promise; no alignment is asked for.
                let old = unsafe { pointer.read_unaligned() };
                let new = match op {
                    Atomic::Add { .. } => old.wrapping_add(source),
                    Atomic::Or { .. } => old | source,
                    Atomic::And { .. } => old & source,
                    Atomic::Xor { .. } => old ^ source,
                    Atomic::Exchange => source,
                    Atomic::CompareExchange if old == expected => source,
                    Atomic::CompareExchange => old,
                };
                // SAFETY: as above.
                unsafe { pointer.write_unaligned(new) };
                old
            }
        }};
    }
    let old = match width {
        Width::W32 => u64::from(on!(AtomicU32, u32)),
        Width::W64 => on!(AtomicU64, u64),
    };
    let to = match op {
        Atomic::Add { fetch } | Atomic::Or { fetch } | Atomic::And { fetch } | Atomic::Xor { fetch } => {
            if fetch {
                Destination::Source
            } else {
                Destination::None
            }
        }
        Atomic::Exchange => Destination::Source,
        Atomic::CompareExchange => Destination::R0,
    };
    Fetched { old, to }
}
