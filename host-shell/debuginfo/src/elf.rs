//! The parts of an ELF file that the rest of the crate works with: sections, segments, symbols.
//!
//! Only headers are parsed when a file is opened; contents stay where they are in the shared bytes.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EM_X86_64, ET_REL};
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};
use goblin::elf::section_header::{SHF_ALLOC, SHF_COMPRESSED, SHF_EXECINSTR, SHT_NOBITS, SHT_NOTE};
use goblin::elf::{Elf, SectionHeader};

use crate::error::{DebugError, ImageError};

/// How goblin is told to read: 64-bit, little-endian.
pub(crate) const CONTEXT: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// One section header, with its name and checked file range.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    /// Where its bytes are in [`ElfFile::bytes`]; empty for `.bss` and for what was left in the file.
    pub(crate) file: Range<usize>,
    /// Where its bytes are in the file, if they were left there.
    pub(crate) deferred: Option<Range<u64>>,
}

impl Section {
    pub(crate) fn is_allocated(&self) -> bool {
        self.flags & u64::from(SHF_ALLOC) != 0
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.flags & u64::from(SHF_EXECINSTR) != 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & u64::from(SHF_COMPRESSED) != 0
    }
}

/// A loadable segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) file: Range<usize>,
}

/// An open file whose debug sections are read when they are asked for.
///
/// The file stays open, so one that is replaced by a rebuild keeps its contents; one that is changed in
/// place is noticed by its time stamp.
#[derive(Debug)]
pub(crate) struct DeferredFile {
    pub(crate) file: std::fs::File,
    pub(crate) size: u64,
    pub(crate) modified: Option<std::time::SystemTime>,
}

impl DeferredFile {
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Arc<[u8]>, DebugError> {
        let failed = |error: std::io::Error| DebugError::Io(error.to_string());
        let metadata = self.file.metadata().map_err(failed)?;
        if metadata.len() != self.size || metadata.modified().ok() != self.modified {
            return Err(DebugError::Changed);
        }
        let size = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        if let Some(buffer) = Arc::get_mut(&mut bytes) {
            self.file.read_exact_at(buffer, range.start).map_err(failed)?;
        }
        Ok(bytes)
    }
}

/// A parsed ELF file.
#[derive(Debug)]
pub(crate) struct ElfFile {
    /// The file, without the part that was left out.
    pub(crate) bytes: Arc<[u8]>,
    /// Where to read the part that was left out.
    pub(crate) deferred: Option<DeferredFile>,
    pub(crate) entry: u64,
    pub(crate) relocatable: bool,
    pub(crate) kind: u16,
    pub(crate) sections: Vec<Section>,
    pub(crate) segments: Vec<Segment>,
}

impl ElfFile {
    pub(crate) fn parse(bytes: Arc<[u8]>) -> Result<Self, ImageError> {
        Self::parse_around(bytes, 0..0)
    }

    /// Parses a file from which the range `hole` is missing.
    pub(crate) fn parse_around(bytes: Arc<[u8]>, hole: Range<u64>) -> Result<Self, ImageError> {
        let file_size = bytes.len() as u64 + (hole.end - hole.start);
        // File offsets to positions in `bytes`; what is in the hole is at its start, and empty.
        let position = |offset: u64| match offset {
            before if before <= hole.start => before,
            inside if inside < hole.end => hole.start,
            behind => behind - (hole.end - hole.start),
        };
        let damaged = |error: goblin::error::Error| ImageError::Elf(error.to_string());
        let header = Elf::parse_header(&bytes).map_err(damaged)?;
        let (class, data) = (header.e_ident[4], header.e_ident[5]);
        if class != 2 || data != 1 || header.e_machine != EM_X86_64 {
            return Err(ImageError::Machine { class, data, machine: header.e_machine });
        }
        let offset_of = |offset: u64| usize::try_from(position(offset)).unwrap_or(usize::MAX);
        let headers = if header.e_shoff == 0 {
            Vec::new()
        } else if offset_of(header.e_shoff) >= bytes.len() {
            return Err(ImageError::Elf(format!("section headers at {:#x}, past the end", header.e_shoff)));
        } else {
            let offset = offset_of(header.e_shoff);
            SectionHeader::parse(&bytes, offset, usize::from(header.e_shnum), CONTEXT).map_err(damaged)?
        };
        let names = headers.get(usize::from(header.e_shstrndx)).map(|section| position(section.sh_offset));
        let mut sections = Vec::with_capacity(headers.len());
        for raw in &headers {
            let name = match names {
                Some(table) => string_at(&bytes, table.saturating_add(raw.sh_name as u64)).to_owned(),
                None => String::new(),
            };
            let mut deferred = None;
            let file = if raw.sh_type == SHT_NOBITS || raw.sh_type == 0 {
                0..0
            } else {
                let end = raw.sh_offset.checked_add(raw.sh_size).filter(|&end| end <= file_size);
                let Some(end) = end else {
                    return Err(ImageError::SectionOutside {
                        name,
                        offset: raw.sh_offset,
                        size: raw.sh_size,
                        file_size,
                    });
                };
                if raw.sh_offset >= hole.start && raw.sh_offset < hole.end {
                    deferred = Some(raw.sh_offset..end.min(hole.end));
                }
                offset_of(raw.sh_offset)..offset_of(end)
            };
            sections.push(Section {
                name,
                kind: raw.sh_type,
                flags: raw.sh_flags,
                address: raw.sh_addr,
                size: raw.sh_size,
                link: raw.sh_link,
                info: raw.sh_info,
                file,
                deferred,
            });
        }
        let segments = if header.e_phoff == 0 || header.e_phnum == 0 {
            Vec::new()
        } else {
            ProgramHeader::parse(&bytes, offset_of(header.e_phoff), usize::from(header.e_phnum), CONTEXT)
                .map_err(damaged)?
                .iter()
                .filter(|segment| segment.p_type == PT_LOAD)
                .filter_map(|segment| {
                    let end = segment.p_offset.checked_add(segment.p_filesz)?;
                    (end <= file_size).then(|| Segment {
                        address: segment.p_vaddr,
                        size: segment.p_memsz,
                        file: offset_of(segment.p_offset)..offset_of(end),
                    })
                })
                .collect()
        };
        Ok(Self {
            entry: header.e_entry,
            relocatable: header.e_type == ET_REL,
            kind: header.e_type,
            sections,
            segments,
            deferred: None,
            bytes,
        })
    }

    pub(crate) fn contents(&self, section: &Section) -> &[u8] {
        self.bytes.get(section.file.clone()).unwrap_or(&[])
    }

    /// The GNU build-id, of whatever length the linker gave it.
    ///
    /// Layout of a note: name size, descriptor size, type (32 bits each), name and descriptor, both
    /// padded to four bytes (System V ABI, "Note Section").
    pub(crate) fn build_id(&self) -> Option<&[u8]> {
        const NT_GNU_BUILD_ID: u32 = 3;
        for section in self.sections.iter().filter(|section| section.kind == SHT_NOTE) {
            let mut rest = self.contents(section);
            while rest.len() >= 12 {
                let word = |at: usize| {
                    rest.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
                };
                let (name_size, size, kind) = (word(0) as usize, word(4) as usize, word(8));
                let start = 12 + name_size.next_multiple_of(4);
                let Some(descriptor) = rest.get(start..start.saturating_add(size)) else { break };
                if kind == NT_GNU_BUILD_ID && rest.get(12..12 + name_size) == Some(b"GNU\0") {
                    return Some(descriptor);
                }
                rest = rest.get(start.saturating_add(size.next_multiple_of(4))..).unwrap_or(&[]);
            }
        }
        None
    }
}

/// The NUL-terminated string at `offset`; empty if there is none or it is not UTF-8.
pub(crate) fn string_at(bytes: &[u8], offset: u64) -> &str {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or(&[]);
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or("")
}
