//! Memory: physical frames, page tables, the heap, stacks, the window for loaded code.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_8000_0000_0000` | all RAM, read-write, not executable, without the frames of code |
//! | `0xffff_a000_0000_0000` | stacks, each above a guard page |
//! | `0xffff_b000_0000_0000` | device registers |
//! | `0xffff_ffff_8000_0000` | the image |
//! | `0xffff_ffff_c000_0000` | the window for loaded code |

pub mod frames;
pub mod heap;
pub mod layout;
pub mod paging;
pub mod regions;
pub mod stacks;
pub mod window;

use core::fmt;

pub use paging::{map_device, read, write};

/// Bytes of a page and of a frame.
pub const PAGE_BYTES: u64 = 4096;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysicalAddress(pub u64);

impl fmt::Debug for PhysicalAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "phys {:#x}", self.0)
    }
}

impl PhysicalAddress {
    /// Where the direct map shows this address.
    #[must_use]
    pub fn direct(self) -> u64 {
        layout::DIRECT_MAP + self.0
    }
}

/// No memory is left, or no address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: u64,
}
