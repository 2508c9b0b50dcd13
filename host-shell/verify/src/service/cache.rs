//! A map that forgets what was not asked for longest.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most so many values, of at most so many bytes together.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were asked for.
    order: BTreeMap<u64, K>,
    clock: u64,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, entries_max, bytes_max }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.used);
        self.clock += 1;
        entry.used = self.clock;
        self.order.insert(entry.used, *key);
        Some(&entry.value)
    }

    /// Keeps `value`, which takes `bytes`, unless it is larger than everything may be together.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes > self.bytes_max || self.entries_max == 0 {
            return;
        }
        while self.entries.len() >= self.entries_max || self.bytes > self.bytes_max - bytes {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.order.insert(self.clock, key);
        self.entries.insert(key, Entry { value, bytes, used: self.clock });
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_not_asked_for_longest() {
        let mut cache = Cache::new(2, 100);
        cache.insert(1, "one", 10);
        cache.insert(2, "two", 10);
        assert_eq!(cache.get(&1), Some(&"one"));
        cache.insert(3, "three", 10);
        for (key, expected) in [(1, Some(&"one")), (2, None), (3, Some(&"three"))] {
            assert_eq!(cache.get(&key), expected);
        }
        assert_eq!((cache.len(), cache.bytes()), (2, 20));
    }

    #[test]
    fn keeps_within_its_bytes() {
        let mut cache = Cache::new(10, 100);
        cache.insert(1, (), 60);
        cache.insert(2, (), 40);
        assert_eq!((cache.len(), cache.bytes()), (2, 100));
        cache.insert(3, (), 61);
        assert_eq!((cache.len(), cache.bytes()), (1, 61), "both had to go");
        cache.insert(4, (), 101);
        assert_eq!((cache.len(), cache.bytes()), (1, 61), "too large to keep");
        cache.insert(3, (), 5);
        assert_eq!((cache.len(), cache.bytes()), (1, 5), "replaced");
    }

    #[test]
    fn may_keep_nothing() {
        let mut cache = Cache::new(0, 0);
        cache.insert(1, (), 0);
        assert_eq!(cache.get(&1), None);
    }
}
