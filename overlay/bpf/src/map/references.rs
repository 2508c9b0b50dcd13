//! Rows of references: programs to tail-call, maps of maps.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::mem;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::storage::{Storage, WORD};
use super::{AccessError, MapError};

/// What a change took out of a map, and what running programs may still use.
///
/// Dropping it keeps the thing in memory for ever, which is safe; [`Retired::release`] frees it.
#[must_use = "what is only dropped stays in memory for ever"]
pub struct Retired<T>(Option<Arc<T>>);

impl<T> Retired<T> {
    pub(super) const fn new(reference: Option<Arc<T>>) -> Self {
        Self(reference)
    }

    /// Whether there was something.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Gives the reference back, to be dropped.
    ///
    /// # Safety
    ///
    /// No run of any program, and no call of a method of the map, is under way that began before the change.
    #[must_use]
    pub unsafe fn release(mut self) -> Option<Arc<T>> {
        self.0.take()
    }
}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}

/// A row of references, each set or not.
pub(super) struct References<T> {
    slots: Storage,
    entries: u32,
    owned: PhantomData<Arc<T>>,
}

impl<T> References<T> {
    pub(super) fn new(entries: u32) -> Result<Self, MapError> {
        let slots = Storage::zeroed(u64::from(entries) * WORD as u64)?;
        Ok(Self { slots, entries, owned: PhantomData })
    }

    pub(super) const fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.slots.bytes()
    }

    fn slot(&self, index: u32) -> Option<&AtomicPtr<T>> {
        (index < self.entries)
            // SAFETY: inside the row, aligned to a word, zeroed or used as this type before.
            .then(|| unsafe { AtomicPtr::from_ptr(self.slots.at(index as usize * WORD).cast()) })
    }

    /// What slot `index` refers to, or null.
    #[inline]
    pub(super) fn get(&self, index: u32) -> *const T {
        self.slot(index).map_or(core::ptr::null(), |slot| slot.load(Ordering::Acquire))
    }

    pub(super) fn used(&self) -> u32 {
        (0..self.entries).filter(|&index| !self.get(index).is_null()).count() as u32
    }

    /// Sets or clears a slot.
    pub(super) fn set(&self, index: u32, reference: Option<Arc<T>>) -> Result<Retired<T>, AccessError> {
        let slot = self.slot(index).ok_or(AccessError::Full)?;
        let new = reference.map_or(core::ptr::null_mut(), |reference| Arc::into_raw(reference).cast_mut());
        let old = slot.swap(new, Ordering::AcqRel);
        // SAFETY: slots hold null or what `into_raw` gave, and the swap took it out.
        Ok(Retired::new((!old.is_null()).then(|| unsafe { Arc::from_raw(old.cast_const()) })))
    }
}

impl<T> Drop for References<T> {
    fn drop(&mut self) {
        for index in 0..self.entries {
            if let Some(slot) = self.slot(index) {
                let old = slot.swap(core::ptr::null_mut(), Ordering::AcqRel);
                if !old.is_null() {
                    // SAFETY: as in `set`. Programs keep the maps that they use alive, so none uses this one.
                    drop(unsafe { Arc::from_raw(old.cast_const()) });
                }
            }
        }
    }
}
