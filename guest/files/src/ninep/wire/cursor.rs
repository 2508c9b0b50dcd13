//! Bounds-checked reading and writing of fields.

use super::{HEADER_BYTES, WireError};

/// Takes fields from the front of a message.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(WireError::Short { needed: length, left: self.bytes.len() })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) =
            self.bytes.split_first_chunk().ok_or(WireError::Short { needed: N, left: self.bytes.len() })?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string whose bytes may be anything.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, WireError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| WireError::NotUtf8)
    }

    /// Data with its length in four bytes in front.
    pub(crate) fn data(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(crate) fn finish(&self) -> Result<(), WireError> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(WireError::Trailing { bytes }),
        }
    }
}

/// Puts fields into a buffer, one after the other.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Begins a message; [`Self::finish`] fills in its size.
    pub(crate) fn message(buffer: &'a mut [u8], kind: u8, tag: u16) -> Result<Self, WireError> {
        let mut writer = Self::new(buffer);
        writer.u32(0)?;
        writer.u8(kind)?;
        writer.u16(tag)?;
        Ok(writer)
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let left = self.buffer.len() - self.at;
        let target = self
            .buffer
            .get_mut(self.at..)
            .and_then(|free| free.get_mut(..bytes.len()))
            .ok_or(WireError::NoRoom { needed: bytes.len(), left })?;
        target.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Result<(), WireError> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), WireError> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), WireError> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> Result<(), WireError> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let length =
            u16::try_from(bytes.len()).map_err(|_| WireError::StringTooLong { bytes: bytes.len() })?;
        self.u16(length)?;
        self.put(bytes)
    }

    pub(crate) fn string(&mut self, text: &str) -> Result<(), WireError> {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn length(&self) -> usize {
        self.at
    }

    /// Writes the size into the header: what was put, and `payload_bytes` that are sent from
    /// another buffer. Returns the number of bytes put.
    pub(crate) fn finish(self, payload_bytes: usize) -> Result<usize, WireError> {
        debug_assert!(self.at >= HEADER_BYTES);
        let size = u32::try_from(self.at + payload_bytes)
            .map_err(|_| WireError::NoRoom { needed: payload_bytes, left: 0 })?;
        self.buffer[..4].copy_from_slice(&size.to_le_bytes());
        Ok(self.at)
    }
}
