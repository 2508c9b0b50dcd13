//! Reads the tables of a relocatable ELF object into plain vectors, with every range checked.

use std::collections::HashMap;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_BPF, EM_NONE, ET_REL, SELFMAG,
};
use goblin::elf::section_header::{
    SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_NULL, SHT_REL, SHT_RELA, SHT_SYMTAB, SectionHeader,
};
use goblin::elf::{Elf, RelocSection, Sym};

use crate::error::{BpfObjectError, limit, malformed};
use crate::limits::{OBJECT_BYTES_MAX, STRING_BYTES_MAX, SYMBOLS_MAX};

/// Bytes of an entry of the symbol table, `Elf64_Sym`.
const SYMBOL_BYTES: usize = 24;

/// The tables of an object.
pub(crate) struct Object<'a> {
    /// All sections, by ELF index.
    pub(crate) sections: Vec<Section<'a>>,
    /// All symbols, by ELF index.
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// Symbols by the ELF index of their section.
    symbols_of: HashMap<usize, Vec<usize>>,
    /// Whether GNU's assembler made it.
    pub(crate) is_gnu: bool,
    /// Relocations by the ELF index of the section that they patch, ascending by offset.
    relocations: HashMap<usize, Vec<Relocation>>,
}

/// One section header with its contents.
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    /// `sh_type`.
    pub(crate) kind: u32,
    /// `sh_flags`.
    pub(crate) flags: u64,
    pub(crate) size: u64,
    /// Contents; empty for `SHT_NOBITS`.
    pub(crate) bytes: &'a [u8],
    link: u32,
    info: u32,
}

impl Section<'_> {
    pub(crate) fn is_code(&self) -> bool {
        self.flags & u64::from(SHF_EXECINSTR) != 0
    }

    pub(crate) fn is_allocated(&self) -> bool {
        self.flags & u64::from(SHF_ALLOC) != 0
    }
}

/// One symbol.
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) binding: u8,
    pub(crate) kind: u8,
    pub(crate) visibility: u8,
    pub(crate) place: Place,
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Undefined,
    /// Absolute, COMMON or another reserved index.
    Reserved(u32),
    Section(usize),
}

/// One relocation.
#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) symbol: usize,
    pub(crate) kind: u32,
    /// `None` where it stands in the instruction (`SHT_REL`).
    pub(crate) addend: Option<i64>,
}

const SHN_UNDEF: u32 = 0;
const SHN_LORESERVE: u32 = 0xff00;

impl<'a> Object<'a> {
    /// Reads all tables of `bytes`.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, BpfObjectError> {
        limit("bytes", bytes.len(), OBJECT_BYTES_MAX)?;
        let context = Ctx::new(Container::Big, Endian::Little);
        let (table_offset, count, names_index) = read_header(bytes)?;
        let headers = SectionHeader::parse(bytes, table_offset, count, context)
            .map_err(|error| malformed(format!("section headers: {error}")))?;
        let names = match headers.get(names_index) {
            Some(header) => contents(bytes, header, names_index)?,
            None if headers.is_empty() => &[],
            None => {
                return Err(malformed(format!(
                    "section names in section {names_index}, which does not exist"
                )));
            }
        };
        let mut sections = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            sections.push(Section {
                name: string(names, header.sh_name, || format!("name of section {index}"))?,
                kind: header.sh_type,
                flags: header.sh_flags,
                size: header.sh_size,
                bytes: contents(bytes, header, index)?,
                link: header.sh_link,
                info: header.sh_info,
            });
        }
        let symbols = match sections.iter().find(|section| section.kind == SHT_SYMTAB) {
            Some(table) => read_symbols(&sections, table, context)?,
            None => Vec::new(),
        };
        let relocations = read_relocations(&sections, &symbols, context)?;
        let mut symbols_of: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, symbol) in symbols.iter().enumerate() {
            if let Place::Section(section) = symbol.place {
                symbols_of.entry(section).or_default().push(index);
            }
        }
        let is_gnu = sections.iter().any(|section| {
            section.name == ".comment" && section.bytes.windows(4).any(|bytes| bytes == b"GCC:")
        });
        Ok(Self { sections, symbols, symbols_of, is_gnu, relocations })
    }

    /// The symbols of a section.
    pub(crate) fn symbols_of(&self, section: usize) -> impl Iterator<Item = &Symbol<'a>> {
        self.symbols_of.get(&section).into_iter().flatten().map(|index| &self.symbols[*index])
    }

    /// The relocations of a section, ascending by offset.
    pub(crate) fn relocations(&self, section: usize) -> &[Relocation] {
        self.relocations.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The section called `name`, if it has contents.
    pub(crate) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name && !section.bytes.is_empty())
    }

    /// Name of a symbol for messages: a section symbol goes by its section's name.
    pub(crate) fn display_name(&self, symbol: &Symbol<'a>) -> String {
        match symbol.place {
            Place::Section(index) if symbol.name.is_empty() => self.sections[index].name.to_string(),
            _ => symbol.name.to_string(),
        }
    }
}

/// Offset and count of the section headers, and index of their names' section.
fn read_header(bytes: &[u8]) -> Result<(usize, usize, usize), BpfObjectError> {
    if bytes.len() < SELFMAG || &bytes[..SELFMAG] != ELFMAG {
        return Err(BpfObjectError::NotElf);
    }
    let header = Elf::parse_header(bytes).map_err(|error| malformed(format!("header: {error}")))?;
    // Compilers before the number was given out wrote none.
    if header.e_machine != EM_BPF && header.e_machine != EM_NONE {
        return Err(BpfObjectError::WrongMachine { machine: header.e_machine });
    }
    if header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB {
        return Err(BpfObjectError::WrongFormat);
    }
    if header.e_type != ET_REL {
        let found = match header.e_type {
            goblin::elf::header::ET_EXEC => "an executable",
            goblin::elf::header::ET_DYN => "a shared object",
            _ => "an ELF file of another type",
        };
        return Err(BpfObjectError::NotRelocatable { found });
    }
    let offset = usize::try_from(header.e_shoff)
        .ok()
        .filter(|offset| *offset <= bytes.len())
        .ok_or_else(|| malformed(format!("section headers at {:#x}", header.e_shoff)))?;
    Ok((offset, usize::from(header.e_shnum), usize::from(header.e_shstrndx)))
}

/// The bytes of a section, which must lie inside the file.
fn contents<'a>(bytes: &'a [u8], header: &SectionHeader, index: usize) -> Result<&'a [u8], BpfObjectError> {
    if header.sh_type == SHT_NOBITS || header.sh_type == SHT_NULL {
        return Ok(&[]);
    }
    let range = || {
        let start = usize::try_from(header.sh_offset).ok()?;
        let end = start.checked_add(usize::try_from(header.sh_size).ok()?)?;
        bytes.get(start..end)
    };
    range().ok_or_else(|| {
        malformed(format!(
            "section {index} at {:#x}, {} bytes, lies outside the file",
            header.sh_offset, header.sh_size
        ))
    })
}

/// The string at `offset` of a string table, which ends at the next zero byte.
pub(crate) fn string(table: &[u8], offset: usize, what: impl Fn() -> String) -> Result<&str, BpfObjectError> {
    if offset == 0 && table.is_empty() {
        return Ok("");
    }
    let tail = table.get(offset..).ok_or_else(|| malformed(format!("{} lies outside its table", what())))?;
    let end = tail
        .iter()
        .take(STRING_BYTES_MAX)
        .position(|byte| *byte == 0)
        .ok_or_else(|| malformed(format!("{} does not end within {STRING_BYTES_MAX} bytes", what())))?;
    core::str::from_utf8(&tail[..end]).map_err(|_| malformed(format!("{} is not UTF-8", what())))
}

fn read_symbols<'a>(
    sections: &[Section<'a>],
    table: &Section<'a>,
    context: Ctx,
) -> Result<Vec<Symbol<'a>>, BpfObjectError> {
    let names = sections
        .get(table.link as usize)
        .ok_or_else(|| malformed(format!("symbol names in section {}, which does not exist", table.link)))?
        .bytes;
    if !table.bytes.len().is_multiple_of(SYMBOL_BYTES) {
        return Err(malformed(format!("size {} of the symbol table", table.size)));
    }
    limit("symbols", table.bytes.len() / SYMBOL_BYTES, SYMBOLS_MAX)?;
    let raw = Sym::parse(table.bytes, 0, table.bytes.len() / SYMBOL_BYTES, context)
        .map_err(|error| malformed(format!("symbol table: {error}")))?;
    raw.iter()
        .enumerate()
        .map(|(index, symbol)| {
            let place = match symbol.st_shndx as u32 {
                SHN_UNDEF => Place::Undefined,
                reserved if reserved >= SHN_LORESERVE => Place::Reserved(reserved),
                section if (section as usize) < sections.len() => Place::Section(section as usize),
                section => {
                    return Err(malformed(format!(
                        "symbol {index} lies in section {section}, which does not exist"
                    )));
                }
            };
            Ok(Symbol {
                name: string(names, symbol.st_name, || format!("name of symbol {index}"))?,
                binding: symbol.st_bind(),
                kind: symbol.st_type(),
                visibility: symbol.st_visibility(),
                place,
                value: symbol.st_value,
                size: symbol.st_size,
            })
        })
        .collect()
}

fn read_relocations(
    sections: &[Section<'_>],
    symbols: &[Symbol<'_>],
    context: Ctx,
) -> Result<HashMap<usize, Vec<Relocation>>, BpfObjectError> {
    let mut by_section: HashMap<usize, Vec<Relocation>> = HashMap::new();
    for section in sections.iter().filter(|section| section.kind == SHT_REL || section.kind == SHT_RELA) {
        let target = section.info as usize;
        // Those of debug information stay unread.
        if !sections.get(target).is_some_and(Section::is_allocated) {
            continue;
        }
        let with_addends = section.kind == SHT_RELA;
        if !section.bytes.len().is_multiple_of(if with_addends { 24 } else { 16 }) {
            return Err(malformed(format!("size {} of {}", section.size, section.name)));
        }
        let entries = RelocSection::parse(section.bytes, 0, section.bytes.len(), with_addends, context)
            .map_err(|error| malformed(format!("{}: {error}", section.name)))?;
        let list = by_section.entry(target).or_default();
        for entry in &entries {
            if entry.r_sym >= symbols.len() {
                return Err(malformed(format!(
                    "{} names symbol {}, which does not exist",
                    section.name, entry.r_sym
                )));
            }
            list.push(Relocation {
                offset: entry.r_offset,
                symbol: entry.r_sym,
                kind: entry.r_type,
                addend: entry.r_addend,
            });
        }
    }
    for list in by_section.values_mut() {
        list.sort_by_key(|relocation| relocation.offset);
    }
    Ok(by_section)
}
