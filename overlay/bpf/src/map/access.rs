//! What helpers do with maps: keys and values by address.

use core::ptr;

use super::hash::KeyClass;
use super::{AccessError, Body, Map, UpdateFlags, is_read_only, ring, storage};
use crate::invocation::Invocation;
use crate::program::Program;

/// The map at the address that a program was given.
///
/// # Safety
///
/// `address` came from [`Map::address`] of a map that lives on for as long as `'a`.
#[inline]
pub(crate) unsafe fn map_at<'a>(address: u64) -> &'a Map {
    // SAFETY: the caller's promise; `address` exposed it.
    unsafe { &*ptr::with_exposed_provenance::<Map>(address as usize) }
}

/// A number that tells runs apart that are under way at the same time.
pub(crate) fn owner_of(invocation: *const Invocation<'_>) -> u32 {
    invocation.addr() as u32
}

/// For [`Map::lookup_function`]: the lookup of one class of hash tables.
macro_rules! lookup_hash {
    ($name:ident, $class:expr) => {
        /// # Safety
        ///
        /// As helper 1, and the map is a hash table with keys of this class.
        pub(super) unsafe extern "sysv64" fn $name(
            map: u64,
            key: u64,
            _: u64,
            _: u64,
            _: u64,
            _: *const Invocation<'_>,
        ) -> u64 {
            // SAFETY: the caller's promise.
            let map = unsafe { map_at(map) };
            let Body::Hash(hash) = &map.body else { return 0 };
            // SAFETY: the caller's promise.
            unsafe { hash.lookup($class, ptr::with_exposed_provenance(key as usize)) }.expose_provenance()
                as u64
        }
    };
}

lookup_hash!(lookup_hash_4, KeyClass::Four);
lookup_hash!(lookup_hash_8, KeyClass::Eight);
lookup_hash!(lookup_hash_16, KeyClass::Sixteen);
lookup_hash!(lookup_hash_other, KeyClass::Other);

/// # Safety
///
/// As helper 1, and the map is an array.
pub(super) unsafe extern "sysv64" fn lookup_array(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    // SAFETY: the caller's promise.
    let map = unsafe { map_at(map) };
    let Body::Array(array) = &map.body else { return 0 };
    // SAFETY: the caller's promise; keys of arrays have 4 bytes.
    let index = unsafe { read_index(ptr::with_exposed_provenance(key as usize)) };
    array.value(index).expose_provenance() as u64
}

/// # Safety
///
/// As helper 1.
pub(super) unsafe extern "sysv64" fn lookup_any(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { map_at(map).find(ptr::with_exposed_provenance(key as usize)) }.expose_provenance() as u64
}

/// # Safety
///
/// `key` may be read for 4 bytes.
pub(super) unsafe fn read_index(key: *const u8) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { key.cast::<u32>().read_unaligned() }
}

impl Map {
    /// The value of `key`, for a map of maps the inner map; or null.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(crate) unsafe fn find(&self, key: *const u8) -> *mut u8 {
        match &self.body {
            // SAFETY: the caller's promise.
            Body::Array(array) => array.value(unsafe { read_index(key) }),
            // SAFETY: as above, and the class is the table's own.
            Body::Hash(hash) => unsafe { hash.lookup(hash.class(), key) },
            // SAFETY: as above.
            Body::Lpm(trie) => unsafe { trie.lookup(key) },
            // SAFETY: as above.
            Body::Maps(maps) => maps.get(unsafe { read_index(key) }).cast_mut().cast(),
            Body::HashedMaps(hash) => {
                // SAFETY: as above, and the class is the table's own.
                let value = unsafe { hash.lookup(hash.class(), key) };
                if value.is_null() {
                    return value;
                }
                // SAFETY: values of this table are words that hold addresses of maps, or 0.
                ptr::with_exposed_provenance_mut(unsafe { storage::load(value) } as usize)
            }
            Body::Queue(_) | Body::Ring(_) | Body::Programs(_) => ptr::null_mut(),
        }
    }

    /// Sets a value for a program.
    ///
    /// # Safety
    ///
    /// `key` and `value` may be read for their sizes.
    pub(crate) unsafe fn set(
        &self,
        key: *const u8,
        value: *const u8,
        flags: UpdateFlags,
    ) -> Result<(), AccessError> {
        if is_read_only(&self.spec) {
            return Err(AccessError::ReadOnly);
        }
        // SAFETY: the caller's promise.
        unsafe { self.write(key, value, flags) }
    }

    /// Sets a value for whoever may.
    ///
    /// # Safety
    ///
    /// As [`Self::set`].
    pub(super) unsafe fn write(
        &self,
        key: *const u8,
        value: *const u8,
        flags: UpdateFlags,
    ) -> Result<(), AccessError> {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.body {
                Body::Array(array) => array.update(read_index(key), value, flags),
                Body::Hash(hash) => hash.update(key, value, flags, |_| ()),
                Body::Lpm(trie) => trie.update(key, value, flags),
                _ => Err(AccessError::Invalid),
            }
        }
    }

    /// Removes a key for a program.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(crate) unsafe fn remove(&self, key: *const u8) -> Result<(), AccessError> {
        if is_read_only(&self.spec) {
            return Err(AccessError::ReadOnly);
        }
        // SAFETY: the caller's promise.
        unsafe { self.erase(key) }
    }

    /// Removes a key for whoever may.
    ///
    /// # Safety
    ///
    /// As [`Self::remove`].
    pub(super) unsafe fn erase(&self, key: *const u8) -> Result<(), AccessError> {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.body {
                Body::Hash(hash) => hash.delete(key, |_| ()),
                Body::Lpm(trie) => trie.delete(key),
                _ => Err(AccessError::Invalid),
            }
        }
    }

    /// Adds to a queue or stack.
    ///
    /// # Safety
    ///
    /// `value` may be read for a value's size.
    pub(crate) unsafe fn push_raw(&self, value: *const u8, replace: bool) -> Result<(), AccessError> {
        if is_read_only(&self.spec) {
            return Err(AccessError::ReadOnly);
        }
        match &self.body {
            // SAFETY: the caller's promise.
            Body::Queue(queue) => unsafe { queue.push(value, replace) },
            _ => Err(AccessError::Invalid),
        }
    }

    /// Copies the next value of a queue or stack, and removes it if `remove`; on failure `value` becomes zeros.
    ///
    /// # Safety
    ///
    /// `value` may be written for a value's size.
    pub(crate) unsafe fn take_raw(&self, value: *mut u8, remove: bool) -> Result<(), AccessError> {
        let taken = match &self.body {
            Body::Queue(_) if remove && is_read_only(&self.spec) => Err(AccessError::ReadOnly),
            // SAFETY: the caller's promise.
            Body::Queue(queue) => unsafe { queue.take(value, remove) },
            _ => Err(AccessError::Invalid),
        };
        if taken.is_err() {
            // SAFETY: the caller's promise. The verifier takes the memory for written in any case.
            unsafe { ptr::write_bytes(value, 0, self.spec.value_bytes as usize) };
        }
        taken
    }

    /// Space for a record of `bytes`, or null.
    pub(crate) fn reserve(&self, bytes: u64, owner: u32) -> *mut u8 {
        match &self.body {
            Body::Ring(ring) => ring.reserve(bytes, owner),
            _ => ptr::null_mut(),
        }
    }

    /// Copies a record into a ring buffer.
    ///
    /// # Safety
    ///
    /// `data` may be read for `bytes`.
    pub(crate) unsafe fn output(&self, data: *const u8, bytes: u64) -> Result<(), AccessError> {
        match &self.body {
            // SAFETY: the caller's promise.
            Body::Ring(ring) => unsafe { ring.output(data, bytes) },
            _ => Err(AccessError::Invalid),
        }
    }

    /// Discards the records of a ring buffer that a run reserved and did not give back: for a run that was stopped
    /// from outside. The engine calls it, before the invocation's memory is used for something else.
    pub fn abandon(&self, invocation: *const Invocation<'_>) {
        if let Body::Ring(ring) = &self.body {
            ring.abandon(owner_of(invocation));
        }
    }

    /// The program in slot `index` of a program array, or null. It lives until what replaced it is released
    /// ([`super::Retired`]).
    #[must_use]
    pub fn program(&self, index: u32) -> *const Program {
        match &self.body {
            Body::Programs(programs) => programs.get(index),
            _ => ptr::null(),
        }
    }
}

/// Commits a record, or discards it.
///
/// # Safety
///
/// `record` came from [`Map::reserve`] of a live map and was not given back since.
pub(crate) unsafe fn finish_record(record: *mut u8, discard: bool) {
    // SAFETY: the caller's promise.
    unsafe { ring::finish(record, discard) };
}
