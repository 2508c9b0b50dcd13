//! Relocatable ELF objects to typed extension images.
//!
//! The host does here what a static linker does before it knows addresses: it chooses the sections
//! that run, merges them, allocates COMMON symbols, sorts constructors, and turns relocations and
//! symbols into the types of [`uio_protocol::image`]. It resolves no symbol. What the guest has no
//! use for (debug information, unwind tables) stays here; [`ObjectLayout`] says where each input
//! section went, so that it can be relocated once the guest reports addresses.
//!
//! Sources: System V gABI chapter 4 (sections, symbols), x86-64 psABI 1.0 section 4.4 (relocations).
#![forbid(unsafe_code)]

mod classify;
mod elf;
mod error;
mod layout;
mod merge;
mod relocations;
mod symbols;

use std::collections::HashMap;

use uio_protocol::GuestAddress;
use uio_protocol::image::{Definition, ExtensionImage, SectionKind};
use uio_protocol::limits::{RELOCATIONS_MAX, SYMBOL_NAME_BYTES_MAX, SYMBOLS_MAX};

use classify::Class;
use elf::{Object, SymbolSection};
pub use error::ObjectError;
pub use layout::{InputPlace, InputSection, ObjectLayout};
use merge::Piece;

/// An object in the form that is sent, and what the host keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedObject {
    /// What the guest gets.
    pub image: ExtensionImage,
    /// Where the parts of the object went.
    pub layout: ObjectLayout,
}

/// Parses the relocatable x86-64 object `bytes` into an image called `name`.
///
/// # Errors
///
/// [`ObjectError`] if the object is malformed, is no x86-64 `ET_REL`, or needs what extensions do not have:
/// thread-local storage, indirect functions, relocation types that no supported compiler flag produces.
pub fn parse(bytes: &[u8], name: &str) -> Result<ParsedObject, ObjectError> {
    let object = Object::read(bytes)?;
    let classes = object.sections.iter().map(classify::classify).collect::<Result<Vec<_>, _>>()?;
    let groups = relocations::groups(&object, &classes)?;

    let mut used = vec![false; object.symbols.len()];
    for group in &groups {
        for entry in group.entries() {
            relocations::kind_of(&object, &object.sections[group.target], &entry)?;
            used[entry.r_sym] = true;
        }
    }
    let sent: Vec<usize> = (0..object.symbols.len())
        .filter(|index| used[*index] || symbols::is_exported(&object.symbols[*index]))
        .collect();

    let (pieces, piece_of_section, piece_of_common) = pieces(&object, &classes, &sent);
    let (sections, positions) = merge::merge(&pieces)?;
    let placement = symbols::Placement {
        pieces: &pieces,
        positions: &positions,
        piece_of_section: &piece_of_section,
        piece_of_common: &piece_of_common,
    };

    let mut image =
        ExtensionImage { name: name.to_string(), sections, symbols: Vec::new(), relocations: Vec::new() };
    let mut image_index = vec![None; object.symbols.len()];
    for index in sent {
        let symbol = &object.symbols[index];
        let dropped =
            matches!(symbol.place, SymbolSection::Index(section) if piece_of_section[section].is_none());
        // Nobody needs the name of what is not sent; a relocation that does is refused below.
        if dropped {
            continue;
        }
        limit("bytes in a symbol's name", symbol.name.len(), SYMBOL_NAME_BYTES_MAX)?;
        image_index[index] = u32::try_from(image.symbols.len()).ok();
        image.symbols.push(symbols::convert(&object, &placement, &image.sections, index)?);
    }
    limit("symbols", image.symbols.len(), SYMBOLS_MAX)?;
    for group in &groups {
        let section = &object.sections[group.target];
        // Only an empty section has no piece, and a relocation of it would lie outside.
        let piece = piece_of_section[group.target];
        for entry in group.entries() {
            let target =
                image_index[entry.r_sym].ok_or_else(|| dropped_target(&object, section.name, &entry))?;
            let piece =
                piece.ok_or_else(|| elf::malformed(format!("relocation in empty {}", section.name)))?;
            let (position, reversed) = (positions[piece], pieces[piece].reversed);
            image
                .relocations
                .push(relocations::convert(&object, section, position, reversed, &entry, target)?);
        }
    }
    limit("relocations", image.relocations.len(), RELOCATIONS_MAX)?;
    let layout = layout::layout(&object, &placement)?;
    Ok(ParsedObject { image, layout })
}

/// Gives every undefined symbol the address that `lookup` finds in the guest's symbol table, and
/// takes the hint away where it finds none.
pub fn resolve_hints(image: &mut ExtensionImage, lookup: impl Fn(&str) -> Option<GuestAddress>) {
    for symbol in &mut image.symbols {
        if let Definition::Undefined { hint } = &mut symbol.definition {
            *hint = lookup(&symbol.name);
        }
    }
}

/// Pieces to place: sections that have contents or a symbol that is sent, and COMMON symbols.
/// Also the piece of each section, and of each COMMON symbol, by ELF index.
fn pieces<'a>(
    object: &Object<'a>,
    classes: &[Class],
    sent: &[usize],
) -> (Vec<Piece<'a>>, Vec<Option<usize>>, HashMap<usize, usize>) {
    let mut named = vec![false; object.sections.len()];
    for index in sent {
        if let SymbolSection::Index(section) = object.symbols[*index].place {
            named[section] = true;
        }
    }
    let mut pieces = Vec::new();
    let mut piece_of_section = vec![None; object.sections.len()];
    for (index, (section, class)) in object.sections.iter().zip(classes).enumerate() {
        let (kind, priority, reversed) = match *class {
            Class::Dropped => continue,
            Class::Kept(kind) => (kind, 0, false),
            Class::Calls { kind, priority, reversed } => (kind, priority, reversed),
        };
        if section.size == 0 && !named[index] {
            continue;
        }
        piece_of_section[index] = Some(pieces.len());
        pieces.push(Piece {
            name: section.name,
            kind,
            alignment: section.alignment,
            size: section.size,
            bytes: section.bytes,
            priority,
            reversed,
        });
    }
    let mut piece_of_common = HashMap::new();
    for index in sent {
        let symbol = &object.symbols[*index];
        if symbol.place == SymbolSection::Common {
            piece_of_common.insert(*index, pieces.len());
            pieces.push(Piece {
                name: "COMMON",
                kind: SectionKind::Zeroed,
                // `st_value` of a COMMON symbol is its alignment.
                alignment: symbol.value,
                size: symbol.size,
                bytes: &[],
                priority: 0,
                reversed: false,
            });
        }
    }
    (pieces, piece_of_section, piece_of_common)
}

fn dropped_target(object: &Object<'_>, section: &str, entry: &goblin::elf::Reloc) -> ObjectError {
    let symbol = &object.symbols[entry.r_sym];
    let target = match symbol.place {
        SymbolSection::Index(index) => object.sections[index].name.to_string(),
        _ => String::new(),
    };
    ObjectError::DroppedTarget {
        section: section.to_string(),
        offset: entry.r_offset,
        symbol: object.display_name(symbol),
        target,
    }
}

fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), ObjectError> {
    if count > limit {
        return Err(ObjectError::Limit { what, count: count as u64, limit: limit as u64 });
    }
    Ok(())
}
