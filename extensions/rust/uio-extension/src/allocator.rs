//! The extension's own heap behind `alloc`.

use core::alloc::{GlobalAlloc, Layout};

use crate::raw;

/// Every block is a block of the guest's books about this extension.
struct ExtensionHeap;

// SAFETY: the guest hands out disjoint blocks of at least the size and with the alignment asked for, and they stay until they
// are freed or the extension is unloaded. A zero-sized layout never comes here.
unsafe impl GlobalAlloc for ExtensionHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment of a layout is a power of two.
        unsafe { raw::uio_alloc(layout.size(), layout.align()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: by the contract of `dealloc` the block is a live one of `alloc`.
        unsafe { raw::uio_free(block.cast()) }
    }
}

#[global_allocator]
static HEAP: ExtensionHeap = ExtensionHeap;
