//! Memory that programs write behind the compiler's back.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr;

/// Bytes without references to them: programs hold their addresses.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: *mut u8,
    layout: Layout,
    bytes: usize,
}

// SAFETY: the memory is this value's alone while no program runs on it.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Aligned as anything that programs access atomically.
    const ALIGN: usize = 16;

    pub(crate) fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), Self::ALIGN).unwrap_or(Layout::new::<u128>());
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, layout, bytes: bytes.min(layout.size()) }
    }

    pub(crate) fn address(&self) -> u64 {
        self.start.expose_provenance() as u64
    }

    /// Writes `bytes` at `offset`; what would lie behind the end is left out.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let count = bytes.len().min(self.bytes.saturating_sub(offset));
        // SAFETY: inside the allocation by the line above; `offset` is in it if there is anything to write.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.wrapping_add(offset), count) };
    }

    /// `count` bytes at `offset`, as far as there are.
    pub(crate) fn read(&self, offset: usize, count: usize) -> Vec<u8> {
        let count = count.min(self.bytes.saturating_sub(offset));
        let mut bytes = vec![0; count];
        // SAFETY: inside the allocation by the line above.
        unsafe { ptr::copy_nonoverlapping(self.start.wrapping_add(offset), bytes.as_mut_ptr(), count) };
        bytes
    }

    /// The 64-bit number at `offset`; 0 behind the end.
    pub(crate) fn word(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.read(offset, 8)) {
            *to = from;
        }
        u64::from_le_bytes(bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}
