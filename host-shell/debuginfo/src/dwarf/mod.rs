//! DWARF of one module: sections, units, and what is built from them on first use.

pub(crate) mod functions;
pub(crate) mod index;
pub(crate) mod lines;
pub(crate) mod pieces;
pub(crate) mod types;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use gimli::{AttributeValue, EndianReader, EndianSlice, LittleEndian, UnitOffset};

use crate::error::DebugError;
use crate::types::{ModuleId, Type};
use index::Index;

/// Reader for what outlives a call: shares the file's bytes.
pub(crate) type Shared = EndianReader<LittleEndian, Arc<[u8]>>;
/// Reader for scans over everything: borrows, so that copying it costs nothing.
pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;

struct UnitSlot {
    start: usize,
    end: usize,
    header: gimli::UnitHeader<Shared>,
    unit: OnceLock<Option<Box<gimli::Unit<Shared>>>>,
}

/// Debug information of one module.
pub(crate) struct DebugInfo {
    pub(crate) module: ModuleId,
    sections: gimli::DwarfSections<Shared>,
    pub(crate) dwarf: Arc<gimli::Dwarf<Shared>>,
    units: Vec<UnitSlot>,
    index: OnceLock<Result<Index, DebugError>>,
    lines: Mutex<Option<addr2line::Context<Shared>>>,
    types: Mutex<HashMap<usize, Arc<Type>>>,
}

impl DebugInfo {
    /// `load` gives the contents of a section, empty if the file has none of that name.
    pub(crate) fn new(
        module: ModuleId,
        mut load: impl FnMut(&str) -> Result<Shared, DebugError>,
    ) -> Result<Self, DebugError> {
        let sections = gimli::DwarfSections::load(|id| load(id.name()))?;
        let dwarf = sections.borrow(Shared::clone);
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let Some(start) = header.debug_info_offset() else { continue };
            let end = start.0.saturating_add(header.length_including_self());
            units.push(UnitSlot { start: start.0, end, header, unit: OnceLock::new() });
        }
        if units.is_empty() {
            return Err(DebugError::Missing);
        }
        Ok(Self {
            module,
            sections,
            dwarf: Arc::new(dwarf),
            units,
            index: OnceLock::new(),
            lines: Mutex::new(None),
            types: Mutex::new(HashMap::new()),
        })
    }

    /// Names and addresses of everything, scanned on first use.
    pub(crate) fn index(&self) -> Result<&Index, DebugError> {
        self.index.get_or_init(|| Index::build(self)).as_ref().map_err(Clone::clone)
    }

    /// A view that borrows, for scans.
    pub(crate) fn borrowed(&self) -> gimli::Dwarf<Slice<'_>> {
        self.sections.borrow(|reader| EndianSlice::new(reader.bytes(), LittleEndian))
    }

    /// The unit that holds the entry at `offset` of `.debug_info`, and the entry's offset in it.
    pub(crate) fn unit_at(
        &self,
        offset: usize,
    ) -> Result<(&gimli::Unit<Shared>, UnitOffset<usize>), DebugError> {
        let after = self.units.partition_point(|slot| slot.start <= offset);
        let slot = after
            .checked_sub(1)
            .and_then(|at| self.units.get(at))
            .filter(|slot| offset < slot.end)
            .ok_or_else(|| DebugError::Dwarf(format!("no unit holds entry {offset:#x}")))?;
        let unit = slot.unit.get_or_init(|| self.dwarf.unit(slot.header.clone()).ok().map(Box::new));
        let unit = unit
            .as_deref()
            .ok_or_else(|| DebugError::Dwarf(format!("unit at {:#x} does not parse", slot.start)))?;
        Ok((unit, UnitOffset(offset - slot.start)))
    }

    /// The offset in `.debug_info` that a reference attribute of an entry in `unit` points to.
    pub(crate) fn reference<R: gimli::Reader<Offset = usize>>(
        unit: &gimli::Unit<R>,
        value: &AttributeValue<R>,
    ) -> Option<usize> {
        match value {
            AttributeValue::UnitRef(offset) => offset.to_debug_info_offset(&unit.header).map(|at| at.0),
            AttributeValue::DebugInfoRef(offset) => Some(offset.0),
            _ => None,
        }
    }

    /// The text of a string attribute.
    pub(crate) fn text<R: gimli::Reader<Offset = usize>>(
        dwarf: &gimli::Dwarf<R>,
        unit: &gimli::Unit<R>,
        value: AttributeValue<R>,
    ) -> Option<String> {
        let reader = dwarf.attr_string(unit, value).ok()?;
        Some(reader.to_string_lossy().ok()?.into_owned())
    }
}

/// The address that a location expression names, if it names a fixed one.
pub(crate) fn static_address<R: gimli::Reader<Offset = usize>>(
    dwarf: &gimli::Dwarf<R>,
    unit: &gimli::Unit<R>,
    expression: gimli::Expression<R>,
) -> Option<u64> {
    const DW_OP_GNU_ADDR_INDEX: u8 = 0xfb;
    /// Requests that an expression of a global can make: its address and perhaps an index.
    const ROUNDS_MAX: usize = 8;
    let first = expression.0.clone().read_u8().ok()?;
    if ![gimli::DW_OP_addr.0, gimli::DW_OP_addrx.0, DW_OP_GNU_ADDR_INDEX].contains(&first) {
        return None;
    }
    let mut evaluation = expression.evaluation(unit.encoding());
    let mut state = evaluation.evaluate().ok()?;
    for _ in 0..ROUNDS_MAX {
        state = match state {
            gimli::EvaluationResult::Complete => {
                // Several pieces, or a computed value, are for `pieces`.
                return match evaluation.result().as_slice() {
                    [
                        gimli::Piece {
                            location: gimli::Location::Address { address },
                            size_in_bits: None,
                            ..
                        },
                    ] => Some(*address),
                    _ => None,
                };
            }
            gimli::EvaluationResult::RequiresRelocatedAddress(address) => {
                evaluation.resume_with_relocated_address(address).ok()?
            }
            gimli::EvaluationResult::RequiresIndexedAddress { index, .. } => {
                let address = dwarf.address(unit, index).ok()?;
                evaluation.resume_with_indexed_address(address).ok()?
            }
            _ => return None,
        };
    }
    None
}
