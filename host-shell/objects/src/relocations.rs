//! Relocations: from ELF types to the kinds that the guest's linker implements.

use goblin::elf::reloc::{
    R_X86_64_8, R_X86_64_16, R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_DTPMOD64, R_X86_64_DTPOFF32,
    R_X86_64_DTPOFF64, R_X86_64_GOT32, R_X86_64_GOT64, R_X86_64_GOTOFF64, R_X86_64_GOTPC32,
    R_X86_64_GOTPC32_TLSDESC, R_X86_64_GOTPC64, R_X86_64_GOTPCREL, R_X86_64_GOTPCREL64, R_X86_64_GOTPCRELX,
    R_X86_64_GOTPLT64, R_X86_64_GOTTPOFF, R_X86_64_NONE, R_X86_64_PC8, R_X86_64_PC16, R_X86_64_PC32,
    R_X86_64_PC64, R_X86_64_PLT32, R_X86_64_PLTOFF64, R_X86_64_REX_GOTPCRELX, R_X86_64_SIZE32,
    R_X86_64_SIZE64, R_X86_64_TLSDESC, R_X86_64_TLSDESC_CALL, R_X86_64_TLSGD, R_X86_64_TLSLD,
    R_X86_64_TPOFF32, R_X86_64_TPOFF64,
};
use goblin::elf::section_header::{SHT_NOBITS, SHT_REL, SHT_RELA};
use goblin::elf::{Reloc, RelocSection};
use uio_protocol::image::{Relocation, RelocationKind};

use crate::ObjectError;
use crate::classify::Class;
use crate::elf::{InputSection, Object, malformed};
use crate::merge::{POINTER_BYTES, Position};

/// The relocations of one section that is sent.
pub(crate) struct Group<'a> {
    /// ELF index of the section that they patch.
    pub(crate) target: usize,
    entries: RelocSection<'a>,
}

impl Group<'_> {
    /// The entries that patch something.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Reloc> {
        self.entries.iter().filter(|entry| entry.r_type != R_X86_64_NONE)
    }
}

/// Finds the relocation sections of the sections that are sent.
pub(crate) fn groups<'a>(object: &Object<'a>, classes: &[Class]) -> Result<Vec<Group<'a>>, ObjectError> {
    let mut groups = Vec::new();
    for section in &object.sections {
        if section.kind != SHT_RELA && section.kind != SHT_REL {
            continue;
        }
        let target = section.info as usize;
        match classes.get(target) {
            None => return Err(malformed(format!("{} patches section {target}", section.name))),
            Some(Class::Dropped) => continue,
            Some(_) => {}
        }
        if section.kind == SHT_REL {
            return Err(ObjectError::ImplicitAddends { section: section.name.to_string() });
        }
        if section.link as usize != object.symbol_table {
            return Err(malformed(format!("{} uses section {} for symbols", section.name, section.link)));
        }
        let entries = Object::relocations(section)?;
        if !entries.is_empty() && object.sections[target].kind == SHT_NOBITS {
            return Err(malformed(format!("{} patches a section without contents", section.name)));
        }
        groups.push(Group { target, entries });
    }
    Ok(groups)
}

/// The kind of a relocation of `section`.
pub(crate) fn kind_of(
    object: &Object<'_>,
    section: &InputSection<'_>,
    entry: &Reloc,
) -> Result<RelocationKind, ObjectError> {
    let symbol = object.symbol_of(entry)?;
    kind(entry.r_type).ok_or_else(|| {
        let symbol = object.display_name(symbol);
        let (section, offset, relocation) = (section.name.to_string(), entry.r_offset, entry.r_type);
        if is_thread_local(relocation) {
            ObjectError::ThreadLocalRelocation { section, offset, symbol, relocation }
        } else {
            ObjectError::UnsupportedRelocation { section, offset, symbol, relocation }
        }
    })
}

/// Converts one relocation of `section`, which came to lie at `position`.
///
/// `symbol` is the index in the image of the symbol that it names.
pub(crate) fn convert(
    object: &Object<'_>,
    section: &InputSection<'_>,
    position: Position,
    reversed: bool,
    entry: &Reloc,
    symbol: u32,
) -> Result<Relocation, ObjectError> {
    let kind = kind_of(object, section, entry)?;
    let width_bytes = u64::from(kind.width_bytes());
    let outside = || {
        malformed(format!("relocation at {}+{:#x} lies outside the section", section.name, entry.r_offset))
    };
    let end =
        entry.r_offset.checked_add(width_bytes).filter(|end| *end <= section.size).ok_or_else(outside)?;
    let offset = if reversed {
        // Pointers change places; the field of a pointer stays aligned with it.
        if entry.r_offset % POINTER_BYTES + width_bytes > POINTER_BYTES {
            return Err(outside());
        }
        let pointer = entry.r_offset - entry.r_offset % POINTER_BYTES;
        section.size - POINTER_BYTES - pointer + entry.r_offset % POINTER_BYTES
    } else {
        end - width_bytes
    };
    let offset = u32::try_from(u64::from(position.offset) + offset).map_err(|_| outside())?;
    Ok(Relocation { section: position.section, offset, kind, symbol, addend: entry.r_addend.unwrap_or(0) })
}

/// The kind of an ELF relocation type, or `None` if the guest's linker does not implement it.
fn kind(relocation: u32) -> Option<RelocationKind> {
    Some(match relocation {
        R_X86_64_64 => RelocationKind::Abs64,
        R_X86_64_32 => RelocationKind::Abs32,
        R_X86_64_32S => RelocationKind::Abs32Signed,
        R_X86_64_16 => RelocationKind::Abs16,
        R_X86_64_8 => RelocationKind::Abs8,
        R_X86_64_PC64 => RelocationKind::Pc64,
        R_X86_64_PC32 => RelocationKind::Pc32,
        R_X86_64_PC16 => RelocationKind::Pc16,
        R_X86_64_PC8 => RelocationKind::Pc8,
        R_X86_64_PLT32 => RelocationKind::Plt32,
        R_X86_64_GOTPCREL => RelocationKind::GotPcRel,
        R_X86_64_GOTPCRELX => RelocationKind::GotPcRelX,
        R_X86_64_REX_GOTPCRELX => RelocationKind::RexGotPcRelX,
        R_X86_64_GOTOFF64 => RelocationKind::GotOff64,
        R_X86_64_GOTPC32 => RelocationKind::GotPc32,
        R_X86_64_GOTPC64 => RelocationKind::GotPc64,
        R_X86_64_GOT32 => RelocationKind::Got32,
        // GOTPLT64 is an old spelling: GOT64 of a symbol that has a PLT entry too.
        R_X86_64_GOT64 | R_X86_64_GOTPLT64 => RelocationKind::Got64,
        R_X86_64_GOTPCREL64 => RelocationKind::GotPcRel64,
        R_X86_64_PLTOFF64 => RelocationKind::PltOff64,
        R_X86_64_SIZE32 => RelocationKind::Size32,
        R_X86_64_SIZE64 => RelocationKind::Size64,
        _ => return None,
    })
}

/// Whether an ELF relocation type concerns thread-local storage.
fn is_thread_local(relocation: u32) -> bool {
    matches!(
        relocation,
        R_X86_64_DTPMOD64
            | R_X86_64_DTPOFF32
            | R_X86_64_DTPOFF64
            | R_X86_64_TPOFF32
            | R_X86_64_TPOFF64
            | R_X86_64_TLSGD
            | R_X86_64_TLSLD
            | R_X86_64_GOTTPOFF
            | R_X86_64_GOTPC32_TLSDESC
            | R_X86_64_TLSDESC
            | R_X86_64_TLSDESC_CALL
    )
}
