//! Memory that is not the extension's own.

use core::mem::MaybeUninit;

use crate::{Errno, raw};

/// Copies from any address of the guest, without the risk of a fault.
///
/// # Errors
///
/// [`Errno::FAULT`] if not all of it is mapped; then `to` may be changed in part.
pub fn read(from: u64, to: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the gate writes `to`, which is borrowed exclusively, and copies from an address that it checks.
    let status = unsafe { raw::uio_read(to.as_mut_ptr().cast(), pointer(from), to.len()) };
    Errno::check(status.into()).map(|_| ())
}

/// Reads a value at any address of the guest.
///
/// # Safety
///
/// What is there, if it is mapped, is a value of `T`.
///
/// # Errors
///
/// [`Errno::FAULT`] if not all of it is mapped.
pub unsafe fn read_value<T: Copy>(from: u64) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the gate writes `size_of::<T>()` bytes of `value` or fails.
    let status = unsafe { raw::uio_read(value.as_mut_ptr().cast(), pointer(from), size_of::<T>()) };
    Errno::check(status.into())?;
    // SAFETY: filled completely, with a value of `T` as the caller promised.
    Ok(unsafe { value.assume_init() })
}

/// Stores into memory of the application, or the extension's own.
///
/// # Safety
///
/// Nothing that the extension or the application relies on breaks when these bytes change now.
///
/// # Errors
///
/// [`Errno::PERM`] for memory of anybody else, [`Errno::FAULT`] for what is not mapped or read-only. Nothing
/// was written then.
pub unsafe fn write(to: u64, from: &[u8]) -> Result<(), Errno> {
    // SAFETY: the gate reads `from` and stores where it allows; that the store breaks nothing is the caller's
    // promise.
    let status = unsafe { raw::uio_write(pointer(to).cast_mut(), from.as_ptr().cast(), from.len()) };
    Errno::check(status.into()).map(|_| ())
}

/// An address as a gate takes it; never dereferenced here.
fn pointer(address: u64) -> *const core::ffi::c_void {
    core::ptr::without_provenance(address as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn reads_and_writes_pass_bytes_and_errors() {
        fake::with_memory(0x1000, &[1, 2, 3, 4, 5, 6, 7, 8], || {
            let mut bytes = [0; 3];
            assert_eq!(read(0x1001, &mut bytes), Ok(()));
            assert_eq!(bytes, [2, 3, 4]);
            // SAFETY: any four bytes are a `u32`.
            assert_eq!(unsafe { read_value::<u32>(0x1004) }, Ok(0x0807_0605));
            assert_eq!(read(0x1007, &mut bytes), Err(Errno::FAULT));
            // SAFETY: the memory belongs to this test.
            assert_eq!(unsafe { write(0x1000, &[9]) }, Ok(()));
            assert_eq!(read(0x1000, &mut bytes), Ok(()));
            assert_eq!(bytes, [9, 2, 3]);
            // SAFETY: as above.
            assert_eq!(unsafe { write(0x2000, &[9]) }, Err(Errno::FAULT));
        });
    }
}
