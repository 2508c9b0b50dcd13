//! Queues and stacks: a ring of values, taken from one end or the other.

use core::sync::atomic::{AtomicU32, Ordering};

use super::lock::TryLock;
use super::storage::{Storage, copy_in, copy_out, words};
use super::{AccessError, MapError};

pub(super) struct Queue {
    storage: Storage,
    stride: usize,
    value_bytes: usize,
    entries: u32,
    /// Whether the newest value comes out first.
    is_stack: bool,
    lock: TryLock,
    /// Index of the oldest value. This and the next are changed with the lock held.
    oldest: AtomicU32,
    used: AtomicU32,
}

impl Queue {
    pub(super) fn new(value_bytes: u32, entries: u32, is_stack: bool) -> Result<Self, MapError> {
        let stride = words(value_bytes);
        Ok(Self {
            storage: Storage::zeroed(stride as u64 * u64::from(entries))?,
            stride,
            value_bytes: value_bytes as usize,
            entries,
            is_stack,
            lock: TryLock::new(),
            oldest: AtomicU32::new(0),
            used: AtomicU32::new(0),
        })
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) const fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.storage.bytes()
    }

    /// The value `age` after the oldest.
    fn value(&self, age: u32) -> *mut u8 {
        let index =
            (u64::from(self.oldest.load(Ordering::Relaxed)) + u64::from(age)) % u64::from(self.entries);
        self.storage.at(index as usize * self.stride)
    }

    fn drop_oldest(&self) {
        let next = self.oldest.load(Ordering::Relaxed) + 1;
        self.oldest.store(if next == self.entries { 0 } else { next }, Ordering::Relaxed);
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds a value; if it is full and `replace` says so, the oldest goes.
    ///
    /// # Safety
    ///
    /// `value` may be read for a value's size.
    pub(super) unsafe fn push(&self, value: *const u8, replace: bool) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        if self.used() == self.entries {
            if !replace {
                return Err(AccessError::Full);
            }
            self.drop_oldest();
        }
        // SAFETY: a slot of the ring, of whole words; the caller vouches for the value.
        unsafe { copy_in(self.value(self.used()), value, self.value_bytes) };
        self.used.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Copies the next value, and removes it if `remove`.
    ///
    /// # Safety
    ///
    /// `value` may be written for a value's size.
    pub(super) unsafe fn take(&self, value: *mut u8, remove: bool) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        let newest = self.used().checked_sub(1).ok_or(AccessError::NotFound)?;
        let age = if self.is_stack { newest } else { 0 };
        // SAFETY: a slot of the ring; the caller vouches for the destination.
        unsafe { copy_out(value, self.value(age), self.value_bytes) };
        if remove {
            if self.is_stack {
                self.used.store(newest, Ordering::Relaxed);
            } else {
                self.drop_oldest();
            }
        }
        Ok(())
    }

    /// Copies the value `index` from the oldest on, without the lock's owner changing anything meanwhile; whether
    /// there is one.
    ///
    /// # Safety
    ///
    /// `value` may be written for a value's size.
    pub(super) unsafe fn copy_entry(&self, index: u32, value: *mut u8) -> Result<bool, AccessError> {
        let _held = self.lock.try_lock()?;
        if index >= self.used() {
            return Ok(false);
        }
        // SAFETY: as in `take`.
        unsafe { copy_out(value, self.value(index), self.value_bytes) };
        Ok(true)
    }
}
