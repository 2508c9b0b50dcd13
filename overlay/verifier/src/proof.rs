//! The proof: states where paths meet, and why loops end.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::value::Location;

/// Why a program is safe, as the analysis wrote it down. To the check this is only a hint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Ascending by slot.
    pub(crate) points: Vec<Point>,
    /// Why loops end, ascending by head.
    pub(crate) ranks: Vec<Rank>,
    /// Heads of loops that fuel ends, ascending.
    pub(crate) fuel: Vec<u32>,
}

/// An instruction at which every walk stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) slot: u32,
    /// Each walk that reaches the instruction is in one of these.
    pub(crate) states: Vec<Facts>,
}

/// Why a loop ends: every pass moves a counter in the same direction, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rank {
    /// The loop's head.
    pub(crate) head: u32,
    /// Where its counter is.
    pub(crate) location: Location,
    /// Bounds of the counter whenever the head is passed; of a pointer, of its offset.
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) up: bool,
}

/// Why bytes are no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The bytes do not decode.
    Encoding,
    /// Bytes follow the proof.
    Trailing,
    /// A point of the proof is no instruction, or the points do not ascend.
    Point,
    /// A list is out of order, or a loop's bounds are.
    Order,
    /// A state at a point contradicts itself or names what cannot be.
    State,
}

impl fmt::Display for ProofError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Encoding => "the proof does not decode",
            Self::Trailing => "bytes follow the proof",
            Self::Point => "the proof's points are not ascending instructions of the program",
            Self::Order => "a list in the proof is not ascending, or its bounds are too far apart",
            Self::State => "a state in the proof is impossible",
        })
    }
}

impl core::error::Error for ProofError {}

impl Proof {
    /// States that it holds.
    #[must_use]
    pub fn states(&self) -> usize {
        self.points.iter().map(|point| point.states.len()).sum()
    }

    /// Encodes for transport.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Decodes what [`Self::encode`] wrote. Allocates in proportion to `bytes`.
    ///
    /// # Errors
    ///
    /// [`ProofError`] if the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let (proof, rest) = postcard::take_from_bytes(bytes).map_err(|_| ProofError::Encoding)?;
        if rest.is_empty() { Ok(proof) } else { Err(ProofError::Trailing) }
    }
}
