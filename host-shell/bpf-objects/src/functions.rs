//! Functions of the code sections.

use goblin::elf::sym::{STB_LOCAL, STT_FUNC, STT_NOTYPE, STV_HIDDEN, STV_INTERNAL};

use crate::elf::{Object, Symbol};
use crate::error::{BpfObjectError, malformed};

/// Bytes of an instruction slot.
pub(crate) const SLOT_BYTES: u64 = 8;

/// A function: a run of slots of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// ELF index.
    pub(crate) section: usize,
    /// First slot in the section.
    pub(crate) start: u32,
    pub(crate) slots: u32,
    /// Whether others than this object's functions may call it: a program, in a section of programs.
    pub(crate) exported: bool,
}

impl Function<'_> {
    /// First byte in the section, and one past the last.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let start = u64::from(self.start) * SLOT_BYTES;
        (start, start + u64::from(self.slots) * SLOT_BYTES)
    }
}

/// All functions of all code sections, ascending by section and start.
pub(crate) fn find<'a>(object: &Object<'a>) -> Result<Vec<Function<'a>>, BpfObjectError> {
    let mut functions: Vec<Function<'a>> = Vec::new();
    for (index, section) in object.sections.iter().enumerate() {
        if !section.is_code() || section.bytes.is_empty() {
            continue;
        }
        if !(section.bytes.len() as u64).is_multiple_of(SLOT_BYTES) {
            return Err(malformed(format!("{} bytes of code in {}", section.bytes.len(), section.name)));
        }
        let slots = u32::try_from(section.bytes.len() as u64 / SLOT_BYTES)
            .map_err(|_| malformed(format!("size of {}", section.name)))?;
        let mut starts: Vec<&Symbol<'a>> =
            object.symbols_of(index).filter(|symbol| is_function(symbol)).collect();
        // Of several names for one function the first global one counts.
        starts.sort_by_key(|symbol| (symbol.value, symbol.binding == STB_LOCAL));
        starts.dedup_by_key(|symbol| symbol.value);
        if starts.first().is_none_or(|symbol| symbol.value != 0) {
            // Code before the first symbol, or without any: by hand, or stripped.
            let first = starts.first().map_or(slots, |symbol| (symbol.value / SLOT_BYTES) as u32);
            functions.push(Function {
                name: section.name,
                section: index,
                start: 0,
                slots: first,
                exported: true,
            });
        }
        for (position, symbol) in starts.iter().enumerate() {
            let end = starts.get(position + 1).map_or(u64::from(slots) * SLOT_BYTES, |next| next.value);
            if !symbol.value.is_multiple_of(SLOT_BYTES) || symbol.value >= u64::from(slots) * SLOT_BYTES {
                return Err(malformed(format!("function `{}` at {:#x}", symbol.name, symbol.value)));
            }
            // A symbol's size may leave padding out; what is larger would overlap the next.
            let bytes = match symbol.size {
                0 => end - symbol.value,
                size if size.is_multiple_of(SLOT_BYTES) && size <= end - symbol.value => size,
                size => return Err(malformed(format!("size {size} of function `{}`", symbol.name))),
            };
            functions.push(Function {
                name: symbol.name,
                section: index,
                start: (symbol.value / SLOT_BYTES) as u32,
                slots: (bytes / SLOT_BYTES) as u32,
                exported: symbol.binding != STB_LOCAL
                    && symbol.visibility != STV_HIDDEN
                    && symbol.visibility != STV_INTERNAL,
            });
        }
    }
    Ok(functions)
}

/// Index of the function that starts at `slot` of `section`.
pub(crate) fn at(functions: &[Function<'_>], section: usize, slot: u32) -> Option<usize> {
    functions.binary_search_by_key(&(section, slot), |function| (function.section, function.start)).ok()
}

/// Labels of branches are symbols as well: local, without a type.
fn is_function(symbol: &Symbol<'_>) -> bool {
    symbol.kind == STT_FUNC || symbol.kind == STT_NOTYPE && symbol.binding != STB_LOCAL
}
