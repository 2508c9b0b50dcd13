//! Pages for machine code: first writable, then executable, never both.

use alloc::format;

use uio_protocol::GuestAddress;
use uio_protocol::inspect::Access;

use crate::platform::{KEY_KERNEL, OutOfMemory, PAGE_BYTES, Platform};

const TEXT: Access = Access { write: false, execute: true };

/// Pages with the machine code of one program, given back with their owner.
pub(crate) struct CodePages {
    platform: &'static dyn Platform,
    start: GuestAddress,
    pages: u32,
    bytes: u32,
}

impl CodePages {
    /// Takes pages for `bytes` of code of the program `name`.
    pub(crate) fn reserve(
        platform: &'static dyn Platform,
        name: &str,
        bytes: usize,
    ) -> Result<Self, OutOfMemory> {
        let failed = OutOfMemory { bytes: bytes as u64 };
        let pages = u32::try_from(bytes.max(1).div_ceil(PAGE_BYTES as usize)).map_err(|_| failed)?;
        let start = platform.map(pages, &format!("program {name} code"), false)?;
        Ok(Self { platform, start, pages, bytes: 0 })
    }

    /// Puts the code in and makes the pages executable. They are not writable from here on.
    pub(crate) fn seal(&mut self, code: &[u8]) -> Result<(), GuestAddress> {
        self.platform.fill(self.start, code)?;
        self.platform.protect(self.start, self.pages, TEXT, KEY_KERNEL, false)?;
        self.bytes = code.len() as u32;
        Ok(())
    }

    /// Whether `bytes` of code fill the pages, with none to spare.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes.max(1).div_ceil(PAGE_BYTES as usize) == self.pages as usize
    }

    /// Address of the first instruction.
    pub(crate) fn start(&self) -> GuestAddress {
        self.start
    }

    /// Bytes of code.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Bytes of memory that the pages take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES
    }

    /// Copies code from `offset` on into `out`; how many bytes.
    pub(crate) fn read(&self, offset: u32, out: &mut [u8]) -> usize {
        let count = out.len().min(self.bytes.saturating_sub(offset) as usize);
        let from = GuestAddress(self.start.0 + u64::from(offset));
        match self.platform.read_memory(from, &mut out[..count]) {
            Ok(()) => count,
            Err(_) => 0,
        }
    }
}

impl Drop for CodePages {
    fn drop(&mut self) {
        self.platform.unmap(self.start, self.pages);
    }
}
