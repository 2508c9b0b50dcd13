//! Threads, address space and heap of the guest.

use core::fmt;

use crate::raw::{self, uio_block, uio_region, uio_thread};

/// Bytes of a name, its NUL included. Longer names are cut.
pub const NAME_BYTES: usize = 32;

/// Most records that one call fills in, however long the slice is.
pub const RECORDS_MAX: usize = 1024;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// On the CPU.
    Running,
    /// Waits for the CPU.
    Ready,
    /// Sleeps until a certain time.
    Sleeping,
    /// Waits for something.
    Waiting,
    /// Has ended.
    Exited,
    /// What this crate does not know yet.
    Other(u32),
}

/// One thread of the guest.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Thread(pub uio_thread);

impl Thread {
    /// What its creator called it.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.0.name)
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> ThreadState {
        match self.0.state {
            0 => ThreadState::Running,
            1 => ThreadState::Ready,
            2 => ThreadState::Sleeping,
            3 => ThreadState::Waiting,
            4 => ThreadState::Exited,
            other => ThreadState::Other(other),
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "thread {} {:?} {:?}", self.0.id, self.name(), self.state())
    }
}

/// One mapped range of the address space.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Region(pub uio_region);

impl Region {
    /// Whose it is, as `mem` shows it.
    #[must_use]
    pub fn owner(&self) -> &str {
        text(&self.0.owner)
    }

    /// Whether its pages can be written by who holds its key.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.0.access & 1 != 0
    }

    /// Whether its pages hold code.
    #[must_use]
    pub fn executable(&self) -> bool {
        self.0.access & 2 != 0
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}+{:#x} {:?}", self.0.start, self.0.bytes, self.owner())
    }
}

/// One live block of the guest's heap.
pub type Block = uio_block;

/// Fills `out` with threads; how many there are, which may be more.
pub fn threads(out: &mut [Thread]) -> usize {
    // SAFETY: `Thread` has the layout of the record; the gate fills at most `out.len()`.
    unsafe { raw::uio_threads(out.as_mut_ptr().cast(), out.len()) }
}

/// Fills `out` with mapped ranges, ascending; how many there are, which may be more.
pub fn regions(out: &mut [Region]) -> usize {
    // SAFETY: `Region` has the layout of the record; the gate fills at most `out.len()`.
    unsafe { raw::uio_regions(out.as_mut_ptr().cast(), out.len()) }
}

/// Lists the live blocks of the guest's heap, a slice at a time. Blocks that come or go meanwhile may be
/// missed or seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapBlocks {
    cursor: u64,
}

impl HeapBlocks {
    /// From the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `out` with the next blocks; how many, 0 at the end.
    pub fn next(&mut self, out: &mut [Block]) -> usize {
        // SAFETY: the gate moves the cursor and fills at most `out.len()` records.
        unsafe { raw::uio_heap_blocks(&raw mut self.cursor, out.as_mut_ptr(), out.len()) }
    }
}

/// The text before the NUL; the guest cuts names at a character boundary.
fn text(bytes: &[u8; NAME_BYTES]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
    core::str::from_utf8(&bytes[..end]).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_their_nul() {
        let mut name = [0; NAME_BYTES];
        name[..4].copy_from_slice(b"main");
        assert_eq!(text(&name), "main");
        assert_eq!(text(&[b'x'; NAME_BYTES]).len(), NAME_BYTES);
        name[0] = 0xff;
        assert_eq!(text(&name), "?");
    }

    #[test]
    fn states_are_those_of_the_header() {
        let state = |state| Thread(uio_thread { state, ..uio_thread::default() }).state();
        assert_eq!(state(0), ThreadState::Running);
        assert_eq!(state(4), ThreadState::Exited);
        assert_eq!(state(9), ThreadState::Other(9));
    }
}
