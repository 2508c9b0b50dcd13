//! Relocation of the sections of an object that only the host needs: `.debug_*` and `.eh_frame`.
//!
//! The guest's linker relocates what runs. These sections stay on the host, so the host applies
//! the same formulas (System V ABI for x86-64, table 4.9) once it knows where the rest was placed.

use goblin::elf::reloc::{
    R_X86_64_8, R_X86_64_16, R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_PC32, R_X86_64_PC64,
    R_X86_64_PLT32,
};
use goblin::elf::section_header::{SHN_ABS, SHN_COMMON, SHT_RELA, SHT_SYMTAB};
use goblin::elf::{RelocSection, sym::Sym};

use crate::elf::{CONTEXT, ElfFile, Section, string_at};
use crate::symbols::scroll_read::symbol_at;

/// Names a part of an object that was given an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InputSection {
    /// By its index in the section header table. Needed where names repeat (`-ffunction-sections`
    /// with COMDAT groups).
    Index(usize),
    /// The first section of that name.
    Name(String),
    /// A COMMON symbol, which has no section in the object.
    Common(String),
}

/// Where one part of an object lies in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Which part.
    pub section: InputSection,
    /// Guest address of its first byte.
    pub address: u64,
}

/// Guest addresses of the parts of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    sections: Vec<Option<u64>>,
    commons: Vec<(String, u64)>,
}

impl Layout {
    pub(crate) fn new(elf: &ElfFile, placements: &[Placement]) -> Self {
        let mut layout = Self { sections: vec![None; elf.sections.len()], commons: Vec::new() };
        for placement in placements {
            let index = match &placement.section {
                InputSection::Index(index) => Some(*index),
                InputSection::Name(name) => elf.sections.iter().position(|section| section.name == *name),
                InputSection::Common(name) => {
                    layout.commons.push((name.clone(), placement.address));
                    None
                }
            };
            if let Some(slot) = index.and_then(|index| layout.sections.get_mut(index)) {
                *slot = Some(placement.address);
            }
        }
        layout
    }

    pub(crate) fn section(&self, index: usize) -> Option<u64> {
        self.sections.get(index).copied().flatten()
    }

    /// The lowest address that was given out.
    pub(crate) fn lowest(&self) -> u64 {
        self.sections.iter().flatten().copied().min().unwrap_or(0)
    }

    /// The guest address of a symbol; `None` if it is undefined or in a section that was not placed.
    pub(crate) fn symbol(&self, elf: &ElfFile, name: &str, symbol: &Sym) -> Option<u64> {
        match u32::try_from(symbol.st_shndx).ok()? {
            0 => None,
            SHN_ABS => Some(symbol.st_value),
            SHN_COMMON => self.commons.iter().find(|(common, _)| common == name).map(|&(_, address)| address),
            index => {
                let section = elf.sections.get(index as usize)?;
                // Debug sections refer to each other by offset, as if each lay at zero.
                let base = if section.is_allocated() { self.section(index as usize)? } else { 0 };
                Some(base.wrapping_add(symbol.st_value))
            }
        }
    }
}

/// The contents of section `index`, which lies at `address`, with its relocations applied.
pub(crate) fn relocated(elf: &ElfFile, layout: &Layout, index: usize, address: u64) -> Vec<u8> {
    let Some(section) = elf.sections.get(index) else { return Vec::new() };
    let mut bytes = elf.contents(section).to_vec();
    let absent = absent_value(section);
    for table in &elf.sections {
        if table.kind != SHT_RELA || table.info as usize != index {
            continue;
        }
        let Some(symbols) = elf.sections.get(table.link as usize).filter(|table| table.kind == SHT_SYMTAB)
        else {
            continue;
        };
        let Some(names) = elf.sections.get(symbols.link as usize) else { continue };
        let Ok(relocations) =
            RelocSection::parse(&elf.bytes, table.file.start, table.file.len(), true, CONTEXT)
        else {
            continue;
        };
        for relocation in &relocations {
            let value = symbol_at(elf.contents(symbols), relocation.r_sym).and_then(|symbol| {
                let name = string_at(&elf.bytes, names.file.start as u64 + symbol.st_name as u64);
                layout.symbol(elf, name, &symbol)
            });
            let addend = relocation.r_addend.unwrap_or(0).cast_unsigned();
            let place = address.wrapping_add(relocation.r_offset);
            let (width, relative) = match relocation.r_type {
                R_X86_64_64 => (8, false),
                R_X86_64_PC64 => (8, true),
                R_X86_64_32 | R_X86_64_32S => (4, false),
                R_X86_64_PC32 | R_X86_64_PLT32 => (4, true),
                R_X86_64_16 => (2, false),
                R_X86_64_8 => (1, false),
                // Thread-local offsets and GOT slots: nothing that is read here depends on them.
                _ => continue,
            };
            let result = match value {
                Some(value) if relative => value.wrapping_add(addend).wrapping_sub(place),
                Some(value) => value.wrapping_add(addend),
                None => absent,
            };
            let field = usize::try_from(relocation.r_offset)
                .ok()
                .and_then(|start| bytes.get_mut(start..start.checked_add(width)?));
            if let Some(field) = field {
                field.copy_from_slice(&result.to_le_bytes()[..width]);
            }
        }
    }
    bytes
}

/// What stands for the address of code that is not there. Readers of DWARF skip all-ones; in the old
/// range lists that value begins a new base address, so there it is one less.
fn absent_value(section: &Section) -> u64 {
    match section.name.as_str() {
        ".debug_ranges" | ".debug_loc" => u64::MAX - 1,
        ".eh_frame" => 0,
        _ => u64::MAX,
    }
}
