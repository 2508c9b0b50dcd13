//! Reads the tables of a relocatable ELF object into plain vectors, with every range checked.

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_REL, SELFMAG};
use goblin::elf::section_header::{
    SHN_XINDEX, SHT_NOBITS, SHT_NULL, SHT_SYMTAB, SHT_SYMTAB_SHNDX, SectionHeader,
};
use goblin::elf::{Elf, Reloc, RelocSection, Sym};

use crate::ObjectError;

/// Bytes of an entry of the symbol table, `Elf64_Sym`.
const SYMBOL_BYTES: usize = 24;
/// Bytes of a relocation with addend, `Elf64_Rela`.
const RELOCATION_BYTES: usize = 24;

/// The tables of an object.
pub(crate) struct Object<'a> {
    /// All sections, by ELF index.
    pub(crate) sections: Vec<InputSection<'a>>,
    /// All symbols, by ELF index.
    pub(crate) symbols: Vec<InputSymbol<'a>>,
    /// ELF index of the symbol table's section.
    pub(crate) symbol_table: usize,
}

/// One section header with its contents.
pub(crate) struct InputSection<'a> {
    pub(crate) name: &'a str,
    /// `sh_type`.
    pub(crate) kind: u32,
    /// `sh_flags`.
    pub(crate) flags: u64,
    pub(crate) alignment: u64,
    pub(crate) size: u64,
    /// `sh_link`.
    pub(crate) link: u32,
    /// `sh_info`.
    pub(crate) info: u32,
    /// Contents; empty for `SHT_NOBITS`.
    pub(crate) bytes: &'a [u8],
}

/// One symbol, its extended section index applied.
pub(crate) struct InputSymbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) binding: u8,
    pub(crate) kind: u8,
    pub(crate) visibility: u8,
    pub(crate) place: SymbolSection,
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// What `st_shndx` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolSection {
    Undefined,
    Absolute,
    Common,
    Index(usize),
    /// Another reserved index.
    Reserved(u16),
}

/// Reserved section indices (`st_shndx`) that have a meaning in x86-64 objects.
const SHN_UNDEF: u16 = 0;
const SHN_LORESERVE: u16 = 0xff00;
/// COMMON of the medium and large code models.
const SHN_X86_64_LCOMMON: u16 = 0xff02;
const SHN_ABS: u16 = 0xfff1;
const SHN_COMMON: u16 = 0xfff2;

impl<'a> Object<'a> {
    /// Reads all tables of `bytes`.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let context = Ctx::new(Container::Big, Endian::Little);
        let (table_offset, count, names_index) = read_header(bytes)?;
        let headers = SectionHeader::parse(bytes, table_offset, count, context)
            .map_err(|error| malformed(format!("section headers: {error}")))?;
        // An index that does not fit the header is kept in the first section header.
        let names_index = match names_index {
            index if u32::from(index) == SHN_XINDEX => {
                headers.first().map_or(0, |first| first.sh_link as usize)
            }
            index => usize::from(index),
        };
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
            sections.push(InputSection {
                name: string(names, header.sh_name, || format!("name of section {index}"))?,
                kind: header.sh_type,
                flags: header.sh_flags,
                alignment: header.sh_addralign,
                size: header.sh_size,
                link: header.sh_link,
                info: header.sh_info,
                bytes: contents(bytes, header, index)?,
            });
        }
        let symbol_table = sections.iter().position(|section| section.kind == SHT_SYMTAB).unwrap_or(0);
        let symbols =
            if symbol_table == 0 { Vec::new() } else { read_symbols(&sections, symbol_table, context)? };
        Ok(Self { sections, symbols, symbol_table })
    }

    /// The entries of the relocation section `section` (`SHT_RELA`).
    pub(crate) fn relocations(section: &InputSection<'a>) -> Result<RelocSection<'a>, ObjectError> {
        if !section.bytes.len().is_multiple_of(RELOCATION_BYTES) {
            return Err(malformed(format!("size {} of {}", section.size, section.name)));
        }
        let context = Ctx::new(Container::Big, Endian::Little);
        RelocSection::parse(section.bytes, 0, section.bytes.len(), true, context)
            .map_err(|error| malformed(format!("{}: {error}", section.name)))
    }

    /// The symbol that `relocation` names.
    pub(crate) fn symbol_of(&self, relocation: &Reloc) -> Result<&InputSymbol<'a>, ObjectError> {
        self.symbols.get(relocation.r_sym).ok_or_else(|| {
            malformed(format!("relocation at {:#x} names symbol {}", relocation.r_offset, relocation.r_sym))
        })
    }

    /// Name of a symbol for messages: a section symbol goes by its section's name.
    pub(crate) fn display_name(&self, symbol: &InputSymbol<'a>) -> String {
        match symbol.place {
            SymbolSection::Index(index) if symbol.name.is_empty() => self
                .sections
                .get(index)
                .map_or_else(|| format!("section {index}"), |section| section.name.to_string()),
            _ => symbol.name.to_string(),
        }
    }
}

pub(crate) fn malformed(reason: String) -> ObjectError {
    ObjectError::Malformed { reason }
}

/// Offset and count of the section headers, and index of their names' section.
fn read_header(bytes: &[u8]) -> Result<(usize, usize, u16), ObjectError> {
    if bytes.len() < SELFMAG || &bytes[..SELFMAG] != ELFMAG {
        return Err(ObjectError::NotElf);
    }
    let header = Elf::parse_header(bytes).map_err(|error| malformed(format!("header: {error}")))?;
    if header.e_machine != EM_X86_64
        || header.e_ident[EI_CLASS] != ELFCLASS64
        || header.e_ident[EI_DATA] != ELFDATA2LSB
    {
        return Err(ObjectError::WrongMachine { machine: header.e_machine });
    }
    if header.e_type != ET_REL {
        let found = match header.e_type {
            goblin::elf::header::ET_EXEC => "an executable",
            goblin::elf::header::ET_DYN => "a shared object or a position-independent executable",
            goblin::elf::header::ET_CORE => "a core dump",
            _ => "an ELF file of unknown type",
        };
        return Err(ObjectError::NotRelocatable { found });
    }
    let offset =
        usize::try_from(header.e_shoff).ok().filter(|offset| *offset <= bytes.len()).ok_or_else(|| {
            malformed(format!(
                "the section headers, at {:#x}, lie outside the file of {} bytes",
                header.e_shoff,
                bytes.len()
            ))
        })?;
    Ok((offset, usize::from(header.e_shnum), header.e_shstrndx))
}

/// The bytes of a section, which must lie inside the file.
fn contents<'a>(bytes: &'a [u8], header: &SectionHeader, index: usize) -> Result<&'a [u8], ObjectError> {
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

/// The NUL-terminated string at `offset` of a string table.
fn string(table: &[u8], offset: impl TryInto<usize>, what: impl Fn() -> String) -> Result<&str, ObjectError> {
    let offset = offset.try_into().unwrap_or(usize::MAX);
    if offset == 0 && table.is_empty() {
        return Ok("");
    }
    let tail =
        table.get(offset..).ok_or_else(|| malformed(format!("{} lies outside its string table", what())))?;
    let end = tail
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(|| malformed(format!("{} does not end", what())))?;
    core::str::from_utf8(&tail[..end]).map_err(|_| malformed(format!("{} is not UTF-8", what())))
}

fn read_symbols<'a>(
    sections: &[InputSection<'a>],
    table_index: usize,
    context: Ctx,
) -> Result<Vec<InputSymbol<'a>>, ObjectError> {
    let table = &sections[table_index];
    let names = sections
        .get(table.link as usize)
        .ok_or_else(|| malformed(format!("symbol names in section {}, which does not exist", table.link)))?
        .bytes;
    if !table.bytes.len().is_multiple_of(SYMBOL_BYTES) {
        return Err(malformed(format!("size {} of the symbol table", table.size)));
    }
    let raw = Sym::parse(table.bytes, 0, table.bytes.len() / SYMBOL_BYTES, context)
        .map_err(|error| malformed(format!("symbol table: {error}")))?;
    let extended = sections
        .iter()
        .find(|section| section.kind == SHT_SYMTAB_SHNDX && section.link as usize == table_index)
        .map_or(&[][..], |section| section.bytes);
    raw.iter()
        .enumerate()
        .map(|(index, symbol)| {
            let place = symbol_section(symbol, index, extended)?;
            if let SymbolSection::Index(section) = place
                && section >= sections.len()
            {
                return Err(malformed(format!(
                    "symbol {index} lies in section {section}, which does not exist"
                )));
            }
            Ok(InputSymbol {
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

fn symbol_section(symbol: &Sym, index: usize, extended: &[u8]) -> Result<SymbolSection, ObjectError> {
    let section = u16::try_from(symbol.st_shndx)
        .map_err(|_| malformed(format!("section index {} of symbol {index}", symbol.st_shndx)))?;
    Ok(match section {
        SHN_UNDEF => SymbolSection::Undefined,
        SHN_ABS => SymbolSection::Absolute,
        SHN_COMMON | SHN_X86_64_LCOMMON => SymbolSection::Common,
        value if u32::from(value) == SHN_XINDEX => {
            let entry = extended
                .get(index.saturating_mul(4)..)
                .and_then(|tail| tail.first_chunk::<4>())
                .ok_or_else(|| malformed(format!("symbol {index} has no extended section index")))?;
            SymbolSection::Index(u32::from_le_bytes(*entry) as usize)
        }
        value if value >= SHN_LORESERVE => SymbolSection::Reserved(value),
        value => SymbolSection::Index(usize::from(value)),
    })
}
