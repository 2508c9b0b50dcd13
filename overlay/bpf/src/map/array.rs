//! Arrays: values in one row, all of them always there.

use super::storage::{Storage, copy_in, words};
use super::{AccessError, MapError, UpdateFlags};
use crate::program::ArrayLayout;

pub(super) struct Array {
    storage: Storage,
    stride: usize,
    value_bytes: u32,
    entries: u32,
}

impl Array {
    pub(super) fn new(value_bytes: u32, entries: u32) -> Result<Self, MapError> {
        let stride = words(value_bytes);
        let storage = Storage::zeroed(stride as u64 * u64::from(entries))?;
        Ok(Self { storage, stride, value_bytes, entries })
    }

    /// The value at `index`, or null past the end.
    #[inline]
    pub(super) fn value(&self, index: u32) -> *mut u8 {
        if index < self.entries {
            self.storage.at(index as usize * self.stride)
        } else {
            core::ptr::null_mut()
        }
    }

    /// # Safety
    ///
    /// `value` may be read for a value's size.
    pub(super) unsafe fn update(
        &self,
        index: u32,
        value: *const u8,
        flags: UpdateFlags,
    ) -> Result<(), AccessError> {
        let slot = self.value(index);
        if slot.is_null() {
            return Err(AccessError::Full);
        }
        if flags == UpdateFlags::NoExist {
            return Err(AccessError::Exists);
        }
        // SAFETY: the slot is one of ours, of whole words; the caller vouches for the value.
        unsafe { copy_in(slot, value, self.value_bytes as usize) };
        Ok(())
    }

    pub(super) fn layout(&self) -> ArrayLayout {
        ArrayLayout {
            base: self.storage.base().expose_provenance() as u64,
            stride: self.stride as u32,
            entries: self.entries,
        }
    }

    pub(super) const fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.storage.bytes()
    }
}
