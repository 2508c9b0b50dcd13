//! The memory functions that compiled code calls. The target's prebuilt `compiler_builtins` leaves them to libc.
//!
//! They are written so that the compiler cannot turn them into calls of themselves: short sizes by overlapping
//! loads and stores, long ones by string instructions.
#![expect(unreachable_pub, reason = "C names for the linker, not paths for Rust")]

use core::arch::asm;
use core::ptr;

/// Copies `length` bytes forward with string instructions.
///
/// # Safety
///
/// Both ranges are valid, and `to` does not lie inside `from..from + length`.
#[inline]
unsafe fn copy_forward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: `length / 8` words and `length % 8` bytes make up exactly the two valid ranges; the direction
    // flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {tail:e}",
            "rep movsb",
            tail = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies at most 32 bytes: all loads come before the first store, so the ranges may overlap.
///
/// # Safety
///
/// Both ranges are valid and `length <= 32`.
#[inline]
unsafe fn copy_short(to: *mut u8, from: *const u8, length: usize) {
    macro_rules! ends {
        ($word:ty) => {{
            const BYTES: usize = size_of::<$word>();
            let first = ptr::read_unaligned(from.cast::<$word>());
            let last = ptr::read_unaligned(from.add(length - BYTES).cast::<$word>());
            ptr::write_unaligned(to.cast::<$word>(), first);
            ptr::write_unaligned(to.add(length - BYTES).cast::<$word>(), last);
        }};
    }
    // SAFETY: each arm touches the first and the last BYTES bytes of ranges that are at least BYTES long.
    unsafe {
        match length {
            0 => {}
            1 => *to = *from,
            2..4 => ends!(u16),
            4..8 => ends!(u32),
            8..16 => ends!(u64),
            _ => ends!(u128),
        }
    }
}

/// C `memcpy`.
///
/// # Safety
///
/// As in C: both ranges are valid and do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is the callees'.
    unsafe {
        if length <= 32 {
            copy_short(to, from, length);
        } else {
            copy_forward(to, from, length);
        }
    }
    to
}

/// C `memmove`.
///
/// # Safety
///
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: forward copying is right unless `to` lies inside the source; then the copy runs backward, with
    // the direction flag set only in between.
    unsafe {
        if length <= 32 {
            copy_short(to, from, length);
        } else if (to as usize).wrapping_sub(from as usize) >= length {
            copy_forward(to, from, length);
        } else {
            asm!(
                "std",
                "rep movsb",
                "cld",
                inout("rcx") length => _,
                inout("rdi") to.add(length - 1) => _,
                inout("rsi") from.add(length - 1) => _,
                options(nostack),
            );
        }
    }
    to
}

/// C `memset`.
///
/// # Safety
///
/// As in C: the range is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let pattern = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: `length / 8` words and `length % 8` bytes make up exactly the valid range.
    unsafe {
        asm!(
            "rep stosq",
            "mov ecx, {tail:e}",
            "rep stosb",
            tail = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            in("rax") pattern,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// C `memcmp`.
///
/// # Safety
///
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    let mut index = 0;
    // SAFETY: every index read is below `length`.
    unsafe {
        while index + 8 <= length {
            let a = ptr::read_unaligned(left.add(index).cast::<u64>());
            let b = ptr::read_unaligned(right.add(index).cast::<u64>());
            if a != b {
                // Big-endian order is the order of bytes in memory.
                return if a.swap_bytes() < b.swap_bytes() { -1 } else { 1 };
            }
            index += 8;
        }
        while index < length {
            let difference = i32::from(*left.add(index)) - i32::from(*right.add(index));
            if difference != 0 {
                return difference;
            }
            index += 1;
        }
    }
    0
}

/// C `bcmp`: as [`memcmp`], only equality counts.
///
/// # Safety
///
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, length) }
}

/// C `strlen`: core's `CStr` calls it.
///
/// # Safety
///
/// As in C: a NUL ends the string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: all bytes up to the NUL are valid. The read is volatile, or the loop would become a call of itself.
    while unsafe { ptr::read_volatile(string.add(length)) } != 0 {
        length += 1;
    }
    length
}
