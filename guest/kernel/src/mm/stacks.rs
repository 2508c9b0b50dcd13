//! Stacks of kernel threads: mapped pages above an unmapped guard.

use alloc::format;
use alloc::vec::Vec;

use super::layout::STACKS;
use super::paging::{self, Permissions};
use super::{OutOfMemory, PAGE_BYTES, frames, regions};
use crate::sync::InterruptLock;

/// Distance of two stacks. What a stack does not use of it is its guard.
const SLOT_BYTES: u64 = 256 * 1024;
/// Most bytes of one stack; at least a page of every slot stays unmapped.
pub const STACK_BYTES_MAX: u64 = SLOT_BYTES - PAGE_BYTES;

/// Slots handed out so far, and those that came back.
struct Slots {
    next: u64,
    free: Vec<u64>,
}

static SLOTS: InterruptLock<Slots> = InterruptLock::new(Slots { next: 0, free: Vec::new() });

/// A stack. Unmapped when dropped.
#[derive(Debug)]
pub struct Stack {
    slot: u64,
    pages: u64,
}

impl Stack {
    /// Maps a stack of `pages` pages with a key.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if there are no frames.
    ///
    /// # Panics
    ///
    /// If `pages` passes [`STACK_BYTES_MAX`].
    pub fn new(pages: u64, key: u8, owner: &str) -> Result<Self, OutOfMemory> {
        assert!(pages * PAGE_BYTES <= STACK_BYTES_MAX, "a stack of {pages} pages");
        let slot = SLOTS.with(|slots| {
            slots.free.pop().unwrap_or_else(|| {
                slots.next += 1;
                slots.next - 1
            })
        });
        let mut stack = Self { slot, pages: 0 };
        let top = stack.top();
        let permissions = Permissions::data(key);
        for page in 1..=pages {
            // If this fails, dropping the stack gives back what was mapped so far.
            let frame = frames::allocate_zeroed(1)?;
            if let Err(error) = paging::map(top - page * PAGE_BYTES, frame, permissions) {
                frames::free(frame, 1);
                return Err(error);
            }
            stack.pages = page;
        }
        regions::add(stack.bottom(), pages * PAGE_BYTES, permissions, &format!("stack of {owner}"));
        Ok(stack)
    }

    /// First byte after it.
    #[must_use]
    pub fn top(&self) -> u64 {
        STACKS + (self.slot + 1) * SLOT_BYTES
    }

    /// First byte.
    #[must_use]
    pub fn bottom(&self) -> u64 {
        self.top() - self.pages * PAGE_BYTES
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES
    }

    /// Bytes at the bottom that were never written: pages come zeroed.
    #[must_use]
    pub fn margin_bytes(&self) -> u64 {
        let words = self.bytes() / 8;
        // SAFETY: the stack's pages are mapped; its thread may write meanwhile, so the reads are volatile.
        let used = (0..words)
            .find(|word| unsafe { core::ptr::read_volatile((self.bottom() + word * 8) as *const u64) != 0 });
        used.unwrap_or(words) * 8
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        regions::remove(self.bottom(), self.bytes());
        for page in 1..=self.pages {
            if let Some(frame) = paging::unmap(self.top() - page * PAGE_BYTES) {
                frames::free(frame, 1);
            }
        }
        SLOTS.with(|slots| slots.free.push(self.slot));
    }
}

/// Whether an address lies in the guard below a stack.
#[must_use]
pub fn is_guard(address: u64) -> bool {
    let end = STACKS + SLOTS.with(|slots| slots.next) * SLOT_BYTES;
    (STACKS..end).contains(&address) && paging::access(address).is_none()
}
