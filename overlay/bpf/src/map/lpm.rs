//! Longest prefix match: a binary trie with whole paths in one node.
//!
//! A key is its prefix length in bits (32 bits, little-endian) and then the data, most significant bit first. A node
//! either holds an entry or has two children, so twice the entries are enough nodes. A lookup makes at most one
//! step for each bit.
//!
//! Changes hold a lock and are published by one store each, so a lookup that interrupts one sees the trie before or
//! after. A lookup that was interrupted itself may end in a node that now means something else; a count of changes
//! tells, and it starts again.

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::lock::TryLock;
use super::storage::{Storage, WORD, copy_in, copy_out, load, load_short, words};
use super::{AccessError, MapError, UpdateFlags};

/// Bytes of the prefix length in front of a key's data.
pub(super) const PREFIX_BYTES: u32 = 4;
/// Bytes of a key's data at most, as on Linux.
pub(super) const DATA_BYTES_MAX: u32 = 256;
/// Times that a lookup starts again after changes came between.
const RETRIES_MAX: u32 = 4;
/// No node, no value: both are numbered from 1.
const NONE: u32 = 0;

/// What stands in front of a node's data.
#[repr(C)]
struct Node {
    children: [AtomicU32; 2],
    /// Bits of the data that count.
    prefix: AtomicU32,
    /// Its value, or [`NONE`] for a node that only branches.
    value: AtomicU32,
}

const NODE_BYTES: usize = size_of::<Node>();

pub(super) struct Lpm {
    nodes: Storage,
    node_stride: usize,
    node_count: u32,
    values: Storage,
    value_stride: usize,
    /// Next free value by value. Not in the values, which programs can still write.
    free_values: Storage,
    data_bytes: usize,
    value_bytes: usize,
    lock: TryLock,
    root: AtomicU32,
    changes: AtomicU32,
    used: AtomicU32,
    /// Heads of the free lists. A free node's first child is the next.
    free_node: AtomicU32,
    free_value: AtomicU32,
}

impl Lpm {
    pub(super) fn new(key_bytes: u32, value_bytes: u32, entries: u32) -> Result<Self, MapError> {
        let data_bytes = key_bytes - PREFIX_BYTES;
        let node_stride = NODE_BYTES + words(data_bytes);
        let value_stride = words(value_bytes);
        let node_count = u64::from(entries) * 2;
        let total = node_count * node_stride as u64 + u64::from(entries) * (value_stride as u64 + 4);
        if total > uio_protocol::limits::BPF_MAP_BYTES_MAX {
            return Err(MapError::TooLarge { bytes: total });
        }
        let trie = Self {
            nodes: Storage::zeroed(node_count * node_stride as u64)?,
            node_stride,
            node_count: node_count as u32,
            values: Storage::zeroed(u64::from(entries) * value_stride as u64)?,
            value_stride,
            free_values: Storage::zeroed(u64::from(entries) * 4)?,
            data_bytes: data_bytes as usize,
            value_bytes: value_bytes as usize,
            lock: TryLock::new(),
            root: AtomicU32::new(NONE),
            changes: AtomicU32::new(0),
            used: AtomicU32::new(0),
            free_node: AtomicU32::new(1),
            free_value: AtomicU32::new(1),
        };
        for number in 1..trie.node_count {
            trie.node(number).children[0].store(number + 1, Ordering::Relaxed);
        }
        for number in 1..entries {
            trie.next_free_value(number).store(number + 1, Ordering::Relaxed);
        }
        Ok(trie)
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) const fn node_count(&self) -> u32 {
        self.node_count
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.nodes.bytes() + self.values.bytes() + self.free_values.bytes()
    }

    fn node_address(&self, number: u32) -> *mut u8 {
        self.nodes.at((number as usize - 1) * self.node_stride)
    }

    fn node(&self, number: u32) -> &Node {
        // SAFETY: nodes are numbered from 1 to their count, aligned to words, and made of atomics only.
        unsafe { &*self.node_address(number).cast::<Node>() }
    }

    fn data(&self, number: u32) -> *mut u8 {
        self.node_address(number).wrapping_add(NODE_BYTES)
    }

    fn value(&self, number: u32) -> *mut u8 {
        self.values.at((number as usize - 1) * self.value_stride)
    }

    fn next_free_value(&self, number: u32) -> &AtomicU32 {
        // SAFETY: values are numbered from 1 to the entries; aligned, only used as this type.
        unsafe { AtomicU32::from_ptr(self.free_values.at((number as usize - 1) * 4).cast()) }
    }

    fn bits(&self) -> u32 {
        self.data_bytes as u32 * 8
    }

    /// Bits that the node and the key have in common from the start, not more than either's prefix.
    fn common(&self, number: u32, key: &Key) -> u32 {
        let limit = self.node(number).prefix.load(Ordering::Relaxed).min(key.prefix);
        let data = self.data(number);
        // SAFETY: a node has a word of data at least.
        let first = (unsafe { load(data) }.to_be() ^ key.first).leading_zeros();
        if limit <= u64::BITS || first < u64::BITS {
            return first.min(limit);
        }
        let mut at = u64::BITS;
        while at < limit {
            let byte = at as usize / 8;
            // SAFETY: `at` is a multiple of a word's bits below the prefix, which is at most the data's bits.
            let difference = unsafe { load(data.add(byte)).to_be() ^ key.word(byte).to_be() };
            if difference != 0 {
                return (at + difference.leading_zeros()).min(limit);
            }
            at += u64::BITS;
        }
        limit
    }

    /// The node with the longest prefix of `key` that has a value.
    fn walk(&self, key: &Key) -> u32 {
        let mut found = NONE;
        let mut number = self.root.load(Ordering::Acquire);
        // Prefixes grow on every path; one that does not has changed meanwhile.
        let mut shortest = 0;
        while number != NONE {
            let node = self.node(number);
            let prefix = node.prefix.load(Ordering::Relaxed);
            let value = node.value.load(Ordering::Relaxed);
            if prefix < shortest || self.common(number, key) < prefix {
                break;
            }
            if value != NONE {
                found = value;
            }
            if prefix >= key.prefix || prefix >= self.bits() {
                break;
            }
            shortest = prefix + 1;
            number = node.children[key.bit(prefix)].load(Ordering::Acquire);
        }
        found
    }

    /// The value of the longest prefix of `key`, or null.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(super) unsafe fn lookup(&self, key: *const u8) -> *mut u8 {
        // SAFETY: the caller's promise.
        let key = unsafe { Key::read(key, self.data_bytes) };
        if key.prefix > self.bits() {
            return ptr::null_mut();
        }
        let mut changes = self.changes.load(Ordering::Acquire);
        let mut found = NONE;
        for _ in 0..RETRIES_MAX {
            found = self.walk(&key);
            let now = self.changes.load(Ordering::Acquire);
            if now == changes {
                break;
            }
            changes = now;
        }
        if found == NONE { ptr::null_mut() } else { self.value(found) }
    }

    /// Counts a change at its start and at its end: a lookup that runs over either starts again.
    fn change(&self) -> Change<'_> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        Change(&self.changes)
    }

    fn take_node(&self) -> Option<u32> {
        let number = self.free_node.load(Ordering::Relaxed);
        if number == NONE {
            return None;
        }
        let node = self.node(number);
        self.free_node.store(node.children[0].load(Ordering::Relaxed), Ordering::Relaxed);
        Some(number)
    }

    fn give_node(&self, number: u32) {
        self.node(number).value.store(NONE, Ordering::Relaxed);
        self.node(number).children[0].store(self.free_node.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free_node.store(number, Ordering::Relaxed);
    }

    fn give_value(&self, number: u32) {
        self.next_free_value(number).store(self.free_value.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free_value.store(number, Ordering::Relaxed);
    }

    /// Fills a node that nothing leads to.
    fn fill(&self, number: u32, key: &Key, prefix: u32, value: u32, children: [u32; 2]) {
        let node = self.node(number);
        node.prefix.store(prefix, Ordering::Relaxed);
        node.value.store(value, Ordering::Relaxed);
        for (slot, child) in node.children.iter().zip(children) {
            slot.store(child, Ordering::Relaxed);
        }
        // SAFETY: a node's data has all its words in storage; the key has as many bytes.
        unsafe { copy_in(self.data(number), key.data, self.data_bytes) };
    }

    /// Where the path of `key` ends: the link there, and the node it leads to.
    fn place(&self, key: &Key) -> (&AtomicU32, u32) {
        let mut link = &self.root;
        loop {
            let number = link.load(Ordering::Relaxed);
            if number == NONE {
                return (link, number);
            }
            let node = self.node(number);
            let prefix = node.prefix.load(Ordering::Relaxed);
            // Prefixes grow on every path, so this ends.
            if prefix >= key.prefix || self.common(number, key) < prefix {
                return (link, number);
            }
            link = &node.children[key.bit(prefix)];
        }
    }

    /// Sets the value of exactly this prefix.
    ///
    /// # Safety
    ///
    /// `key` and `value` may be read for their sizes.
    pub(super) unsafe fn update(
        &self,
        key: *const u8,
        value: *const u8,
        flags: UpdateFlags,
    ) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        let mut copy = [0; DATA_BYTES_MAX as usize];
        // SAFETY: the caller's promise.
        let key = unsafe { Key::copied(key, self.data_bytes, &mut copy) };
        if key.prefix > self.bits() {
            return Err(AccessError::Invalid);
        }
        let (link, number) = self.place(&key);
        let same = number != NONE
            && self.node(number).prefix.load(Ordering::Relaxed) == key.prefix
            && self.common(number, &key) == key.prefix;
        let old = if same { self.node(number).value.load(Ordering::Relaxed) } else { NONE };
        if old != NONE {
            if flags == UpdateFlags::NoExist {
                return Err(AccessError::Exists);
            }
            // SAFETY: a value has all its words in storage; the caller vouches for the new one.
            unsafe { copy_in(self.value(old), value, self.value_bytes) };
            return Ok(());
        }
        if flags == UpdateFlags::Exist {
            return Err(AccessError::NotFound);
        }
        let slot = self.free_value.load(Ordering::Relaxed);
        if slot == NONE {
            return Err(AccessError::Full);
        }
        // SAFETY: as above; nothing leads to the value yet.
        unsafe { copy_in(self.value(slot), value, self.value_bytes) };
        let next = self.next_free_value(slot).load(Ordering::Relaxed);
        let _change = self.change();
        if same {
            self.node(number).value.store(slot, Ordering::Release);
        } else {
            self.insert(&key, slot, link, number)?;
        }
        self.free_value.store(next, Ordering::Relaxed);
        self.used.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Puts a new node for `key` where `link` leads to `number`.
    fn insert(&self, key: &Key, value: u32, link: &AtomicU32, number: u32) -> Result<(), AccessError> {
        // Twice as many nodes as values: as there was a value, there are nodes.
        let new = self.take_node().ok_or(AccessError::Full)?;
        if number == NONE {
            self.fill(new, key, key.prefix, value, [NONE; 2]);
            link.store(new, Ordering::Release);
            return Ok(());
        }
        let common = self.common(number, key);
        // SAFETY: the bit is below the node's prefix.
        let old_bit = || unsafe { bit(self.data(number), common) };
        if common == key.prefix {
            // The new one is a prefix of the old.
            let mut children = [NONE; 2];
            children[old_bit()] = number;
            self.fill(new, key, key.prefix, value, children);
            link.store(new, Ordering::Release);
            return Ok(());
        }
        let Some(branch) = self.take_node() else {
            self.give_node(new);
            return Err(AccessError::Full);
        };
        self.fill(new, key, key.prefix, value, [NONE; 2]);
        let mut children = [new; 2];
        children[old_bit()] = number;
        self.fill(branch, key, common, NONE, children);
        link.store(branch, Ordering::Release);
        Ok(())
    }

    /// Removes exactly this prefix.
    ///
    /// # Safety
    ///
    /// `key` may be read for a key's size.
    pub(super) unsafe fn delete(&self, key: *const u8) -> Result<(), AccessError> {
        let _held = self.lock.try_lock()?;
        let mut copy = [0; DATA_BYTES_MAX as usize];
        // SAFETY: the caller's promise.
        let key = unsafe { Key::copied(key, self.data_bytes, &mut copy) };
        if key.prefix > self.bits() {
            return Err(AccessError::Invalid);
        }
        // The link to the node, and before it the parent and the link to that.
        let mut parent: Option<(&AtomicU32, u32)> = None;
        let mut link = &self.root;
        let number = loop {
            let number = link.load(Ordering::Relaxed);
            if number == NONE {
                return Err(AccessError::NotFound);
            }
            let node = self.node(number);
            let prefix = node.prefix.load(Ordering::Relaxed);
            if prefix > key.prefix || self.common(number, &key) < prefix {
                return Err(AccessError::NotFound);
            }
            if prefix == key.prefix {
                break number;
            }
            parent = Some((link, number));
            link = &node.children[key.bit(prefix)];
        };
        let node = self.node(number);
        let value = node.value.load(Ordering::Relaxed);
        if value == NONE {
            return Err(AccessError::NotFound);
        }
        let _change = self.change();
        let children = [0, 1].map(|side: usize| node.children[side].load(Ordering::Relaxed));
        match children {
            [NONE, NONE] => {
                match parent {
                    Some((parent_link, parent_number))
                        if self.node(parent_number).value.load(Ordering::Relaxed) == NONE =>
                    {
                        // A node that only branches goes with one of its two children.
                        let other = self
                            .node(parent_number)
                            .children
                            .iter()
                            .map(|child| child.load(Ordering::Relaxed))
                            .find(|&child| child != number)
                            .unwrap_or(NONE);
                        parent_link.store(other, Ordering::Release);
                        self.give_node(parent_number);
                    }
                    _ => link.store(NONE, Ordering::Release),
                }
                self.give_node(number);
            }
            [NONE, child] | [child, NONE] => {
                link.store(child, Ordering::Release);
                self.give_node(number);
            }
            _ => node.value.store(NONE, Ordering::Release),
        }
        self.give_value(value);
        self.used.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Copies the entry of node number `index` (from 0) if it has one; whether it has.
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
        let _held = self.lock.try_lock()?;
        if index >= self.node_count {
            return Ok(false);
        }
        let node = self.node(index + 1);
        let slot = node.value.load(Ordering::Relaxed);
        if slot == NONE {
            return Ok(false);
        }
        // SAFETY: node and value lie in storage; the caller vouches for the other side.
        unsafe {
            key.cast::<u32>().write_unaligned(node.prefix.load(Ordering::Relaxed));
            copy_out(key.add(PREFIX_BYTES as usize), self.data(index + 1), self.data_bytes);
            copy_out(value, self.value(slot), self.value_bytes);
        }
        Ok(true)
    }
}

/// See [`Lpm::change`].
struct Change<'a>(&'a AtomicU32);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Bit number `index` of data, the first is the most significant of the first byte.
///
/// # Safety
///
/// The byte with the bit may be read.
unsafe fn bit(data: *const u8, index: u32) -> usize {
    // SAFETY: the caller's promise.
    let byte = unsafe { data.add(index as usize / 8).read() };
    usize::from(byte >> (7 - index % 8) & 1)
}

/// A key outside the trie.
struct Key {
    prefix: u32,
    data: *const u8,
    bytes: usize,
    /// The first word, its first bit the most significant.
    first: u64,
}

impl Key {
    /// # Safety
    ///
    /// `key` may be read for the prefix length and `bytes` as long as the value is used.
    unsafe fn read(key: *const u8, bytes: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(key.cast::<u32>().read_unaligned(), key.add(PREFIX_BYTES as usize), bytes) }
    }

    /// As [`Self::read`], with the data copied: changes read it more than once, and it may lie in memory that
    /// something else changes meanwhile.
    ///
    /// # Safety
    ///
    /// `key` may be read for the prefix length and `bytes`; the copy is used as long as the value.
    unsafe fn copied(key: *const u8, bytes: usize, copy: &mut [u8; DATA_BYTES_MAX as usize]) -> Self {
        // SAFETY: the caller's promise; `bytes` is at most the copy's size.
        unsafe {
            ptr::copy_nonoverlapping(
                key.add(PREFIX_BYTES as usize),
                copy.as_mut_ptr(),
                bytes.min(copy.len()),
            );
            Self::new(key.cast::<u32>().read_unaligned(), copy.as_ptr(), bytes)
        }
    }

    /// # Safety
    ///
    /// `data` may be read for `bytes` as long as the value is used.
    unsafe fn new(prefix: u32, data: *const u8, bytes: usize) -> Self {
        let mut key = Self { prefix, data, bytes, first: 0 };
        key.first = key.word(0).to_be();
        key
    }

    /// The word from `byte` on, filled up with zeros at the end.
    fn word(&self, byte: usize) -> u64 {
        let length = (self.bytes - byte).min(WORD);
        // SAFETY: inside the data, at least one byte.
        unsafe { load_short(self.data.add(byte), length) }
    }

    fn bit(&self, index: u32) -> usize {
        if index < u64::BITS {
            return (self.first >> (u64::BITS - 1 - index) & 1) as usize;
        }
        // SAFETY: asked for bits below the prefix length only, which is at most the data's bits.
        unsafe { bit(self.data, index) }
    }
}
