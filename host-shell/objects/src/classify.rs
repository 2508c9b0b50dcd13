//! What becomes of an input section.

use goblin::elf::section_header::{
    SHF_ALLOC, SHF_COMPRESSED, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_FINI_ARRAY, SHT_INIT_ARRAY, SHT_NOBITS,
    SHT_NOTE, SHT_PREINIT_ARRAY, SHT_PROGBITS, SHT_X86_64_UNWIND,
};
use uio_protocol::image::SectionKind;

use crate::ObjectError;
use crate::elf::InputSection;

/// What becomes of an input section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It stays on the host: debug information, notes, unwind tables, and ELF's own tables.
    Dropped,
    /// It is sent.
    Kept(SectionKind),
    /// Pointers to constructors or destructors, sent sorted by priority.
    Calls {
        kind: SectionKind,
        /// Rank among the sections of this kind, lowest first.
        priority: i64,
        /// `.ctors` and `.dtors` run the other way round than `.init_array` and `.fini_array`.
        reversed: bool,
    },
}

/// Rank of `.init_array` without a suffix: after all that have one (0 to 65535).
const PRIORITY_DEFAULT: i64 = 65_536;
/// Rank of `.preinit_array`: before all others.
const PRIORITY_FIRST: i64 = -1;
/// `.ctors.N` holds constructors of priority `65535 - N`.
const CTORS_PRIORITY_BASE: i64 = 65_535;

/// Decides by type, flags and name, as the System V ABI and GNU ld's default script do.
pub(crate) fn classify(section: &InputSection<'_>) -> Result<Class, ObjectError> {
    let has = |flag: u32| section.flags & u64::from(flag) != 0;
    let name = section.name;
    if has(SHF_TLS) {
        return Err(ObjectError::ThreadLocalSection { section: name.to_string() });
    }
    if !has(SHF_ALLOC) || section.kind == SHT_NOTE || is_unwind_table(section) {
        return Ok(Class::Dropped);
    }
    if has(SHF_COMPRESSED) {
        return Err(ObjectError::Compressed { section: name.to_string() });
    }
    if has(SHF_WRITE) && has(SHF_EXECINSTR) {
        return Err(ObjectError::WritableCode { section: name.to_string() });
    }
    let unsupported = || ObjectError::UnsupportedSection { section: name.to_string(), kind: section.kind };
    if let Some(calls) = calls(section) {
        return if section.kind == SHT_NOBITS { Err(unsupported()) } else { Ok(calls) };
    }
    Ok(Class::Kept(match section.kind {
        SHT_NOBITS if has(SHF_EXECINSTR) => return Err(unsupported()),
        SHT_NOBITS => SectionKind::Zeroed,
        // Fragments of functions that only the C start-up objects of a whole program complete.
        SHT_PROGBITS if matches!(name, ".init" | ".fini") && section.size > 0 => return Err(unsupported()),
        SHT_PROGBITS if has(SHF_EXECINSTR) => SectionKind::Text,
        SHT_PROGBITS if has(SHF_WRITE) && !name.starts_with(".data.rel.ro") => SectionKind::Data,
        SHT_PROGBITS => SectionKind::ReadOnly,
        _ => return Err(unsupported()),
    }))
}

/// Unwind tables, and the pointers to personality routines that only they use: guests do not unwind.
fn is_unwind_table(section: &InputSection<'_>) -> bool {
    section.kind == SHT_X86_64_UNWIND
        || section.name == ".eh_frame"
        || section.name.starts_with(".gcc_except_table")
        || section.name.contains(".DW.ref.")
}

fn calls(section: &InputSection<'_>) -> Option<Class> {
    let (stem, suffix) = stem(section.name);
    let number = suffix.and_then(|text| text.parse::<u16>().ok()).map(i64::from);
    let (kind, reversed) = match (section.kind, stem) {
        (_, ".ctors") => (SectionKind::Constructors, true),
        (_, ".dtors") => (SectionKind::Destructors, true),
        (SHT_PREINIT_ARRAY, _) => {
            return Some(Class::Calls {
                kind: SectionKind::Constructors,
                priority: PRIORITY_FIRST,
                reversed: false,
            });
        }
        (SHT_INIT_ARRAY, _) | (_, ".init_array") => (SectionKind::Constructors, false),
        (SHT_FINI_ARRAY, _) | (_, ".fini_array") => (SectionKind::Destructors, false),
        _ => return None,
    };
    let priority = match number {
        Some(number) if reversed => CTORS_PRIORITY_BASE - number,
        Some(number) => number,
        None => PRIORITY_DEFAULT,
    };
    Some(Class::Calls { kind, priority, reversed })
}

/// Splits `.init_array.00100` into `.init_array` and `00100`.
fn stem(name: &str) -> (&str, Option<&str>) {
    let end = name.get(1..).and_then(|tail| tail.find('.')).map(|dot| dot + 1);
    match end {
        Some(end) => (&name[..end], Some(&name[end + 1..])),
        None => (name, None),
    }
}
