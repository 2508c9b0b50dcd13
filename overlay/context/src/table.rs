//! A small map: a vector of pairs in the order in which they came.
//!
//! For tables of at most some hundred entries that are looked at a few times a request. A B-tree of each
//! kind would cost several kilobytes of code in every image.

use alloc::vec::Vec;

/// Values by key.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Copy + PartialEq, V> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.iter().find(|(other, _)| other == key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.iter_mut().find(|(other, _)| other == key).map(|(_, value)| value)
    }

    /// Adds a value, in place of the one under the same key if there is one.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.get_mut(&key) {
            Some(place) => *place = value,
            None => self.entries.push((key, value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.entries.iter().position(|(other, _)| other == key)?;
        Some(self.entries.remove(index).1)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.entries.retain(|(_, value)| keep(value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (*key, value))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn keys_are_unique_and_order_is_kept() {
        let mut table = Table::default();
        for (key, value) in [(3, 'a'), (1, 'b'), (2, 'c'), (1, 'd')] {
            table.insert(key, value);
        }
        assert_eq!(table.iter().collect::<Vec<_>>(), vec![(3, &'a'), (1, &'d'), (2, &'c')]);
        assert_eq!((table.remove(&3), table.remove(&3), table.len()), (Some('a'), None, 2));
        table.retain(|&value| value != 'd');
        assert_eq!((table.get(&1), table.get(&2)), (None, Some(&'c')));
        assert_eq!(table.get_mut(&4), None);
    }
}
