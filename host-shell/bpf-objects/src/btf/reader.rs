//! Numbers and strings of BTF, every access checked.

use crate::error::BpfObjectError;
use crate::limits::{LINE_BYTES_MAX, STRING_BYTES_MAX};

/// Reads little-endian numbers one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    section: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], section: &'static str) -> Self {
        Self { whole: bytes, rest: bytes, section }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn error(&self, reason: String) -> BpfObjectError {
        BpfObjectError::Btf { section: self.section, reason }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], BpfObjectError> {
        match self.rest.split_at_checked(bytes) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => {
                let at = self.whole.len() - self.rest.len();
                Err(self.error(format!("{bytes} bytes at {at} of {}", self.whole.len())))
            }
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BpfObjectError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BpfObjectError> {
        Ok(self.u8()? as u16 | (self.u8()? as u16) << 8)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BpfObjectError> {
        Ok(self.u16()? as u32 | (self.u16()? as u32) << 16)
    }

    /// `bytes` bytes at `offset` behind a header of `header` bytes, of the whole.
    pub(crate) fn part(&self, header: u32, offset: u32, bytes: u32) -> Result<&'a [u8], BpfObjectError> {
        let start = header as usize + offset as usize;
        self.whole
            .get(start..start + bytes as usize)
            .ok_or_else(|| self.error(format!("a part of {bytes} bytes at {start} of {}", self.whole.len())))
    }
}

/// A string table.
#[derive(Clone, Copy)]
pub(crate) struct Strings<'a>(pub(crate) &'a [u8]);

impl<'a> Strings<'a> {
    /// The name at `offset`.
    pub(crate) fn get(self, offset: u32) -> Result<&'a str, BpfObjectError> {
        let text = || {
            let tail = self.0.get(offset as usize..)?;
            let end = tail.iter().take(STRING_BYTES_MAX).position(|byte| *byte == 0)?;
            core::str::from_utf8(&tail[..end]).ok()
        };
        text().ok_or_else(|| self.error(offset))
    }

    /// The line of text at `offset`, without space around it, cut if it is long.
    pub(crate) fn line(self, offset: u32) -> Result<String, BpfObjectError> {
        let tail = self.0.get(offset as usize..).ok_or_else(|| self.error(offset))?;
        let tail = tail.trim_ascii_start();
        let length = tail.iter().take(LINE_BYTES_MAX).position(|byte| *byte == 0);
        let text = &tail[..length.unwrap_or(LINE_BYTES_MAX.min(tail.len()))];
        Ok(String::from_utf8_lossy(text).trim_end().to_string())
    }

    fn error(self, offset: u32) -> BpfObjectError {
        BpfObjectError::Btf { section: ".BTF", reason: format!("no string at {offset} of {}", self.0.len()) }
    }
}
