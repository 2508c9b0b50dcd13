//! Values in a guest: a type and a place, and how to get from one value to its parts.

pub(crate) mod access;
pub(crate) mod datum;
pub(crate) mod map;
pub(crate) mod render;
pub(crate) mod sequence;

use std::sync::Arc;

use uio_protocol::inspect::Registers;

use crate::dwarf::pieces::{Piece, PieceAt};
use crate::expr::error::Problem;
use crate::memory::ReadMemory;
use crate::space::Space;
use crate::types::{Kind, Type, TypeRef};

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In guest memory, at this address.
    Memory(u64),
    /// Here: the result of a computation.
    Bytes(Vec<u8>),
    /// From this byte on of a variable that the optimizer took apart.
    Pieces(Arc<[Piece]>, u64),
}

/// A typed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) type_ref: TypeRef,
    pub(crate) place: Place,
}

/// Most bytes of one value that are read in one piece. Elements beyond are reached by index.
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;

/// What values are read from.
pub(crate) struct Reader<'a> {
    pub(crate) space: &'a Space,
    pub(crate) memory: &'a mut dyn ReadMemory,
    pub(crate) registers: Option<&'a Registers>,
    /// Only types matter: memory reads as zeros and bounds are not checked.
    pub(crate) types_only: bool,
}

impl Reader<'_> {
    pub(crate) fn resolve(&self, type_ref: &TypeRef) -> Result<Arc<Type>, Problem> {
        Ok(self.space.resolve(type_ref)?)
    }

    pub(crate) fn read(&mut self, address: u64, size: u64) -> Result<Vec<u8>, Problem> {
        if size > READ_BYTES_MAX {
            return Err(Problem::TooLarge { bytes: size });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        if !self.types_only && size > 0 {
            self.memory.read(address, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// All bytes of a value.
    pub(crate) fn bytes(&mut self, value: &Value) -> Result<Vec<u8>, Problem> {
        let size = self.resolve(&value.type_ref)?.size;
        match &value.place {
            Place::Memory(address) => self.read(*address, size),
            Place::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                bytes.resize(usize::try_from(size.min(READ_BYTES_MAX)).unwrap_or(0), 0);
                Ok(bytes)
            }
            Place::Pieces(pieces, start) => self.assemble(pieces, *start, size),
        }
    }

    /// `size` bytes of a variable in pieces. What no piece covers is padding, and zero.
    fn assemble(&mut self, pieces: &[Piece], start: u64, size: u64) -> Result<Vec<u8>, Problem> {
        if size > READ_BYTES_MAX {
            return Err(Problem::TooLarge { bytes: size });
        }
        let end = start.saturating_add(size);
        let mut whole = vec![0; usize::try_from(size).unwrap_or(0)];
        for piece in pieces {
            let (from, to) = (piece.start.max(start), piece.start.saturating_add(piece.size).min(end));
            if from >= to {
                continue;
            }
            let skipped = from - piece.start;
            let bytes = match &piece.at {
                PieceAt::Memory(address) => self.read(address.wrapping_add(skipped), to - from)?,
                PieceAt::Bytes(bytes) => {
                    bytes.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)).copied().collect()
                }
                PieceAt::Nowhere => return Err(Problem::PartRemoved),
            };
            let at = usize::try_from(from - start).unwrap_or(usize::MAX);
            let wanted = usize::try_from(to - from).unwrap_or(0);
            for (slot, byte) in whole.iter_mut().skip(at).take(wanted).zip(bytes) {
                *slot = byte;
            }
        }
        Ok(whole)
    }

    /// The part of `value` that has type `type_ref` and starts `offset` bytes into it.
    pub(crate) fn part(&self, value: &Value, type_ref: &TypeRef, offset: u64) -> Result<Value, Problem> {
        let place = match &value.place {
            Place::Memory(address) => Place::Memory(address.wrapping_add(offset)),
            Place::Bytes(bytes) => {
                let size = self.resolve(type_ref)?.size.min(READ_BYTES_MAX);
                let mut part: Vec<u8> =
                    bytes.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).copied().collect();
                part.resize(usize::try_from(size).unwrap_or(0), 0);
                Place::Bytes(part)
            }
            Place::Pieces(pieces, start) => {
                let (start, size) = (start.wrapping_add(offset), self.resolve(type_ref)?.size);
                // What one piece in memory holds has an address like anything else.
                let inside = pieces.iter().find_map(|piece| match piece.at {
                    PieceAt::Memory(address)
                        if size > 0
                            && piece.start <= start
                            && start.saturating_add(size) <= piece.start.saturating_add(piece.size) =>
                    {
                        Some(address.wrapping_add(start - piece.start))
                    }
                    _ => None,
                });
                inside.map_or_else(|| Place::Pieces(Arc::clone(pieces), start), Place::Memory)
            }
        };
        Ok(Value { type_ref: type_ref.clone(), place })
    }

    /// A scalar's bits, zero-extended.
    pub(crate) fn bits(&mut self, value: &Value) -> Result<u128, Problem> {
        let bytes = self.bytes(value)?;
        let mut word = [0u8; 16];
        let count = bytes.len().min(16);
        word[..count].copy_from_slice(&bytes[..count]);
        Ok(u128::from_le_bytes(word))
    }
}

/// `bits` of `size` bytes as a number.
pub(crate) fn to_integer(bits: u128, size: u64, signed: bool) -> Option<i128> {
    if !signed {
        return i128::try_from(bits & mask(size)).ok();
    }
    let unused = 128 - 8 * u32::try_from(size.clamp(1, 16)).unwrap_or(16);
    Some((bits << unused).cast_signed() >> unused)
}

/// Ones in the low `size` bytes.
pub(crate) fn mask(size: u64) -> u128 {
    match size {
        0 => 0,
        1..16 => (1 << (8 * size)) - 1,
        _ => u128::MAX,
    }
}

impl Value {
    /// An integer as a value of `type_ref`, cut to its size.
    pub(crate) fn integer(value: i128, type_ref: TypeRef, size: u64) -> Self {
        let bytes = value.to_le_bytes();
        let count = usize::try_from(size.min(16)).unwrap_or(16);
        Self { type_ref, place: Place::Bytes(bytes[..count].to_vec()) }
    }

    /// A pointer to `target`.
    pub(crate) fn pointer(address: u64, target: TypeRef) -> Self {
        Self { type_ref: TypeRef::pointer_to(target), place: Place::Bytes(address.to_le_bytes().to_vec()) }
    }
}

/// Whether a type is a number or stands for one.
pub(crate) fn is_scalar(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int { .. }
            | Kind::Bool
            | Kind::Char { .. }
            | Kind::Float
            | Kind::Pointer { .. }
            | Kind::Enumeration { .. }
    )
}
