//! Pages for machine code.

use std::io;

/// What may be done with pages after they are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Executed; written only until [`Pages::seal`].
    Sealed,
    /// Executed and written, for a compiler that wants both.
    Open,
}

/// Linux gave no pages, or did not change them.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes for machine code: {source}")]
pub struct PagesError {
    bytes: usize,
    source: io::Error,
}

/// Pages of their own, unmapped with their owner.
#[derive(Debug)]
pub(crate) struct Pages {
    start: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: the pages are this value's alone.
unsafe impl Send for Pages {}

impl Pages {
    /// At least `bytes` of zeros.
    pub(crate) fn new(bytes: usize, protection: Protection) -> Result<Self, PagesError> {
        const PAGE_BYTES: usize = 4096;
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let mut rights = libc::PROT_READ | libc::PROT_WRITE;
        if protection == Protection::Open {
            rights |= libc::PROT_EXEC;
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of Linux's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, rights, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(PagesError { bytes, source: io::Error::last_os_error() });
        }
        Ok(Self { start, bytes })
    }

    /// Where they start.
    pub(crate) fn address(&self) -> u64 {
        self.start.expose_provenance() as u64
    }

    /// Their bytes. Not after [`Self::seal`].
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped, initialised by Linux, and borrowed from their owner.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.bytes) }
    }

    /// Makes them executable and no longer writable.
    pub(crate) fn seal(&mut self) -> Result<(), PagesError> {
        // SAFETY: this value's own mapping; no reference into it is left.
        let result = unsafe { libc::mprotect(self.start, self.bytes, libc::PROT_READ | libc::PROT_EXEC) };
        if result != 0 {
            return Err(PagesError { bytes: self.bytes, source: io::Error::last_os_error() });
        }
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping, which nobody uses any more.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}
