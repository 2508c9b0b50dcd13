//! Variables that the optimizer took apart.
//!
//! Whole-program optimization gives each field of a private global its own place, and keeps one that
//! only ever holds two values as a single byte from which the value is computed. The location
//! expression says where each piece is; computing one may read memory.

use gimli::{AttributeValue, EvaluationResult, Location};

use super::DebugInfo;
use crate::error::DebugError;
use crate::expr::error::Problem;

/// Pieces of one variable. LLVM makes a handful; an array is never taken apart.
const PIECES_MAX: usize = 4096;

/// Operations that one location may take.
const OPERATIONS_MAX: u32 = 10_000;

/// Requests that one location may make of us.
const ROUNDS_MAX: usize = 10_000;

/// Where one piece of a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PieceAt {
    /// In memory, at this address.
    Memory(u64),
    /// Computed: the bytes themselves.
    Bytes(Vec<u8>),
    /// Nowhere.
    Nowhere,
}

/// Some bytes of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First byte, counted from the start of the variable.
    pub(crate) start: u64,
    /// Bytes; `u64::MAX` for "the whole variable".
    pub(crate) size: u64,
    pub(crate) at: PieceAt,
}

impl DebugInfo {
    /// The pieces of the variable whose entry is at `offset`; `read` reads little-endian words.
    pub(crate) fn pieces(
        &self,
        offset: usize,
        read: &mut dyn FnMut(u64, u8) -> Result<u64, Problem>,
    ) -> Result<Vec<Piece>, Problem> {
        let dwarf = |error: gimli::Error| Problem::Debug(error.into());
        let odd = || Problem::Debug(DebugError::Dwarf("a global's location needs a register".to_owned()));
        let (unit, at) = self.unit_at(offset)?;
        let entry = unit.entry(at).map_err(dwarf)?;
        let Some(AttributeValue::Exprloc(expression)) = entry.attr_value(gimli::DW_AT_location) else {
            return Ok(Vec::new());
        };
        let mut evaluation = expression.evaluation(unit.encoding());
        evaluation.set_max_iterations(OPERATIONS_MAX);
        let mut state = evaluation.evaluate().map_err(dwarf)?;
        for _ in 0..ROUNDS_MAX {
            state = match state {
                EvaluationResult::Complete => return Ok(collect(&evaluation.result())),
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(address).map_err(dwarf)?
                }
                EvaluationResult::RequiresIndexedAddress { index, .. } => {
                    let address = self.dwarf.address(unit, index).map_err(dwarf)?;
                    evaluation.resume_with_indexed_address(address).map_err(dwarf)?
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let word = read(address, size)?;
                    evaluation.resume_with_memory(gimli::Value::Generic(word)).map_err(dwarf)?
                }
                _ => return Err(odd()),
            };
        }
        Err(odd())
    }
}

fn collect(found: &[gimli::Piece<super::Shared>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0u64;
    for piece in found.iter().take(PIECES_MAX) {
        // Pieces of a few bits do not occur in memory; they count as bytes begun.
        let size = piece.size_in_bits.map_or(u64::MAX, |bits| bits.div_ceil(8));
        let at = match &piece.location {
            Location::Address { address } => PieceAt::Memory(*address),
            Location::Value { value } => value
                .to_u64(u64::MAX)
                .map_or(PieceAt::Nowhere, |value| PieceAt::Bytes(value.to_le_bytes().to_vec())),
            Location::Bytes { value } => PieceAt::Bytes(value.bytes().to_vec()),
            _ => PieceAt::Nowhere,
        };
        pieces.push(Piece { start, size, at });
        start = start.saturating_add(size);
    }
    pieces
}
