//! The proof: states where paths meet, and why loops end.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a program is safe, as the analysis wrote it down. To the check this is only a hint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {}

/// Why bytes are no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The bytes do not decode.
    Encoding,
    /// Bytes follow the proof.
    Trailing,
    /// A point of the proof is no instruction, or the points do not ascend.
    Point,
    /// A state at a point contradicts itself or names what cannot be.
    State,
}

impl fmt::Display for ProofError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Encoding => "the proof does not decode",
            Self::Trailing => "bytes follow the proof",
            Self::Point => "the proof's points are not ascending instructions of the program",
            Self::State => "a state in the proof is impossible",
        })
    }
}

impl core::error::Error for ProofError {}

impl Proof {
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
