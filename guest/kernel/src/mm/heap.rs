//! The heap: rlsf's TLSF over chunks of frames, seen through the direct map.
//!
//! TLSF bounds the time of every operation, so interrupts may be off for it; and its blocks can be enumerated,
//! which is what `mem` and the leak finder read.

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use rlsf::Tlsf;
use uio_protocol::inspect::HeapSummary;

use super::{PAGE_BYTES, PhysicalAddress, frames};
use crate::sync::InterruptLock;

/// Size classes: 28 powers of two from 32 bytes, 16 steps in each. Blocks up to 4 GiB.
type Classes = Tlsf<'static, u32, u16, 28, 16>;

/// Least that the heap takes at a time, in frames: 256 KiB.
const CHUNK_FRAMES: usize = 64;
/// Chunks that the heap can consist of. Each is at least as large as the whole heap before it, beyond
/// the first few, so this bounds nothing in practice.
const CHUNKS_MAX: usize = 512;
/// TLSF's header before each block.
const BLOCK_HEADER_BYTES: u64 = rlsf::GRANULARITY as u64 / 2;
/// What TLSF needs beside the block itself: its headers and the rounding to a size class (1/16).
const OVERHEAD_BYTES: usize = 256;

#[derive(Clone, Copy)]
struct Chunk {
    start: u64,
    bytes: usize,
}

struct Heap {
    tlsf: Classes,
    chunks: [Chunk; CHUNKS_MAX],
    chunk_count: usize,
    allocations: u64,
}

static HEAP: InterruptLock<Heap> = InterruptLock::new(Heap {
    tlsf: Tlsf::new(),
    chunks: [Chunk { start: 0, bytes: 0 }; CHUNKS_MAX],
    chunk_count: 0,
    allocations: 0,
});

impl Heap {
    /// Takes frames for a block of `layout`. Grows by a sixteenth of what there is, so that the number of
    /// chunks stays small.
    fn grow(&mut self, layout: Layout) -> Option<()> {
        if self.chunk_count == CHUNKS_MAX {
            return None;
        }
        let needed = layout.size() + layout.size() / 16 + layout.align() + OVERHEAD_BYTES;
        let grown = self.chunks[..self.chunk_count].iter().map(|chunk| chunk.bytes).sum::<usize>() / 16;
        let least = needed.div_ceil(PAGE_BYTES as usize);
        let wanted = least.max(grown / PAGE_BYTES as usize).max(CHUNK_FRAMES);
        let (start, count) = match frames::allocate(wanted) {
            Ok(start) => (start, wanted),
            Err(_) => (frames::allocate(least).ok()?, least),
        };
        let PhysicalAddress(physical) = start;
        let bytes = count * PAGE_BYTES as usize;
        let address = PhysicalAddress(physical).direct();
        let block = NonNull::slice_from_raw_parts(NonNull::new(address as *mut u8)?, bytes);
        // SAFETY: the frames were just allocated, are seen writable through the direct map and never freed.
        unsafe { self.tlsf.insert_free_block_ptr(block)? };
        // Kept in the order of addresses: that is the order in which blocks are enumerated.
        let place = self.chunks[..self.chunk_count].partition_point(|chunk| chunk.start < address);
        self.chunks.copy_within(place..self.chunk_count, place + 1);
        self.chunks[place] = Chunk { start: address, bytes };
        self.chunk_count += 1;
        Some(())
    }
}

/// The allocator behind `alloc`, see [`crate::runtime`].
#[derive(Debug)]
pub struct KernelHeap;

// SAFETY: TLSF hands out disjoint blocks of at least the size and alignment asked for; the lock makes each operation
// atomic on the one CPU.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.with(|heap| {
            let block = heap.tlsf.allocate(layout).or_else(|| {
                heap.grow(layout)?;
                heap.tlsf.allocate(layout)
            });
            heap.allocations += u64::from(block.is_some());
            block.map_or(core::ptr::null_mut(), NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(pointer) {
            // SAFETY: by the contract of `dealloc` the block came from `alloc` with this alignment.
            HEAP.with(|heap| unsafe { heap.tlsf.deallocate(block, layout.align()) });
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some(block), Ok(new)) =
            (NonNull::new(pointer), Layout::from_size_align(new_size, layout.align()))
        else {
            return core::ptr::null_mut();
        };
        HEAP.with(|heap| {
            // SAFETY: by the contract of `realloc` the block came from `alloc` with this alignment.
            let grown = unsafe { heap.tlsf.reallocate(block, new) }.or_else(|| {
                heap.grow(new)?;
                // SAFETY: the block is still the old one: a failed reallocation leaves it.
                unsafe { heap.tlsf.reallocate(block, new) }
            });
            grown.map_or(core::ptr::null_mut(), NonNull::as_ptr)
        })
    }
}

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First byte that its owner may use.
    pub start: u64,
    /// Bytes, rounding and padding included.
    pub bytes: u64,
}

/// Calls `visit` for live blocks from address `from` on, in the order of their addresses, until it returns false.
///
/// Interrupts are off meanwhile: `visit` has to be short and bounded.
pub fn blocks(from: u64, mut visit: impl FnMut(Block) -> bool) {
    HEAP.with(|heap| {
        for chunk in
            heap.chunks[..heap.chunk_count].iter().filter(|chunk| chunk.start + chunk.bytes as u64 > from)
        {
            for (block, occupied) in walk(heap, *chunk) {
                if occupied && block.start >= from && !visit(block) {
                    return;
                }
            }
        }
    });
}

fn walk(heap: &Heap, chunk: Chunk) -> impl Iterator<Item = (Block, bool)> {
    let pool = NonNull::slice_from_raw_parts(NonNull::without_provenance(chunk_address(chunk)), chunk.bytes);
    // SAFETY: the pool is one that `grow` inserted, unchanged since.
    unsafe { heap.tlsf.iter_blocks(pool) }.map(|info| {
        let start = info.as_ptr().as_ptr().cast::<u8>() as u64 + BLOCK_HEADER_BYTES;
        (Block { start, bytes: info.max_payload_size() as u64 }, info.is_occupied())
    })
}

fn chunk_address(chunk: Chunk) -> core::num::NonZeroUsize {
    core::num::NonZeroUsize::new(chunk.start as usize).unwrap_or(core::num::NonZeroUsize::MIN)
}

/// Counts blocks and bytes.
#[must_use]
pub fn summary() -> HeapSummary {
    HEAP.with(|heap| {
        let mut summary = HeapSummary { allocations: heap.allocations, ..HeapSummary::default() };
        for chunk in &heap.chunks[..heap.chunk_count] {
            summary.reserved_bytes += chunk.bytes as u64;
            for (block, occupied) in walk(heap, *chunk) {
                if occupied {
                    summary.used_bytes += block.bytes;
                    summary.used_blocks += 1;
                } else {
                    summary.largest_free_bytes = summary.largest_free_bytes.max(block.bytes);
                }
            }
        }
        summary
    })
}

/// Whether an address lies in memory that the heap has taken.
#[must_use]
pub fn contains(address: u64) -> bool {
    HEAP.with(|heap| {
        let chunks = &heap.chunks[..heap.chunk_count];
        chunks.iter().any(|chunk| (chunk.start..chunk.start + chunk.bytes as u64).contains(&address))
    })
}

/// The chunks of the heap, for `mem`: start and bytes.
#[must_use]
pub fn chunks() -> Vec<(u64, u64)> {
    // Room is made before the heap is locked: it cannot grow meanwhile.
    let mut chunks = Vec::with_capacity(CHUNKS_MAX);
    HEAP.with(|heap| {
        chunks.extend(heap.chunks[..heap.chunk_count].iter().map(|chunk| (chunk.start, chunk.bytes as u64)));
    });
    chunks
}
