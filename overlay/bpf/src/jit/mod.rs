//! Compiler to x86-64.
//!
//! [`Plan::new`] decides registers, stack and calls; [`Plan::emit`] writes code into memory of the caller, who then
//! makes it executable and no longer writable. The code is entered as `extern "sysv64" fn(context, size, *const Invocation)
//! -> u64`, see [`crate::program::Program::run`].
//!
//! # What the code relies on
//!
//! It checks nothing that the verifier proves: accesses, helper arguments, ends of loops (except where a backward jump
//! is marked as costing fuel). It computes what [`crate::interpreter`] computes.
//!
//! # What it gives an attacker
//!
//! - Constants of the program that have more than 17 significant bits never stand in the code as they are: they
//!   are split by exclusive or with numbers from the caller's seed. Smaller ones leave at most two bytes in a
//!   row to choose.
//! - No byte sequence in it changes protection keys or model-specific registers, at any offset ([`holds_forbidden`]).
//! - No address of code is ever in a program's register: function values are names, and calls through registers compare them.
//! - Nothing is done about speculation: no masking of indices, no barriers after bounds checks, no retpolines (the
//!   one indirect jump is that of tail calls). A program that may not learn what its domain can read must not share an
//!   address space with it: protection keys stop the architectural read, not every speculative one.

mod arithmetic;
mod assembler;
mod calls;
mod disguise;
mod emit;
mod forbidden;
mod jumps;
mod known;
mod length;
mod memory;
#[cfg(feature = "native")]
pub mod native;
mod plan;
mod runtime;

pub use forbidden::holds_forbidden;

use alloc::vec::Vec;
use core::fmt;

use crate::program::Executable;

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of the numbers that disguise constants; without, constants stand as they are.
    pub blinding: Option<u64>,
    /// Whether the processor has BMI2 (CPUID 7, EBX bit 8).
    pub bmi2: bool,
}

/// Constants that sign-extend from this many bits are not disguised: the bytes that they leave to choose are too few for
/// an instruction that does harm and a jump onwards.
const PLAIN_BITS: u32 = 17;

impl Options {
    /// Constants disguised with `seed`, and what this processor has.
    #[must_use]
    pub fn blinded(seed: u64) -> Self {
        Self { blinding: Some(seed), bmi2: has_bmi2() }
    }

    /// Constants as they are, and what this processor has.
    #[must_use]
    pub fn plain() -> Self {
        Self { blinding: None, bmi2: has_bmi2() }
    }

    const fn disguises(&self, value: i32) -> bool {
        let limit = 1 << (PLAIN_BITS - 1);
        self.blinding.is_some() && (value < -limit || value >= limit)
    }
}

fn has_bmi2() -> bool {
    const BMI2: u32 = 1 << 8;
    const FEATURES: u32 = 7;
    let highest = core::arch::x86_64::__cpuid(0).eax;
    highest >= FEATURES && core::arch::x86_64::__cpuid_count(FEATURES, 0).ebx & BMI2 != 0
}

/// Everything about a program's code but its bytes.
pub struct Plan<'a> {
    executable: &'a Executable,
    options: Options,
    inner: plan::Plan,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Code {
    /// How many bytes; the entry is the first.
    pub bytes: usize,
    /// For every slot, where its code starts. Slots whose operation was merged into the one before start where that
    /// one does, or where it ends.
    pub offsets: Vec<u32>,
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// The buffer has to have this many bytes.
    TooSmall {
        /// Bytes needed at most.
        bytes: usize,
    },
    /// No attempt was free of forbidden byte sequences.
    Forbidden,
}

impl fmt::Display for EmitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { bytes } => write!(formatter, "code may need {bytes} bytes"),
            Self::Forbidden => formatter.write_str("no form of the code is free of forbidden byte sequences"),
        }
    }
}

impl core::error::Error for EmitError {}

/// Operations that are written in another form to get rid of forbidden sequences, at most. In a program of 10,000
/// operations there is one in about one of three cases, and another form of it has another one in one of thousands.
const VARIED_MAX: usize = 64;
/// Attempts, each with other numbers.
const ATTEMPTS: u64 = 32;

impl<'a> Plan<'a> {
    /// Plans the code of `executable`.
    #[must_use]
    pub fn new(executable: &'a Executable, options: &Options) -> Self {
        Self { executable, options: *options, inner: plan::Plan::new(executable, options) }
    }

    /// How large a buffer has to be.
    #[must_use]
    pub fn bytes_bound(&self) -> usize {
        let bound = self.inner.bounds.last().map_or(0, |bound| *bound as usize);
        bound + VARIED_MAX * emit::VARIED_BYTES + emit::SLACK_BYTES
    }

    /// Writes the code for running at `address` into `buffer`.
    ///
    /// # Errors
    ///
    /// [`EmitError`]; the buffer then holds anything.
    pub fn emit(&self, buffer: &mut [u8], address: u64) -> Result<Code, EmitError> {
        let bytes = self.bytes_bound();
        if buffer.len() < bytes {
            return Err(EmitError::TooSmall { bytes });
        }
        let mut varied: Vec<u32> = Vec::new();
        for attempt in 0..ATTEMPTS {
            let seed = self.options.blinding.unwrap_or(0).wrapping_add(attempt);
            let style = emit::Style { seed, varied: &varied };
            let emitter =
                emit::Emitter::new(self.executable, &self.options, &self.inner, style, buffer, address);
            let code = emitter.and_then(emit::Emitter::program).ok_or(EmitError::TooSmall { bytes })?;
            let written = buffer.get(..code.bytes).unwrap_or(&[]);
            let mut found = forbidden::find_forbidden(written, 0);
            if found.is_none() {
                return Ok(code);
            }
            while let Some(offset) = found {
                // The operation in which it starts: what an operation's code begins with never ends a sequence.
                let after = code.offsets.partition_point(|start| *start as usize <= offset);
                varied.push(after.saturating_sub(1) as u32);
                found = forbidden::find_forbidden(written, offset + 1);
            }
            varied.sort_unstable();
            varied.dedup();
            if varied.len() > VARIED_MAX {
                break;
            }
        }
        Err(EmitError::Forbidden)
    }
}
