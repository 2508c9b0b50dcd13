//! What the shell does with maps: keys and values as bytes, checked.

use alloc::sync::Arc;
use core::ops::ControlFlow;
use core::ptr;

use super::access::read_index;
use super::{AccessError, Body, Map, Retired, RingState, UpdateFlags, flags, is_constant, schema, storage};
use crate::program::Program;

/// The reference that a value of a hash of maps stands for, taken out.
///
/// # Safety
///
/// `value` is the value of a live entry, which is removed or overwritten next, before anything reads it.
pub(super) unsafe fn take_map(value: *mut u8) -> Option<Arc<Map>> {
    // SAFETY: values of hashes of maps are words.
    let map = ptr::with_exposed_provenance::<Map>(unsafe { storage::load(value) } as usize);
    // SAFETY: not null, so from `Arc::into_raw`; the caller takes it out.
    (!map.is_null()).then(|| unsafe { Arc::from_raw(map) })
}

impl Map {
    pub(super) const fn check_key(&self, key: &[u8]) -> Result<(), AccessError> {
        if key.len() == self.spec.key_bytes as usize {
            Ok(())
        } else {
            Err(AccessError::Size { expected: self.spec.key_bytes, given: key.len() })
        }
    }

    const fn check_value(&self, value: &[u8]) -> Result<(), AccessError> {
        if value.len() == self.spec.value_bytes as usize {
            Ok(())
        } else {
            Err(AccessError::Size { expected: self.spec.value_bytes, given: value.len() })
        }
    }

    fn check_writable(&self) -> Result<(), AccessError> {
        if is_constant(&self.spec) || self.spec.flags & flags::READ_ONLY != 0 {
            return Err(AccessError::ReadOnly);
        }
        Ok(())
    }

    /// Copies the value of `key`; for a trie, of the longest prefix. Does not count as use for eviction.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: no such key, wrong sizes, or a kind without keys and plain values.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<(), AccessError> {
        self.check_key(key)?;
        self.check_value(value)?;
        let found = match &self.body {
            // SAFETY: the key has its size.
            Body::Array(array) => array.value(unsafe { read_index(key.as_ptr()) }),
            // SAFETY: as above.
            Body::Hash(hash) => unsafe { hash.peek(key.as_ptr()) },
            // SAFETY: as above.
            Body::Lpm(trie) => unsafe { trie.lookup(key.as_ptr()) },
            _ => return Err(AccessError::Invalid),
        };
        if found.is_null() {
            return Err(AccessError::NotFound);
        }
        // SAFETY: values have all their words in storage that lives as long as the map; the destination has a
        // value's size.
        unsafe { storage::copy_out(value.as_mut_ptr(), found, value.len()) };
        Ok(())
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: what `update` asks for is not so, no room, wrong sizes, or not writable.
    pub fn update(&self, key: &[u8], value: &[u8], update: UpdateFlags) -> Result<(), AccessError> {
        self.check_key(key)?;
        self.check_value(value)?;
        self.check_writable()?;
        // SAFETY: both have their sizes.
        unsafe { self.write(key.as_ptr(), value.as_ptr(), update) }
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: no such key, wrong size, or not writable.
    pub fn delete(&self, key: &[u8]) -> Result<(), AccessError> {
        self.check_key(key)?;
        self.check_writable()?;
        // SAFETY: the key has its size.
        unsafe { self.erase(key.as_ptr()) }
    }

    /// Adds a value to a queue or stack.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: full, wrong size, or no queue.
    pub fn push(&self, value: &[u8]) -> Result<(), AccessError> {
        self.check_value(value)?;
        self.check_writable()?;
        // SAFETY: the value has its size.
        unsafe { self.push_raw(value.as_ptr(), false) }
    }

    /// Copies the next value of a queue or stack.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: empty, wrong size, or no queue.
    pub fn peek(&self, value: &mut [u8]) -> Result<(), AccessError> {
        self.check_value(value)?;
        // SAFETY: the destination has a value's size.
        unsafe { self.take_raw(value.as_mut_ptr(), false) }
    }

    /// As [`Self::peek`], and removes it.
    ///
    /// # Errors
    ///
    /// As [`Self::peek`].
    pub fn pop(&self, value: &mut [u8]) -> Result<(), AccessError> {
        self.check_value(value)?;
        self.check_writable()?;
        // SAFETY: the destination has a value's size.
        unsafe { self.take_raw(value.as_mut_ptr(), true) }
    }

    /// Shows committed records of a ring buffer to `visit`, oldest first, until it breaks, the next is still being
    /// written, or `bytes_max` bytes of the ring were read. A record at which it breaks stays. How many were
    /// consumed.
    ///
    /// # Errors
    ///
    /// [`AccessError::Busy`] if another consumer was interrupted, [`AccessError::Invalid`] for other kinds.
    pub fn drain(
        &self,
        bytes_max: usize,
        visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<u64, AccessError> {
        match &self.body {
            Body::Ring(ring) => ring.drain(bytes_max, visit),
            _ => Err(AccessError::Invalid),
        }
    }

    /// Positions of a ring buffer, and how many records found no room.
    #[must_use]
    pub fn ring_state(&self) -> Option<RingState> {
        match &self.body {
            Body::Ring(ring) => Some(ring.state()),
            _ => None,
        }
    }

    /// Sets or clears the inner map of `key`. Several of these at once have to be kept apart by the caller.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: a map that does not fit the description, no room, or no map of maps.
    pub fn set_map(&self, key: &[u8], map: Option<Arc<Self>>) -> Result<Retired<Self>, AccessError> {
        self.check_key(key)?;
        self.check_writable()?;
        let description = self.inner.as_ref().ok_or(AccessError::Invalid)?;
        if map.as_ref().is_some_and(|map| !schema::fits_inner(&map.spec, description)) {
            return Err(AccessError::Mismatch);
        }
        match (&self.body, map) {
            // SAFETY: the key has its size.
            (Body::Maps(maps), map) => maps.set(unsafe { read_index(key.as_ptr()) }, map),
            (Body::HashedMaps(hash), None) => {
                let mut old = None;
                // SAFETY: the key has its size; what is taken out is removed at once.
                unsafe { hash.delete(key.as_ptr(), |value| old = take_map(value)) }?;
                Ok(Retired::new(old))
            }
            (Body::HashedMaps(hash), Some(map)) => {
                let raw = Arc::into_raw(map);
                let word = (raw.expose_provenance() as u64).to_ne_bytes();
                let mut old = None;
                // SAFETY: the key has its size, the word that of the stored values; what is taken out is
                // overwritten at once.
                let updated = unsafe {
                    hash.update(key.as_ptr(), word.as_ptr(), UpdateFlags::Any, |value| old = take_map(value))
                };
                if let Err(error) = updated {
                    // SAFETY: from `into_raw` above, and not stored.
                    drop(unsafe { Arc::from_raw(raw) });
                    return Err(error);
                }
                Ok(Retired::new(old))
            }
            _ => Err(AccessError::Invalid),
        }
    }

    /// The inner map of `key`.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: none there, a key of the wrong size, or no map of maps.
    pub fn inner_map(&self, key: &[u8]) -> Result<Arc<Self>, AccessError> {
        self.check_key(key)?;
        if self.inner.is_none() {
            return Err(AccessError::Invalid);
        }
        // SAFETY: the key has its size.
        let map = unsafe { self.find(key.as_ptr()) }.cast::<Self>().cast_const();
        if map.is_null() {
            return Err(AccessError::NotFound);
        }
        // SAFETY: values of maps of maps are from `Arc::into_raw`. It lives: what replaces it gives it out as
        // `Retired`, which is not released while this runs.
        unsafe {
            Arc::increment_strong_count(map);
            Ok(Arc::from_raw(map))
        }
    }

    /// Sets or clears slot `index` of a program array. A program of another kind than the caller's is not run.
    ///
    /// # Errors
    ///
    /// [`AccessError`]: no such slot, or no program array.
    pub fn set_program(
        &self,
        index: u32,
        program: Option<Arc<Program>>,
    ) -> Result<Retired<Program>, AccessError> {
        self.check_writable()?;
        match &self.body {
            Body::Programs(programs) => programs.set(index, program),
            _ => Err(AccessError::Invalid),
        }
    }

    /// Whether the only value of an array is `contents`, where nothing stands for zeros.
    pub(super) fn holds(&self, contents: &[u8]) -> bool {
        let Some(value) = self.value_base() else { return false };
        let bytes = self.spec.value_bytes as usize;
        if !contents.is_empty() && contents.len() != bytes {
            return false;
        }
        (0..bytes).step_by(storage::WORD).all(|at| {
            // SAFETY: a value has all its words in storage.
            let stored = unsafe { storage::load(value.wrapping_add(at)) }.to_le_bytes();
            let end = (at + storage::WORD).min(bytes);
            (at..end).all(|index| stored[index - at] == contents.get(index).copied().unwrap_or(0))
        })
    }
}
