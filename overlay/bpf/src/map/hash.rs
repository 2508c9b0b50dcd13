//! Hash tables, plain and with eviction of what was not used lately.
//!
//! A fixed row of buckets, each the head of a chain of entries; all entries are reserved when the map is made. An
//! entry that is deleted goes to a list of free ones and may be given to another key: a program that still holds
//! its value's address then sees or changes the other key's value, as on Linux with preallocation, but never memory
//! outside the map's entries.
//!
//! Changes hold a lock; lookups do not. A lookup that was interrupted by changes may walk into another chain. It
//! notices: each chain ends in a mark that names its bucket, and entries that are free say so.

use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::hasher::Hasher;
use super::lock::TryLock;
use super::storage::{Storage, WORD, copy_in, copy_out, load, load_short, store, words};
use super::{AccessError, MapError, UpdateFlags};

/// Entries looked at to find one to evict: bounds the time of an insertion.
pub(super) const EVICTION_SCAN_MAX: u32 = 64;
/// Times that a lookup starts again after changes came between. The next would have to come between again.
const RETRIES_MAX: u32 = 4;

/// A link is an entry's offset in words, or with this bit the end of a chain, the bucket below it.
const END: u32 = 1 << 31;
/// The end of the free list.
const FREE_END: u32 = u32::MAX;

/// What stands in front of key and value.
#[repr(C)]
struct Header {
    next: AtomicU32,
    live: AtomicU8,
    /// Looked up since the eviction's hand went by.
    referenced: AtomicU8,
    unused: [AtomicU8; 2],
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == WORD);

/// A key in registers if it is short: what is compared and hashed.
#[derive(Clone, Copy)]
enum Key {
    /// Up to 16 bytes.
    Short(u64, u64),
    /// Longer, in memory.
    Long(*const u8),
}

/// Sizes of keys that have their own code.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum KeyClass {
    Four,
    Eight,
    Sixteen,
    Other,
}

impl KeyClass {
    pub(super) const fn of(key_bytes: u32) -> Self {
        match key_bytes {
            4 => Self::Four,
            8 => Self::Eight,
            16 => Self::Sixteen,
            _ => Self::Other,
        }
    }
}

pub(super) struct Hash {
    buckets: Storage,
    bucket_mask: u32,
    entries: Storage,
    /// Words from one entry to the next.
    entry_words: u32,
    entry_count: u32,
    key_bytes: u32,
    value_bytes: u32,
    /// Bytes from an entry's start to its value.
    value_offset: usize,
    class: KeyClass,
    hasher: Hasher,
    /// Whether a full table makes room by itself.
    evicts: bool,
    lock: TryLock,
    /// Head of the free list. This and the next are changed with the lock held.
    free: AtomicU32,
    /// Entry that the eviction looks at next.
    hand: AtomicU32,
    used: AtomicU32,
}

impl Hash {
    pub(super) fn new(
        key_bytes: u32,
        value_bytes: u32,
        entry_count: u32,
        evicts: bool,
        seed: u64,
    ) -> Result<Self, MapError> {
        let value_offset = HEADER_BYTES + words(key_bytes);
        let entry_bytes = value_offset + words(value_bytes);
        let entries_bytes = entry_bytes as u64 * u64::from(entry_count);
        let bucket_count = u64::from(entry_count).next_power_of_two();
        let total = entries_bytes + bucket_count * 4;
        if total > uio_protocol::limits::BPF_MAP_BYTES_MAX {
            return Err(MapError::TooLarge { bytes: total });
        }
        let table = Self {
            buckets: Storage::zeroed(bucket_count * 4)?,
            bucket_mask: (bucket_count - 1) as u32,
            entries: Storage::zeroed(entries_bytes)?,
            entry_words: (entry_bytes / WORD) as u32,
            entry_count,
            key_bytes,
            value_bytes,
            value_offset,
            class: KeyClass::of(key_bytes),
            hasher: Hasher::new(seed),
            evicts,
            lock: TryLock::new(),
            free: AtomicU32::new(0),
            hand: AtomicU32::new(0),
            used: AtomicU32::new(0),
        };
        for bucket in 0..=table.bucket_mask {
            table.bucket(bucket).store(END | bucket, Ordering::Relaxed);
        }
        for index in 0..entry_count {
            let next = if index + 1 < entry_count { (index + 1) * table.entry_words } else { FREE_END };
            table.header(index * table.entry_words).next.store(next, Ordering::Relaxed);
        }
        Ok(table)
    }

    pub(super) const fn class(&self) -> KeyClass {
        self.class
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) const fn entry_count(&self) -> u32 {
        self.entry_count
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.buckets.bytes() + self.entries.bytes()
    }

    fn bucket(&self, bucket: u32) -> &AtomicU32 {
        let address = self.buckets.at((bucket & self.bucket_mask) as usize * 4);
        // SAFETY: inside the row of buckets, aligned, and only ever used as this type.
        unsafe { AtomicU32::from_ptr(address.cast()) }
    }

    /// Address of the entry behind a link. Links are only made of offsets of entries.
    fn entry(&self, link: u32) -> *mut u8 {
        self.entries.at(link as usize * WORD)
    }

    fn header(&self, link: u32) -> &Header {
        // SAFETY: the start of an entry: in storage, aligned to a word, zeroed or used as a header before, and of
        // atomics only.
        unsafe { &*self.entry(link).cast::<Header>() }
    }

    /// Value of the entry behind `link`.
    fn value(&self, link: u32) -> *mut u8 {
        self.entry(link).wrapping_add(self.value_offset)
    }

    /// Whether a short key has more bytes than a word.
    #[inline(always)]
    const fn has_second_word(&self, class: KeyClass) -> bool {
        match class {
            KeyClass::Four | KeyClass::Eight => false,
            KeyClass::Sixteen => true,
            KeyClass::Other => self.key_bytes as usize > WORD,
        }
    }

    /// Takes a key from memory that may be anywhere.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    #[inline(always)]
    unsafe fn read_key(&self, class: KeyClass, key: *const u8) -> Key {
        // SAFETY: as many bytes as the class has, which is the key's size.
        unsafe {
            match class {
                KeyClass::Four => Key::Short(u64::from(key.cast::<u32>().read_unaligned()), 0),
                KeyClass::Eight => Key::Short(key.cast::<u64>().read_unaligned(), 0),
                KeyClass::Sixteen => {
                    Key::Short(key.cast::<u64>().read_unaligned(), key.add(8).cast::<u64>().read_unaligned())
                }
                KeyClass::Other => {
                    let bytes = self.key_bytes as usize;
                    if bytes > 2 * WORD {
                        return Key::Long(key);
                    }
                    let low = load_short(key, bytes.min(WORD));
                    let high = if bytes > WORD { load_short(key.add(WORD), bytes - WORD) } else { 0 };
                    Key::Short(low, high)
                }
            }
        }
    }

    /// The words of a long key in memory, the last filled up with zeros.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size, while the iterator is used.
    #[inline]
    unsafe fn long_words(&self, key: *const u8) -> impl Iterator<Item = u64> {
        let bytes = self.key_bytes as usize;
        (0..bytes.div_ceil(WORD)).map(move |index| {
            let at = index * WORD;
            // SAFETY: inside the key.
            unsafe { load_short(key.add(at), (bytes - at).min(WORD)) }
        })
    }

    /// # Safety
    ///
    /// As [`Self::read_key`], for a long key's memory.
    #[inline(always)]
    unsafe fn hash(&self, key: Key) -> u32 {
        let hash = match key {
            Key::Short(low, high) => self.hasher.pair(low, high),
            Key::Long(key) => {
                // SAFETY: the caller's promise.
                let mut words = unsafe { self.long_words(key) };
                self.hasher.words(core::iter::from_fn(|| {
                    let low = words.next()?;
                    Some((low, words.next().unwrap_or(0)))
                }))
            }
        };
        hash as u32 & self.bucket_mask
    }

    /// Whether the entry behind `link` has this key.
    ///
    /// # Safety
    ///
    /// As [`Self::hash`].
    #[inline(always)]
    unsafe fn key_is(&self, class: KeyClass, link: u32, key: Key) -> bool {
        let stored = self.entry(link).wrapping_add(HEADER_BYTES);
        // SAFETY: a stored key has all its words in storage; the other is the caller's promise.
        unsafe {
            match key {
                Key::Short(low, high) => {
                    load(stored) == low
                        && (!self.has_second_word(class) || load(stored.wrapping_add(WORD)) == high)
                }
                Key::Long(key) => self
                    .long_words(key)
                    .enumerate()
                    .all(|(index, word)| load(stored.wrapping_add(index * WORD)) == word),
            }
        }
    }

    /// The entry with `key`, or `None`.
    ///
    /// # Safety
    ///
    /// As [`Self::hash`], and `class` is this table's, `bucket` the key's.
    #[inline(always)]
    unsafe fn find(&self, class: KeyClass, bucket: u32, key: Key) -> Option<u32> {
        for _ in 0..RETRIES_MAX {
            let mut link = self.bucket(bucket).load(Ordering::Acquire);
            loop {
                if link & END != 0 {
                    if link == END | bucket {
                        return None;
                    }
                    // Ended in another chain.
                    break;
                }
                // SAFETY: the caller's promise; the link is an entry's.
                if unsafe { self.key_is(class, link, key) } {
                    return Some(link);
                }
                let header = self.header(link);
                link = header.next.load(Ordering::Acquire);
                if header.live.load(Ordering::Relaxed) == 0 {
                    break;
                }
            }
        }
        None
    }

    /// The value of `key`, or null.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size, and `class` is this table's.
    #[inline(always)]
    pub(super) unsafe fn lookup(&self, class: KeyClass, key: *const u8) -> *mut u8 {
        // SAFETY: the caller's promise.
        let found = unsafe {
            let key = self.read_key(class, key);
            self.find(class, self.hash(key), key)
        };
        match found {
            None => ptr::null_mut(),
            Some(link) => {
                if self.evicts {
                    self.touch(link);
                }
                self.value(link)
            }
        }
    }

    /// # Safety
    ///
    /// `key` may be read for a key's size.
    unsafe fn find_key(&self, key: *const u8) -> Option<u32> {
        // SAFETY: the caller's promise.
        unsafe {
            let key = self.read_key(self.class, key);
            self.find(self.class, self.hash(key), key)
        }
    }

    /// As [`Self::lookup`], without counting as use.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(super) unsafe fn peek(&self, key: *const u8) -> *mut u8 {
        // SAFETY: the caller's promise.
        match unsafe { self.find_key(key) } {
            None => ptr::null_mut(),
            Some(link) => self.value(link),
        }
    }

    /// Keeps the entry from eviction until the hand comes by again.
    fn touch(&self, link: u32) {
        let referenced = &self.header(link).referenced;
        // Reading first leaves the cache line clean for what is looked up again and again.
        if referenced.load(Ordering::Relaxed) == 0 {
            referenced.store(1, Ordering::Relaxed);
        }
    }

    /// Sets the value of `key`. For a table that holds references, `before` gets a value that is about to go, while
    /// the lock is held.
    ///
    /// # Safety
    ///
    /// `key` and `value` may be read for their sizes.
    pub(super) unsafe fn update(
        &self,
        key: *const u8,
        value: *const u8,
        flags: UpdateFlags,
        before: impl FnOnce(*mut u8),
    ) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        // SAFETY: the caller's promise.
        let (bucket, key, found) = unsafe {
            let key = self.read_key(self.class, key);
            let bucket = self.hash(key);
            (bucket, key, self.find(self.class, bucket, key))
        };
        let bytes = self.value_bytes as usize;
        match (found, flags) {
            (Some(_), UpdateFlags::NoExist) => Err(AccessError::Exists),
            (None, UpdateFlags::Exist) => Err(AccessError::NotFound),
            (Some(link), UpdateFlags::Any | UpdateFlags::Exist) => {
                before(self.value(link));
                // SAFETY: the entry's value has all its words in storage.
                unsafe { copy_in(self.value(link), value, bytes) };
                if self.evicts {
                    self.touch(link);
                }
                Ok(())
            }
            (None, UpdateFlags::Any | UpdateFlags::NoExist) => {
                let link = self.take_free().or_else(|| self.evict()).ok_or(AccessError::Full)?;
                let header = self.header(link);
                // SAFETY: the entry's value has all its words in storage; nothing leads to the entry yet.
                let bucket = unsafe {
                    copy_in(self.value(link), value, bytes);
                    self.store_key(link, bucket, key)
                };
                header.referenced.store(0, Ordering::Relaxed);
                header.live.store(1, Ordering::Relaxed);
                header.next.store(self.bucket(bucket).load(Ordering::Relaxed), Ordering::Relaxed);
                self.bucket(bucket).store(link, Ordering::Release);
                self.used.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Writes the key of a new entry; the bucket that it belongs to.
    ///
    /// # Safety
    ///
    /// As [`Self::hash`].
    unsafe fn store_key(&self, link: u32, bucket: u32, key: Key) -> u32 {
        let stored = self.entry(link).wrapping_add(HEADER_BYTES);
        // SAFETY: the entry's key has all its words in storage; the rest is the caller's promise.
        unsafe {
            match key {
                Key::Short(low, high) => {
                    store(stored, low);
                    if self.has_second_word(self.class) {
                        store(stored.wrapping_add(WORD), high);
                    }
                    bucket
                }
                Key::Long(key) => {
                    // Read a second time, from memory that something else may change meanwhile: what counts is
                    // what is stored, or `unlink` would look in the wrong chain.
                    copy_in(stored, key, self.key_bytes as usize);
                    self.hash(Key::Long(stored))
                }
            }
        }
    }

    /// Removes `key`. For a table that holds references, `before` gets its value while the lock is held.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(super) unsafe fn delete(
        &self,
        key: *const u8,
        before: impl FnOnce(*mut u8),
    ) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        // SAFETY: the caller's promise.
        let link = unsafe { self.find_key(key) }.ok_or(AccessError::NotFound)?;
        before(self.value(link));
        self.unlink(link);
        self.header(link).next.store(self.free.load(Ordering::Relaxed), Ordering::Release);
        self.free.store(link, Ordering::Relaxed);
        Ok(())
    }

    /// Takes an entry out of its chain; the lock is held.
    fn unlink(&self, link: u32) {
        // SAFETY: a stored key may be read.
        let bucket =
            unsafe { self.hash(self.read_key(self.class, self.entry(link).wrapping_add(HEADER_BYTES))) };
        let header = self.header(link);
        let mut previous = self.bucket(bucket);
        // A chain has at most all entries. It is not changed by others meanwhile.
        for _ in 0..self.entry_count {
            let next = previous.load(Ordering::Relaxed);
            if next == link {
                // In this order: a lookup that sees the chain's entry dead would take the chain for changed.
                previous.store(header.next.load(Ordering::Relaxed), Ordering::Release);
                header.live.store(0, Ordering::Release);
                self.used.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            if next & END != 0 {
                break;
            }
            previous = &self.header(next).next;
        }
        debug_assert!(false, "a live entry is in its chain");
    }

    /// Takes an entry off the free list; the lock is held.
    fn take_free(&self) -> Option<u32> {
        let link = self.free.load(Ordering::Relaxed);
        if link == FREE_END {
            return None;
        }
        self.free.store(self.header(link).next.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(link)
    }

    /// Frees the next entry that was not used since the hand passed it, or after some tries the one at hand. The
    /// lock is held and every entry in use.
    fn evict(&self) -> Option<u32> {
        if !self.evicts {
            return None;
        }
        let mut hand = self.hand.load(Ordering::Relaxed);
        let mut victim = hand;
        for _ in 0..=EVICTION_SCAN_MAX {
            victim = hand;
            hand += self.entry_words;
            if hand == self.entry_words * self.entry_count {
                hand = 0;
            }
            if self.header(victim).referenced.swap(0, Ordering::Relaxed) == 0 {
                break;
            }
        }
        self.hand.store(hand, Ordering::Relaxed);
        self.unlink(victim);
        Some(victim)
    }

    /// Copies the entry number `index` if it is in use; whether it is.
    ///
    /// # Safety
    ///
    /// `key` and `value` may be written for their sizes.
    pub(super) unsafe fn copy_entry(
        &self,
        index: u32,
        key: *mut u8,
        value: *mut u8,
    ) -> Result<bool, AccessError> {
        // So that key and value belong together.
        let _held = self.lock.try_lock()?;
        let link = index * self.entry_words;
        if index >= self.entry_count || self.header(link).live.load(Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        // SAFETY: key and value of the entry lie in storage; the caller vouches for the other side.
        unsafe {
            copy_out(key, self.entry(link).wrapping_add(HEADER_BYTES), self.key_bytes as usize);
            copy_out(value, self.value(link), self.value_bytes as usize);
        }
        Ok(true)
    }

    /// The values of all entries in use.
    pub(super) fn live_values(&self) -> impl Iterator<Item = *mut u8> {
        (0..self.entry_count)
            .map(|index| index * self.entry_words)
            .filter(|&link| self.header(link).live.load(Ordering::Relaxed) != 0)
            .map(|link| self.value(link))
    }
}
