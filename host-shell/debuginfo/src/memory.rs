//! The one way in which this crate reads a guest.

use crate::image::Image;

/// Why guest memory could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {size} bytes at {address:#x}: {reason}")]
pub struct MemoryError {
    /// First byte asked for.
    pub address: u64,
    /// Bytes asked for.
    pub size: usize,
    /// What the guest, or the link to it, said.
    pub reason: String,
}

/// Reads guest memory.
pub trait ReadMemory {
    /// Fills `buffer` from `address` on.
    ///
    /// # Errors
    /// Nothing is mapped there, or the guest did not answer.
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError>;
}

impl<M: ReadMemory + ?Sized> ReadMemory for &mut M {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        (**self).read(address, buffer)
    }
}

/// Memory as the file says it is at start: code, constants, initial data; zeros in `.bss`.
#[derive(Clone, Copy, Debug)]
pub struct FileMemory<'a>(pub &'a Image);

impl ReadMemory for FileMemory<'_> {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        if self.0.read_initial(address, buffer) {
            return Ok(());
        }
        Err(MemoryError { address, size: buffer.len(), reason: "not in the image file".to_owned() })
    }
}
