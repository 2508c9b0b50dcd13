//! `.BTF.ext`: which line of the source an instruction comes from, and which functions need CO-RE.

use std::collections::HashMap;

use super::reader::Reader;
use super::{Btf, Id, MAGIC, Type, VERSION};
use crate::error::BpfObjectError;

const NAME: &str = ".BTF.ext";
/// Header up to the CO-RE part, which came later.
const HEADER_BYTES_WITH_CORE: u32 = 32;

/// Where instructions of a section come from, ascending by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Bytes from the section's start.
    pub(crate) offset: u32,
    /// String: the file.
    pub(crate) file: u32,
    /// String: the line's text.
    pub(crate) text: u32,
    pub(crate) line: u32,
    pub(crate) column: u16,
}

/// An instruction that depends on the layout of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    /// Bytes from the section's start.
    pub(crate) offset: u32,
    pub(crate) target: Id,
}

/// Records by the name of their section.
#[derive(Default)]
pub(crate) struct Ext<'a> {
    lines: HashMap<&'a str, Vec<Line>>,
    core: HashMap<&'a str, Vec<Core>>,
}

impl<'a> Ext<'a> {
    /// Reads the section `.BTF.ext`, whose strings are in `btf`.
    pub(crate) fn read(bytes: &'a [u8], btf: &Btf<'a>) -> Result<Self, BpfObjectError> {
        let mut header = Reader::new(bytes, NAME);
        let (magic, version, _flags) = (header.u16()?, header.u8()?, header.u8()?);
        if magic != MAGIC || version != VERSION {
            return Err(header.error(format!("magic number {magic:#x}, version {version}")));
        }
        let header_bytes = header.u32()?;
        let [_function_offset, _function_bytes, line_offset, line_bytes] =
            [header.u32()?, header.u32()?, header.u32()?, header.u32()?];
        let core = if header_bytes >= HEADER_BYTES_WITH_CORE {
            let (offset, bytes) = (header.u32()?, header.u32()?);
            header.part(header_bytes, offset, bytes)?
        } else {
            &[]
        };
        let mut ext = Self::default();
        let lines = header.part(header_bytes, line_offset, line_bytes)?;
        records(lines, btf, |section, record| {
            let (offset, file, text, place) = (record.u32()?, record.u32()?, record.u32()?, record.u32()?);
            let line = Line { offset, file, text, line: place >> 10, column: place as u16 & 0x3ff };
            ext.lines.entry(section).or_default().push(line);
            Ok(())
        })?;
        records(core, btf, |section, record| {
            let (offset, target) = (record.u32()?, record.u32()?);
            ext.core.entry(section).or_default().push(Core { offset, target });
            Ok(())
        })?;
        ext.lines.values_mut().for_each(|lines| lines.sort_by_key(|line| line.offset));
        ext.core.values_mut().for_each(|core| core.sort_by_key(|core| core.offset));
        Ok(ext)
    }

    /// Line records of `section` for the bytes `start..end`.
    pub(crate) fn lines(&self, section: &str, start: u32, end: u32) -> &[Line] {
        let lines = self.lines.get(section).map_or(&[][..], Vec::as_slice);
        let from = lines.partition_point(|line| line.offset < start);
        let to = lines.partition_point(|line| line.offset < end);
        &lines[from..to.max(from)]
    }

    /// Name of the type of the first CO-RE relocation in the bytes `start..end` of `section`.
    pub(crate) fn core(&self, btf: &Btf<'a>, section: &str, start: u32, end: u32) -> Option<String> {
        let core = self.core.get(section)?.iter().find(|core| (start..end).contains(&core.offset))?;
        let name = match btf.resolve(core.target).map(|(_, found)| found) {
            Ok(Type::Record { name, .. } | Type::Enumeration { name, .. } | Type::Forward { name }) => *name,
            _ => "",
        };
        Some(if name.is_empty() { format!("type {}", core.target) } else { name.to_string() })
    }
}

/// Visits the records of a part: a record's size, then for each section its name, a count and the records.
fn records<'a>(
    part: &'a [u8],
    btf: &Btf<'a>,
    mut visit: impl FnMut(&'a str, &mut Reader<'a>) -> Result<(), BpfObjectError>,
) -> Result<(), BpfObjectError> {
    if part.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(part, NAME);
    let record_bytes = reader.u32()? as usize;
    while !reader.is_empty() {
        let section = btf.strings.get(reader.u32()?)?;
        for _ in 0..reader.u32()? {
            let record = reader.take(record_bytes)?;
            visit(section, &mut Reader::new(record, NAME))?;
        }
    }
    Ok(())
}
