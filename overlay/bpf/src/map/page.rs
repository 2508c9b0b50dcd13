//! Entries of a map, a page at a time.

use alloc::vec::Vec;

use super::{AccessError, Body, Map, storage};

/// Slots that one page looks at: bounds the time of reading a page of a map with few entries in use.
pub const PAGE_SLOTS_MAX: u32 = 4096;

/// An entry, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key: an array's is the index, a queue's and stack's the place from the oldest on, both little-endian.
    pub key: Vec<u8>,
    /// Its value; for maps of maps the inner map's name, for program arrays nothing.
    pub value: Vec<u8>,
}

/// Some entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries, in the map's own order. There may be none although more follow.
    pub entries: Vec<Entry>,
    /// Cursor of the next page, if there may be more.
    pub next: Option<u32>,
}

impl Map {
    /// Copies up to `entries_max` entries, of together at most `bytes_max` (or one), from `cursor` on; start with 0.
    /// Entries that come or go meanwhile may be in it or not; all others are, once.
    ///
    /// # Errors
    ///
    /// [`AccessError::Busy`] while interrupting a change, [`AccessError::Invalid`] for ring buffers,
    /// [`AccessError::Full`] without memory for the page.
    pub fn page(&self, cursor: u32, entries_max: usize, bytes_max: usize) -> Result<Page, AccessError> {
        let slots = self.slots()?;
        let mut page = Page { entries: Vec::new(), next: None };
        let mut bytes = 0;
        for slot in cursor..slots.min(cursor.saturating_add(PAGE_SLOTS_MAX)) {
            if page.entries.len() >= entries_max.max(1) || bytes >= bytes_max.max(1) {
                page.next = Some(slot);
                return Ok(page);
            }
            if let Some(entry) = self.entry(slot)? {
                bytes += entry.key.len() + entry.value.len();
                page.entries.try_reserve(1).map_err(|_| AccessError::Full)?;
                page.entries.push(entry);
            }
        }
        let end = cursor.saturating_add(PAGE_SLOTS_MAX);
        page.next = (end < slots).then_some(end);
        Ok(page)
    }

    /// How many slots there are to look at.
    fn slots(&self) -> Result<u32, AccessError> {
        Ok(match &self.body {
            Body::Array(array) => array.entries(),
            Body::Hash(hash) | Body::HashedMaps(hash) => hash.entry_count(),
            Body::Lpm(trie) => trie.node_count(),
            Body::Queue(queue) => queue.entries(),
            Body::Programs(programs) => programs.entries(),
            Body::Maps(maps) => maps.entries(),
            Body::Ring(_) => return Err(AccessError::Invalid),
        })
    }

    fn entry(&self, slot: u32) -> Result<Option<Entry>, AccessError> {
        let index = slot.to_le_bytes();
        let (key_bytes, value_bytes) = (self.spec.key_bytes as usize, self.spec.value_bytes as usize);
        let entry = match &self.body {
            Body::Array(array) => {
                let mut value = zeros(value_bytes)?;
                // SAFETY: slots are indices of the array; the copy has a value's size.
                unsafe { storage::copy_out(value.as_mut_ptr(), array.value(slot), value_bytes) };
                Entry { key: copied(&index)?, value }
            }
            Body::Hash(hash) => {
                let mut entry = Entry { key: zeros(key_bytes)?, value: zeros(value_bytes)? };
                // SAFETY: both have their sizes.
                if !unsafe { hash.copy_entry(slot, entry.key.as_mut_ptr(), entry.value.as_mut_ptr()) }? {
                    return Ok(None);
                }
                entry
            }
            Body::Lpm(trie) => {
                let mut entry = Entry { key: zeros(key_bytes)?, value: zeros(value_bytes)? };
                // SAFETY: both have their sizes.
                if !unsafe { trie.copy_entry(slot, entry.key.as_mut_ptr(), entry.value.as_mut_ptr()) }? {
                    return Ok(None);
                }
                entry
            }
            Body::Queue(queue) => {
                let mut value = zeros(value_bytes)?;
                // SAFETY: it has a value's size.
                if !unsafe { queue.copy_entry(slot, value.as_mut_ptr()) }? {
                    return Ok(None);
                }
                Entry { key: copied(&index)?, value }
            }
            Body::Programs(programs) => {
                if programs.get(slot).is_null() {
                    return Ok(None);
                }
                Entry { key: copied(&index)?, value: Vec::new() }
            }
            Body::Maps(_) => match self.inner_map(&index) {
                Ok(map) => Entry { key: copied(&index)?, value: copied(map.spec.name.as_bytes())? },
                Err(_) => return Ok(None),
            },
            Body::HashedMaps(hash) => {
                let mut key = zeros(key_bytes)?;
                let mut word = [0; 8];
                // SAFETY: both have their sizes; the stored values are words.
                if !unsafe { hash.copy_entry(slot, key.as_mut_ptr(), word.as_mut_ptr()) }? {
                    return Ok(None);
                }
                match self.inner_map(&key) {
                    Ok(map) => Entry { key, value: copied(map.spec.name.as_bytes())? },
                    Err(_) => return Ok(None),
                }
            }
            Body::Ring(_) => return Err(AccessError::Invalid),
        };
        Ok(Some(entry))
    }
}

fn zeros(bytes: usize) -> Result<Vec<u8>, AccessError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| AccessError::Full)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

fn copied(bytes: &[u8]) -> Result<Vec<u8>, AccessError> {
    let mut buffer = zeros(bytes.len())?;
    buffer.copy_from_slice(bytes);
    Ok(buffer)
}
