//! Puts input sections into output sections: one for each name, or one for each kind where the
//! names are many.

use uio_protocol::image::{Section, SectionKind};
use uio_protocol::limits::{SECTIONS_MAX, UPLOAD_BYTES_MAX};

use crate::ObjectError;
use crate::elf::malformed;

/// Output sections up to which each name of the object keeps its own, for readable reports. More
/// come from `-ffunction-sections` and from Rust; they are then merged into one of each kind.
const NAMED_SECTIONS_MAX: usize = 64;

/// What fills the gaps between functions: `int3`.
const TEXT_FILLER: u8 = 0xcc;

/// Largest alignment: a page.
const ALIGNMENT_MAX: u64 = 4096;

/// A pointer of `.init_array` and its like, in bytes.
pub(crate) const POINTER_BYTES: u64 = 8;

/// Something to place: a section of the object, or a COMMON symbol.
pub(crate) struct Piece<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SectionKind,
    pub(crate) alignment: u64,
    pub(crate) size: u64,
    pub(crate) bytes: &'a [u8],
    /// Rank among constructors or destructors; 0 for all else.
    pub(crate) priority: i64,
    /// Its pointers are laid out last first.
    pub(crate) reversed: bool,
}

/// Where a piece came to lie: output section and offset of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) section: u16,
    pub(crate) offset: u32,
}

/// Places `pieces`; the answer has one position for each, in their order.
///
/// Pieces of one name lie together in the object's order, also where names are merged, so that
/// `__start_NAME` and `__stop_NAME` have a meaning.
pub(crate) fn merge(pieces: &[Piece<'_>]) -> Result<(Vec<Section>, Vec<Position>), ObjectError> {
    // Rank of a name within its kind: its first appearance.
    let mut first_of_name = std::collections::HashMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        first_of_name.entry((piece.kind, piece.name)).or_insert(index);
    }
    let merge_kinds = first_of_name.len() > NAMED_SECTIONS_MAX;
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|index| {
        let piece = &pieces[*index];
        // Constructors are ordered by priority, then as in the object; all else by name.
        let name = if is_calls(piece.kind) { 0 } else { first_of_name[&(piece.kind, piece.name)] };
        (rank(piece.kind), piece.priority, name, *index)
    });

    let mut sections: Vec<Section> = Vec::new();
    let mut positions = vec![Position { section: 0, offset: 0 }; pieces.len()];
    let mut previous: Option<&Piece<'_>> = None;
    let mut total_bytes = 0u64;
    for index in order {
        let piece = &pieces[index];
        let joins = previous.is_some_and(|previous| {
            previous.kind == piece.kind
                && (merge_kinds || is_calls(piece.kind) || previous.name == piece.name)
        });
        if !joins {
            sections.push(Section {
                name: if merge_kinds || is_calls(piece.kind) { kind_name(piece.kind) } else { piece.name }
                    .to_string(),
                kind: piece.kind,
                alignment: 1,
                size: 0,
                bytes: Vec::new(),
            });
        }
        previous = Some(piece);
        total_bytes = total_bytes.saturating_add(piece.bytes.len() as u64);
        if total_bytes > UPLOAD_BYTES_MAX as u64 {
            let count = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
            return Err(ObjectError::Limit { what: "bytes", count, limit: UPLOAD_BYTES_MAX as u64 });
        }
        let section = sections.len() - 1;
        let offset = append(&mut sections[section], piece)?;
        positions[index] = Position { section: u16::try_from(section).unwrap_or(u16::MAX), offset };
    }
    if sections.len() > SECTIONS_MAX {
        return Err(ObjectError::Limit {
            what: "sections",
            count: sections.len() as u64,
            limit: SECTIONS_MAX as u64,
        });
    }
    Ok((sections, positions))
}

/// Appends `piece` at the next offset that suits its alignment, and returns that offset.
fn append(section: &mut Section, piece: &Piece<'_>) -> Result<u32, ObjectError> {
    let alignment = match piece.alignment.max(1) {
        alignment if alignment.is_power_of_two() && alignment <= ALIGNMENT_MAX => alignment,
        alignment => return Err(ObjectError::Alignment { name: piece.name.to_string(), alignment }),
    };
    let offset = u64::from(section.size).next_multiple_of(alignment);
    let end = offset.checked_add(piece.size).and_then(|end| u32::try_from(end).ok()).ok_or_else(|| {
        ObjectError::Limit { what: "bytes in one section", count: piece.size, limit: u64::from(u32::MAX) }
    })?;
    if is_calls(piece.kind) && !piece.size.is_multiple_of(POINTER_BYTES) {
        return Err(malformed(format!("{} of {} bytes is no list of pointers", piece.name, piece.size)));
    }
    if piece.kind != SectionKind::Zeroed {
        if piece.bytes.len() as u64 != piece.size {
            return Err(malformed(format!(
                "{} has {} of {} bytes",
                piece.name,
                piece.bytes.len(),
                piece.size
            )));
        }
        let filler = if piece.kind == SectionKind::Text { TEXT_FILLER } else { 0 };
        // `offset` is below `end`, which fits 32 bits.
        section.bytes.resize(usize::try_from(offset).unwrap_or(usize::MAX), filler);
        if piece.reversed {
            for pointer in piece.bytes.rchunks(POINTER_BYTES as usize) {
                section.bytes.extend_from_slice(pointer);
            }
        } else {
            section.bytes.extend_from_slice(piece.bytes);
        }
    }
    section.size = end;
    section.alignment = section.alignment.max(u32::try_from(alignment).unwrap_or(u32::MAX));
    // `offset` is at most `end`.
    Ok(u32::try_from(offset).unwrap_or(u32::MAX))
}

fn is_calls(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::Constructors | SectionKind::Destructors)
}

/// Order of the kinds in the image.
fn rank(kind: SectionKind) -> u8 {
    match kind {
        SectionKind::Text => 0,
        SectionKind::ReadOnly => 1,
        SectionKind::Constructors => 2,
        SectionKind::Destructors => 3,
        SectionKind::Data => 4,
        SectionKind::Zeroed => 5,
    }
}

/// Name of an output section that holds several names.
fn kind_name(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Text => ".text",
        SectionKind::ReadOnly => ".rodata",
        SectionKind::Constructors => ".init_array",
        SectionKind::Destructors => ".fini_array",
        SectionKind::Data => ".data",
        SectionKind::Zeroed => ".bss",
    }
}
