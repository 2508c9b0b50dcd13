//! Which memory a run may use.

use std::ops::Range;

/// A piece of memory that a program came by while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) writable: bool,
    /// Whether it is a record that has to be given back.
    pub(super) record: bool,
    /// Index of the map that it is a value of.
    pub(super) map: u32,
}

/// Whether `bytes` bytes at `address` lie in `range`. Nothing lies anywhere.
pub(super) fn within(range: &Range<u64>, address: u64, bytes: u64) -> bool {
    address >= range.start && address.checked_add(bytes).is_some_and(|end| end <= range.end)
}

impl Region {
    pub(super) fn holds(&self, address: u64, bytes: u64) -> bool {
        within(&(self.start..self.start + self.bytes), address, bytes)
    }
}

/// Bytes of stack that were written since their function began.
#[derive(Clone, Debug)]
pub(super) struct Written {
    range: Range<u64>,
    bytes: Vec<bool>,
}

impl Written {
    pub(super) fn new(range: Range<u64>) -> Self {
        let bytes = vec![false; (range.end - range.start) as usize];
        Self { range, bytes }
    }

    /// Marks `bytes` at `address`, which lie in the stack.
    pub(super) fn set(&mut self, address: u64, bytes: u64, written: bool) {
        let first = address.saturating_sub(self.range.start) as usize;
        if let Some(part) = self.bytes.get_mut(first..first + bytes as usize) {
            part.fill(written);
        }
    }

    /// Whether all of `bytes` at `address` were written.
    pub(super) fn all(&self, address: u64, bytes: u64) -> bool {
        let first = address.saturating_sub(self.range.start) as usize;
        self.bytes.get(first..first + bytes as usize).is_some_and(|part| part.iter().all(|&written| written))
    }
}
