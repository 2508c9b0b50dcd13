//! The heap of one extension, with its bookkeeping out of the extension's reach.
//!
//! Blocks lie in pages that the extension may write; which of them are allocated is written down
//! here, in the kernel's memory. So an extension that overruns a block spoils its own data only, and
//! a pointer that is freed twice, or was never handed out, is told apart exactly.
//!
//! A page is free, cut into equal blocks of one size class with a bitmap, or part of a run of pages
//! that forms one block. Pages come in regions, which stay until the heap goes.

use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;

use crate::platform::PAGE_BYTES;

/// Block sizes below a page run, in bytes. Powers of two are aligned to themselves; the sizes between
/// them to 16 and keep the waste under a third.
const CLASSES: [u16; 14] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];

/// Largest block of a size class.
const SMALL_BYTES_MAX: u64 = 2048;

/// Blocks of 16 bytes in a page: the bits of the bitmap.
const SLOTS_MAX: usize = 256;

/// Smallest growth in pages: 64 KiB, so that small extensions map once.
const GROWTH_PAGES_MIN: u32 = 16;

/// Largest growth in pages that doubling reaches: 1 MiB, which bounds what a heap wastes.
const GROWTH_PAGES_MAX: u32 = 256;

/// What an allocation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// The block.
    Block(GuestAddress),
    /// The heap needs this many fresh pages: pass them to [`Heap::add_region`] and try again, or give
    /// the reservation back with [`Heap::cancel_growth`].
    Grow(u32),
    /// The heap's limit would be passed, or no page has the alignment.
    Exhausted,
}

/// A pointer that is not an allocated block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFree(pub GuestAddress);

/// The heap of one extension.
#[derive(Debug)]
pub struct Heap {
    regions: Vec<HeapRegion>,
    /// Pages with free blocks, by class.
    partial: [Vec<PageIndex>; CLASSES.len()],
    pages_limit: u32,
    /// Pages in regions and on their way.
    pages: u32,
    live_bytes: u64,
    live_blocks: u64,
}

#[derive(Debug)]
struct HeapRegion {
    base: GuestAddress,
    pages: Vec<Page>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageIndex {
    region: u32,
    page: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    Free,
    Small(SmallPage),
    /// First page of a block of `pages` pages.
    Head {
        pages: u32,
    },
    Tail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SmallPage {
    class: u8,
    /// Bit `n` of the whole: block `n` is allocated.
    allocated: [u64; SLOTS_MAX / 64],
}

impl SmallPage {
    fn slots(&self) -> usize {
        PAGE_BYTES as usize / usize::from(CLASSES[usize::from(self.class)])
    }

    fn take(&mut self) -> Option<usize> {
        let slots = self.slots();
        for (index, word) in self.allocated.iter_mut().enumerate() {
            let slot = index * 64 + word.trailing_ones() as usize;
            if *word != u64::MAX && slot < slots {
                *word |= 1 << (slot % 64);
                return Some(slot);
            }
        }
        None
    }

    fn release(&mut self, slot: usize) -> bool {
        let bit = 1 << (slot % 64);
        let was = self.allocated[slot / 64] & bit != 0;
        self.allocated[slot / 64] &= !bit;
        was
    }

    fn used(&self) -> usize {
        self.allocated.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl Heap {
    /// An empty heap that may grow to `bytes_limit` bytes.
    #[must_use]
    pub fn new(bytes_limit: usize) -> Self {
        let pages_limit = u32::try_from(bytes_limit as u64 / PAGE_BYTES).unwrap_or(u32::MAX);
        Self {
            regions: Vec::new(),
            partial: [const { Vec::new() }; CLASSES.len()],
            pages_limit,
            pages: 0,
            live_bytes: 0,
            live_blocks: 0,
        }
    }

    /// Takes a block of `size` bytes (at least one) at a multiple of `alignment`, a power of two.
    pub fn allocate(&mut self, size: u64, alignment: u64) -> Allocation {
        if alignment > PAGE_BYTES || !alignment.is_power_of_two() {
            return Allocation::Exhausted;
        }
        let size = size.max(1);
        if let Some(class) = class_for(size, alignment) {
            return self.allocate_small(class);
        }
        match u32::try_from(size.div_ceil(PAGE_BYTES)) {
            Ok(pages) => self.allocate_pages(pages),
            Err(_) => Allocation::Exhausted,
        }
    }

    fn allocate_small(&mut self, class: usize) -> Allocation {
        let index = match self.partial[class].last() {
            Some(&index) => index,
            None => match self.find_free(1) {
                Some(index) => {
                    let class_byte = u8::try_from(class).unwrap_or(u8::MAX);
                    *self.page_mut(index) =
                        Page::Small(SmallPage { class: class_byte, allocated: [0; SLOTS_MAX / 64] });
                    self.partial[class].push(index);
                    index
                }
                None => return self.grow(1),
            },
        };
        let base = self.address(index);
        let Page::Small(page) = self.page_mut(index) else {
            return Allocation::Exhausted; // not reached: `partial` lists small pages only
        };
        let Some(slot) = page.take() else {
            return Allocation::Exhausted; // not reached: and only those with a free block
        };
        if page.used() == page.slots() {
            self.partial[class].pop();
        }
        let block_bytes = u64::from(CLASSES[class]);
        self.live_bytes += block_bytes;
        self.live_blocks += 1;
        Allocation::Block(GuestAddress(base.0 + slot as u64 * block_bytes))
    }

    fn allocate_pages(&mut self, pages: u32) -> Allocation {
        let Some(index) = self.find_free(pages) else { return self.grow(pages) };
        let run = &mut self.regions[index.region as usize].pages[index.page as usize..][..pages as usize];
        run.fill(Page::Tail);
        run[0] = Page::Head { pages };
        self.live_bytes += u64::from(pages) * PAGE_BYTES;
        self.live_blocks += 1;
        Allocation::Block(self.address(index))
    }

    /// First run of free pages, by address within a region, regions in the order they came.
    fn find_free(&self, pages: u32) -> Option<PageIndex> {
        for (region_index, region) in self.regions.iter().enumerate() {
            let mut run = 0;
            for (page_index, page) in region.pages.iter().enumerate() {
                run = if *page == Page::Free { run + 1 } else { 0 };
                if run == pages {
                    return Some(PageIndex {
                        region: region_index as u32,
                        page: page_index as u32 + 1 - pages,
                    });
                }
            }
        }
        None
    }

    fn grow(&mut self, needed: u32) -> Allocation {
        let room = self.pages_limit - self.pages;
        if needed > room {
            return Allocation::Exhausted;
        }
        let wish = self.pages.clamp(GROWTH_PAGES_MIN, GROWTH_PAGES_MAX);
        let pages = needed.max(wish).min(room);
        self.pages += pages;
        Allocation::Grow(pages)
    }

    /// Gives the heap the pages that [`Allocation::Grow`] asked for.
    pub fn add_region(&mut self, base: GuestAddress, pages: u32) {
        self.regions.push(HeapRegion { base, pages: vec![Page::Free; pages as usize] });
    }

    /// Tells that the pages that [`Allocation::Grow`] asked for do not come.
    pub fn cancel_growth(&mut self, pages: u32) {
        self.pages = self.pages.saturating_sub(pages);
    }

    /// Gives a block back. Returns its size in bytes, rounded up as it was handed out.
    ///
    /// # Errors
    ///
    /// [`BadFree`] if `address` is not the first byte of an allocated block.
    pub fn free(&mut self, address: GuestAddress) -> Result<u64, BadFree> {
        let (index, offset) = self.find_page(address).ok_or(BadFree(address))?;
        let freed = match self.page_mut(index) {
            Page::Head { pages } if offset == 0 => {
                let pages = *pages;
                self.regions[index.region as usize].pages[index.page as usize..][..pages as usize]
                    .fill(Page::Free);
                u64::from(pages) * PAGE_BYTES
            }
            Page::Small(page) => {
                let class = usize::from(page.class);
                let block_bytes = u64::from(CLASSES[class]);
                let slot = (offset / block_bytes) as usize;
                let full = page.used() == page.slots();
                if !offset.is_multiple_of(block_bytes) || slot >= page.slots() || !page.release(slot) {
                    return Err(BadFree(address));
                }
                if page.used() == 0 {
                    *self.page_mut(index) = Page::Free;
                    self.partial[class].retain(|&listed| listed != index);
                } else if full {
                    self.partial[class].push(index);
                }
                block_bytes
            }
            Page::Free | Page::Head { .. } | Page::Tail => return Err(BadFree(address)),
        };
        self.live_bytes -= freed;
        self.live_blocks -= 1;
        Ok(freed)
    }

    /// Bytes of the pages that the heap holds.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES
    }

    /// Bytes in allocated blocks.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Allocated blocks.
    #[must_use]
    pub fn live_blocks(&self) -> u64 {
        self.live_blocks
    }

    /// First page and number of pages of every region.
    pub fn regions(&self) -> impl Iterator<Item = (GuestAddress, u32)> + '_ {
        self.regions.iter().map(|region| (region.base, region.pages.len() as u32))
    }

    fn find_page(&self, address: GuestAddress) -> Option<(PageIndex, u64)> {
        self.regions.iter().enumerate().find_map(|(region_index, region)| {
            let offset = address.offset_from(region.base)?;
            let page = offset / PAGE_BYTES;
            (page < region.pages.len() as u64).then_some((
                PageIndex { region: region_index as u32, page: page as u32 },
                offset % PAGE_BYTES,
            ))
        })
    }

    fn page_mut(&mut self, index: PageIndex) -> &mut Page {
        &mut self.regions[index.region as usize].pages[index.page as usize]
    }

    fn address(&self, index: PageIndex) -> GuestAddress {
        let base = self.regions[index.region as usize].base;
        GuestAddress(base.0 + u64::from(index.page) * PAGE_BYTES)
    }
}

/// The smallest class whose blocks have the size and the alignment.
fn class_for(size: u64, alignment: u64) -> Option<usize> {
    if size > SMALL_BYTES_MAX || alignment > SMALL_BYTES_MAX {
        return None;
    }
    CLASSES.iter().position(|&class| {
        let class = u64::from(class);
        class >= size && (alignment <= 16 || class.is_multiple_of(alignment))
    })
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A heap over made-up addresses: nothing is ever stored in the blocks.
    struct Arena {
        heap: Heap,
        next: u64,
    }

    impl Arena {
        fn new(limit: usize) -> Self {
            Self { heap: Heap::new(limit), next: 0xffff_ffff_c000_0000 }
        }

        fn allocate(&mut self, size: u64, alignment: u64) -> Option<GuestAddress> {
            loop {
                match self.heap.allocate(size, alignment) {
                    Allocation::Block(address) => return Some(address),
                    Allocation::Exhausted => return None,
                    Allocation::Grow(pages) => {
                        self.heap.add_region(GuestAddress(self.next), pages);
                        // A gap, so that a block across two regions would show.
                        self.next += u64::from(pages + 1) * PAGE_BYTES;
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_is_freed_once() {
        let mut arena = Arena::new(1 << 20);
        let block = arena.allocate(24, 8).unwrap();
        assert_eq!(arena.heap.free(block), Ok(32));
        assert_eq!(arena.heap.free(block), Err(BadFree(block)));
        let large = arena.allocate(10_000, 8).unwrap();
        assert_eq!(
            arena.heap.free(GuestAddress(large.0 + PAGE_BYTES)),
            Err(BadFree(GuestAddress(large.0 + PAGE_BYTES)))
        );
        assert_eq!(arena.heap.free(large), Ok(3 * PAGE_BYTES));
        assert_eq!(arena.heap.free(large), Err(BadFree(large)));
        assert_eq!((arena.heap.live_bytes(), arena.heap.live_blocks()), (0, 0));
    }

    #[test]
    fn pointers_that_were_never_handed_out_are_refused() {
        let mut arena = Arena::new(1 << 20);
        let block = arena.allocate(48, 16).unwrap();
        for stray in [0, 1, block.0 + 1, block.0 + 16, block.0 + 48, block.0 - 1, u64::MAX] {
            assert_eq!(arena.heap.free(GuestAddress(stray)), Err(BadFree(GuestAddress(stray))));
        }
        // 85 blocks of 48 bytes fit a page; the 16 bytes after them are no block.
        let rest = block.0 - block.0 % PAGE_BYTES + 85 * 48;
        assert_eq!(arena.heap.free(GuestAddress(rest)), Err(BadFree(GuestAddress(rest))));
    }

    #[test]
    fn the_limit_holds_and_freed_pages_serve_again() {
        let mut arena = Arena::new(64 * 4096);
        let blocks: Vec<_> = core::iter::from_fn(|| arena.allocate(4096, 16)).collect();
        assert_eq!(blocks.len(), 64);
        assert_eq!(arena.heap.reserved_bytes(), 64 * 4096);
        assert_eq!(arena.allocate(1, 1), None);
        arena.heap.free(blocks[7]).unwrap();
        assert_eq!(arena.allocate(2048, 2048), Some(blocks[7]));
        assert_eq!(arena.heap.allocate(u64::MAX, 1), Allocation::Exhausted);
        assert_eq!(arena.heap.allocate(1, 8192), Allocation::Exhausted);
        assert_eq!(arena.heap.allocate(1, 3), Allocation::Exhausted);
    }

    #[test]
    fn growth_that_does_not_come_is_given_back() {
        let mut heap = Heap::new(16 * 4096);
        assert_eq!(heap.allocate(100, 8), Allocation::Grow(16));
        assert_eq!(heap.allocate(100, 8), Allocation::Exhausted, "the limit counts what is on its way");
        heap.cancel_growth(16);
        assert_eq!(heap.allocate(100, 8), Allocation::Grow(16));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate { size: u64, alignment_log2: u32 },
        Free { which: prop::sample::Index },
        FreeStray { which: prop::sample::Index, offset: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![4 => 0..300u64, 2 => 0..5000u64, 1 => 0..40_000u64];
        prop_oneof![
            3 => (size, 0..13u32).prop_map(|(size, alignment_log2)| Step::Allocate { size, alignment_log2 }),
            2 => any::<prop::sample::Index>().prop_map(|which| Step::Free { which }),
            1 => (any::<prop::sample::Index>(), 1..5000u64).prop_map(|(which, offset)| Step::FreeStray { which, offset }),
        ]
    }

    proptest! {
        /// Against a model that knows every live block: blocks never overlap, lie in the heap's pages,
        /// are aligned, and only their first bytes can be freed.
        #[test]
        fn agrees_with_a_model(steps in prop::collection::vec(step(), 1..400)) {
            let mut arena = Arena::new(1 << 20);
            let mut live: BTreeMap<u64, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Allocate { size, alignment_log2 } => {
                        let alignment = 1 << alignment_log2;
                        let Some(block) = arena.allocate(size, alignment) else { continue };
                        let (start, end) = (block.0, block.0 + size.max(1));
                        prop_assert_eq!(start % alignment, 0);
                        let inside = arena.heap.regions().any(|(base, pages)| {
                            start >= base.0 && end <= base.0 + u64::from(pages) * PAGE_BYTES
                        });
                        prop_assert!(inside);
                        if let Some((&before, &length)) = live.range(..=start).next_back() {
                            prop_assert!(before + length <= start);
                        }
                        if let Some((&after, _)) = live.range(start..).next() {
                            prop_assert!(end <= after);
                        }
                        live.insert(start, size.max(1));
                    }
                    Step::Free { which } => {
                        if live.is_empty() { continue }
                        let (&start, &size) = live.iter().nth(which.index(live.len())).unwrap();
                        prop_assert!(arena.heap.free(GuestAddress(start)).unwrap() >= size);
                        live.remove(&start);
                    }
                    Step::FreeStray { which, offset } => {
                        if live.is_empty() { continue }
                        let (&start, _) = live.iter().nth(which.index(live.len())).unwrap();
                        let stray = GuestAddress(start + offset);
                        if live.contains_key(&stray.0) { continue }
                        prop_assert_eq!(arena.heap.free(stray), Err(BadFree(stray)));
                    }
                }
                prop_assert_eq!(arena.heap.live_blocks(), live.len() as u64);
            }
            for (start, _) in live {
                arena.heap.free(GuestAddress(start)).unwrap();
            }
            prop_assert_eq!((arena.heap.live_bytes(), arena.heap.live_blocks()), (0, 0));
        }
    }
}
