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

use alloc::vec::Vec;
use core::fmt;

use uio_protocol::limits::STACK_SNAPSHOT_BYTES_MAX;

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

/// A copy of the stack from `pointer` up to where memory ends, for unwinding on the host; empty if it points nowhere.
#[must_use]
pub fn copy_stack(pointer: u64) -> Vec<u8> {
    const PIECE_BYTES: usize = 256;
    let mut stack = Vec::new();
    let mut piece = [0; PIECE_BYTES];
    while stack.len() < STACK_SNAPSHOT_BYTES_MAX {
        let at = pointer.wrapping_add(stack.len() as u64);
        // Up to a page's end first, then in whole pieces.
        let size = PIECE_BYTES.min((PAGE_BYTES - at % PAGE_BYTES) as usize);
        if read(at, &mut piece[..size]).is_err() {
            break;
        }
        stack.extend_from_slice(&piece[..size]);
    }
    stack
}
