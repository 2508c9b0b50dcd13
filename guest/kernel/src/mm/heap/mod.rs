//! The heap: talc over chunks of frames, seen through the direct map.
//!
//! talc finds room in bounded time by size class, so interrupts may be off for it. Live blocks are also noted in
//! [`block_map`], for `mem` and the leak finder to enumerate.

mod block_map;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use block_map::{BlockMap, words};
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::Manual;
use uio_protocol::inspect::HeapSummary;

use super::{PAGE_BYTES, frames};
use crate::sync::InterruptLock;

/// Least that the heap takes at a time, in frames: 256 KiB.
const CHUNK_FRAMES: usize = 64;
/// Chunks that the heap can consist of. Beyond the first few each is a sixteenth of the heap before it, so this bounds
/// nothing in practice.
const CHUNKS_MAX: usize = 512;
/// What a chunk needs beside the block that it is taken for: talc's headers and, in the first, its lists.
const OVERHEAD_BYTES: usize = 8 * 1024;

/// Frames of the heap: first the block maps, then the pool.
#[derive(Clone, Copy)]
struct Chunk {
    start: u64,
    /// First byte of the pool.
    pool: u64,
    end: u64,
}

impl Chunk {
    fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The maps of its blocks.
    ///
    /// # Safety
    ///
    /// The heap is locked, and no other reference to the maps lives.
    unsafe fn map(&self) -> BlockMap<'static> {
        let words = words(self.end - self.pool);
        let starts = self.start as *mut u64;
        // SAFETY: `grow` put two maps of this size at the start of the chunk, zeroed; nobody else refers to them.
        unsafe {
            BlockMap {
                starts: core::slice::from_raw_parts_mut(starts, words),
                ends: core::slice::from_raw_parts_mut(starts.add(words), words),
            }
        }
    }
}

struct Heap {
    talc: Talc<Manual, DefaultBinning>,
    /// In the order of their addresses.
    chunks: [Chunk; CHUNKS_MAX],
    chunk_count: usize,
    allocations: u64,
}

static HEAP: InterruptLock<Heap> = InterruptLock::new(Heap {
    talc: Talc::new(Manual),
    chunks: [Chunk { start: 0, pool: 0, end: 0 }; CHUNKS_MAX],
    chunk_count: 0,
    allocations: 0,
});

impl Heap {
    fn chunks(&self) -> &[Chunk] {
        &self.chunks[..self.chunk_count]
    }

    /// Takes frames for a block of `layout`. Grows by a sixteenth of what there is, so that the number of
    /// chunks stays small.
    fn grow(&mut self, layout: Layout) -> Option<()> {
        if self.chunk_count == CHUNKS_MAX {
            return None;
        }
        let page = PAGE_BYTES as usize;
        let block = layout.size().checked_add(layout.align())?;
        let needed = block.checked_add(block / 64)?.checked_add(OVERHEAD_BYTES)?;
        let grown = self.chunks().iter().map(|chunk| (chunk.end - chunk.start) as usize).sum::<usize>() / 16;
        let least = needed.div_ceil(page);
        let wanted = least.max(grown / page).max(CHUNK_FRAMES);
        let (frames, count) = match frames::allocate(wanted) {
            Ok(frames) => (frames, wanted),
            Err(_) => (frames::allocate(least).ok()?, least),
        };
        let (start, end) = (frames.direct(), frames.direct() + count as u64 * PAGE_BYTES);
        let map_bytes = 2 * 8 * words(end - start) as u64;
        let pool = (start + map_bytes).next_multiple_of(block_map::GRANULE_BYTES);
        // SAFETY: the frames were just allocated, are seen writable through the direct map and never freed: the head
        // becomes the maps, the rest talc's.
        unsafe {
            core::ptr::write_bytes(start as *mut u8, 0, map_bytes as usize);
            self.talc.claim(pool as *mut u8, (end - pool) as usize)?;
        }
        let place = self.chunks().partition_point(|chunk| chunk.start < start);
        self.chunks.copy_within(place..self.chunk_count, place + 1);
        self.chunks[place] = Chunk { start, pool, end };
        self.chunk_count += 1;
        Some(())
    }

    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: `layout` has a size, see `KernelHeap`.
        let block = unsafe { self.talc.try_allocate(layout) }.or_else(|| {
            self.grow(layout)?;
            // SAFETY: likewise.
            unsafe { self.talc.try_allocate(layout) }
        })?;
        self.allocations += 1;
        self.toggle(block.as_ptr() as u64, layout.size());
        Some(block)
    }

    /// Notes in the maps that a block has come to life or died.
    fn toggle(&mut self, address: u64, bytes: usize) {
        let place = self.chunks().partition_point(|chunk| chunk.start <= address);
        if let Some(chunk) = place.checked_sub(1).and_then(|place| self.chunks().get(place)) {
            // SAFETY: the heap is locked, or there would be no `self`; the reference ends here.
            unsafe { chunk.map() }.toggle(address - chunk.pool, bytes);
        }
    }
}

/// The allocator behind `alloc`, see [`crate::runtime`].
#[derive(Debug)]
pub struct KernelHeap;

// SAFETY: talc hands out disjoint blocks of at least the size and alignment asked for; the lock makes each operation
// atomic on the one CPU. By the contract of the trait no layout has size zero, and blocks that come back came from here.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.with(|heap| heap.allocate(layout)).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.with(|heap| {
            heap.toggle(pointer as u64, layout.size());
            // SAFETY: the caller's contract.
            unsafe { heap.talc.deallocate(pointer, layout) };
        });
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        HEAP.with(|heap| {
            // SAFETY: the caller's contract.
            if unsafe { heap.talc.try_realloc_in_place(pointer, layout, new_size) } {
                heap.toggle(pointer as u64, layout.size());
                heap.toggle(pointer as u64, new_size);
                return pointer;
            }
            let Some(block) = Layout::from_size_align(new_size, layout.align())
                .ok()
                .and_then(|layout| heap.allocate(layout))
            else {
                return core::ptr::null_mut();
            };
            heap.toggle(pointer as u64, layout.size());
            // SAFETY: two different live blocks, each at least as large as what is copied; then the old one is freed once.
            unsafe {
                core::ptr::copy_nonoverlapping(pointer, block.as_ptr(), layout.size().min(new_size));
                heap.talc.deallocate(pointer, layout);
            }
            block.as_ptr()
        })
    }
}

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First byte.
    pub start: u64,
    /// Bytes, rounded up to the allocator's granule.
    pub bytes: u64,
}

impl Heap {
    /// Live blocks from address `from` on, in the order of their addresses.
    fn blocks(&self, from: u64) -> impl Iterator<Item = Block> {
        self.chunks().iter().filter(move |chunk| chunk.end > from).flat_map(move |chunk| {
            // SAFETY: the heap is locked, or there would be no `self`; the iterator ends before it is unlocked.
            let map = unsafe { chunk.map() };
            let pool = chunk.pool;
            let mut offset = from.saturating_sub(pool);
            core::iter::from_fn(move || {
                let (start, bytes) = map.next(offset)?;
                offset = start + bytes;
                Some(Block { start: pool + start, bytes })
            })
        })
    }
}

/// Calls `visit` for live blocks from address `from` on, in the order of their addresses, until it returns false.
///
/// Interrupts are off meanwhile: `visit` has to be short and bounded, and must not allocate.
pub fn blocks(from: u64, mut visit: impl FnMut(Block) -> bool) {
    HEAP.with(|heap| {
        let _all = heap.blocks(from).all(&mut visit);
    });
}

/// Counts blocks and bytes.
#[must_use]
pub fn summary() -> HeapSummary {
    HEAP.with(|heap| {
        let mut summary = HeapSummary { allocations: heap.allocations, ..HeapSummary::default() };
        summary.reserved_bytes = heap.chunks().iter().map(|chunk| chunk.end - chunk.start).sum();
        for chunk in heap.chunks() {
            let mut gap_start = chunk.pool;
            for block in heap.blocks(chunk.pool).take_while(|block| block.start < chunk.end) {
                summary.used_bytes += block.bytes;
                summary.used_blocks += 1;
                summary.largest_free_bytes = summary.largest_free_bytes.max(block.start - gap_start);
                gap_start = block.start + block.bytes;
            }
            summary.largest_free_bytes = summary.largest_free_bytes.max(chunk.end - gap_start);
        }
        summary
    })
}

/// Whether an address lies in memory that the heap has taken.
#[must_use]
pub fn contains(address: u64) -> bool {
    HEAP.with(|heap| heap.chunks().iter().any(|chunk| chunk.contains(address)))
}

/// The chunks of the heap, for `mem`: start and bytes.
#[must_use]
pub fn chunks() -> Vec<(u64, u64)> {
    // Room is made before the heap is locked: it cannot grow meanwhile.
    let mut chunks = Vec::with_capacity(CHUNKS_MAX);
    HEAP.with(|heap| chunks.extend(heap.chunks().iter().map(|chunk| (chunk.start, chunk.end - chunk.start))));
    chunks
}
