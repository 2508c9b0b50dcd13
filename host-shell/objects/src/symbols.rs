//! Which symbols are sent, and what they say.

use std::collections::HashMap;

use goblin::elf::sym::{
    STB_GLOBAL, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_TLS, STV_DEFAULT,
    STV_PROTECTED,
};
use uio_protocol::image::{Binding, Definition, Section, Symbol};

use crate::ObjectError;
use crate::elf::{InputSymbol, Object, SymbolSection, malformed};
use crate::merge::{Piece, Position};

/// Where everything of the object came to lie.
pub(crate) struct Placement<'a, 'b> {
    pub(crate) pieces: &'b [Piece<'a>],
    /// Positions of the pieces.
    pub(crate) positions: &'b [Position],
    /// Piece of each section, by ELF index.
    pub(crate) piece_of_section: &'b [Option<usize>],
    /// Piece of each COMMON symbol, by ELF index of the symbol.
    pub(crate) piece_of_common: &'b HashMap<usize, usize>,
}

/// Whether other extensions, and the guest's `call`, can see the symbol.
pub(crate) fn is_exported(symbol: &InputSymbol<'_>) -> bool {
    symbol.binding != STB_LOCAL
        && symbol.place != SymbolSection::Undefined
        && matches!(symbol.visibility, STV_DEFAULT | STV_PROTECTED)
}

/// Definition of a symbol that is not undefined; `None` if its section is not sent.
pub(crate) fn place(
    object: &Object<'_>,
    placement: &Placement<'_, '_>,
    index: usize,
) -> Result<Option<Definition>, ObjectError> {
    let symbol = &object.symbols[index];
    let (piece, value) = match symbol.place {
        SymbolSection::Absolute => return Ok(Some(Definition::Absolute(symbol.value))),
        SymbolSection::Common => (placement.piece_of_common.get(&index).copied(), 0),
        SymbolSection::Index(section) => (placement.piece_of_section[section], symbol.value),
        SymbolSection::Undefined | SymbolSection::Reserved(_) => (None, 0),
    };
    let Some(piece) = piece else { return Ok(None) };
    if value > placement.pieces[piece].size {
        return Err(malformed(format!(
            "symbol `{}` lies at {value:#x} of {}, past its end",
            symbol.name, placement.pieces[piece].name
        )));
    }
    let position = placement.positions[piece];
    // `merge` made sure that offset and size of a piece add up to 32 bits.
    let offset = position.offset.saturating_add(u32::try_from(value).unwrap_or(u32::MAX));
    Ok(Some(Definition::Section { section: position.section, offset }))
}

/// The symbol that is sent for symbol `index` of the object.
pub(crate) fn convert(
    object: &Object<'_>,
    placement: &Placement<'_, '_>,
    sections: &[Section],
    index: usize,
) -> Result<Symbol, ObjectError> {
    let symbol = &object.symbols[index];
    let unsupported =
        |what: String| ObjectError::UnsupportedSymbol { symbol: object.display_name(symbol), what };
    if symbol.kind == STT_GNU_IFUNC {
        return Err(ObjectError::IndirectFunction { symbol: symbol.name.to_string() });
    }
    if symbol.kind == STT_TLS {
        return Err(unsupported("thread-local storage".to_string()));
    }
    if let SymbolSection::Reserved(section) = symbol.place {
        return Err(unsupported(format!("the reserved section index {section:#x}")));
    }
    let mut binding = match symbol.binding {
        STB_LOCAL => Binding::Local,
        STB_GLOBAL | STB_GNU_UNIQUE => Binding::Global,
        STB_WEAK => Binding::Weak,
        other => return Err(unsupported(format!("the unknown binding {other}"))),
    };
    let undefined = Definition::Undefined { hint: None };
    let definition = if index == 0 {
        // Relocations without a symbol: their value is the addend.
        binding = Binding::Local;
        Definition::Absolute(0)
    } else if symbol.place == SymbolSection::Undefined {
        match bound(symbol.name, placement, sections) {
            Some(definition) => {
                binding = Binding::Local;
                definition
            }
            None if binding == Binding::Local => {
                return Err(unsupported("no definition, and is local".to_string()));
            }
            None => undefined,
        }
    } else {
        place(object, placement, index)?.unwrap_or(undefined)
    };
    if !matches!(definition, Definition::Undefined { .. }) && !is_exported(symbol) {
        binding = Binding::Local;
    }
    Ok(Symbol {
        name: symbol.name.to_string(),
        definition,
        binding,
        function: symbol.kind == STT_FUNC,
        size: u32::try_from(symbol.size)
            .map_err(|_| unsupported(format!("a size of {} bytes", symbol.size)))?,
    })
}

/// `__start_NAME` and `__stop_NAME`, which linkers define around the sections called NAME.
fn bound(name: &str, placement: &Placement<'_, '_>, sections: &[Section]) -> Option<Definition> {
    let (section_name, start) = match (name.strip_prefix("__start_"), name.strip_prefix("__stop_")) {
        (Some(section), _) => (section, true),
        (_, Some(section)) => (section, false),
        _ => return None,
    };
    // Pieces of one name and kind lie together; the kind of the first decides.
    let mut pieces =
        (0..placement.pieces.len()).filter(|index| placement.pieces[*index].name == section_name);
    let first = pieces.next()?;
    let kind = placement.pieces[first].kind;
    let last = pieces.rfind(|index| placement.pieces[*index].kind == kind).unwrap_or(first);
    let position = placement.positions[if start { first } else { last }];
    let offset = if start {
        position.offset
    } else {
        let end = u64::from(position.offset) + placement.pieces[last].size;
        u32::try_from(end).ok()?.min(sections[usize::from(position.section)].size)
    };
    Some(Definition::Section { section: position.section, offset })
}
