//! Directory entries inside an `Rreaddir`: `qid[13] offset[8] type[1] name[s]`.

use super::WireError;
use super::attributes::Qid;
use super::cursor::{Reader, Writer};

/// Bytes of an entry without its name.
pub const DIRENT_FIXED_BYTES: usize = 13 + 8 + 1 + 2;

/// One directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// Which file it is.
    pub qid: Qid,
    /// Where the next `Treaddir` has to start to get what comes after this entry.
    pub offset: u64,
    /// Kind, a `DT_` number of Linux.
    pub kind: u8,
    /// Name. Host file systems allow bytes that are no UTF-8.
    pub name: &'a [u8],
}

/// Iterates over the entries of an `Rreaddir`. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Dirents<'a> {
    reader: Reader<'a>,
}

impl<'a> Dirents<'a> {
    /// Reads the data of an `Rreaddir`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { reader: Reader::new(data) }
    }

    fn entry(&mut self) -> Result<Dirent<'a>, WireError> {
        Ok(Dirent {
            qid: Qid::decode(&mut self.reader)?,
            offset: self.reader.u64()?,
            kind: self.reader.u8()?,
            name: self.reader.bytes()?,
        })
    }
}

impl<'a> Iterator for Dirents<'a> {
    type Item = Result<Dirent<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.left() == 0 {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// Writes an entry to the front of `buffer`, for servers; returns its size in bytes.
///
/// # Errors
///
/// [`WireError::NoRoom`] if it does not fit: it belongs into the next reply then.
pub fn encode_dirent(entry: &Dirent<'_>, buffer: &mut [u8]) -> Result<usize, WireError> {
    let mut writer = Writer::new(buffer);
    entry.qid.encode(&mut writer)?;
    writer.u64(entry.offset)?;
    writer.u8(entry.kind)?;
    writer.bytes(entry.name)?;
    Ok(writer.length())
}
