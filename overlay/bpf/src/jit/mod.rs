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

/// Attempts to get rid of forbidden sequences. Each removes one with a chance near 1; a long program rarely has one.
const ATTEMPTS: u64 = 16;

impl<'a> Plan<'a> {
    /// Plans the code of `executable`.
    #[must_use]
    pub fn new(executable: &'a Executable, options: &Options) -> Self {
        Self { executable, options: *options, inner: plan::Plan::new(executable, options) }
    }

    /// A buffer of this size is enough, nearly always; see [`EmitError::TooSmall`].
    #[must_use]
    pub fn bytes_bound(&self) -> usize {
        self.bound() + emit::SLACK_BYTES
    }

    fn bound(&self) -> usize {
        self.inner.bounds.last().map_or(0, |bound| *bound as usize)
    }

    /// Writes the code for running at `address` into `buffer`.
    ///
    /// # Errors
    ///
    /// [`EmitError`]; the buffer then holds anything.
    pub fn emit(&self, buffer: &mut [u8], address: u64) -> Result<Code, EmitError> {
        let mut bytes = self.bytes_bound();
        for attempt in 0..ATTEMPTS {
            let style = match attempt {
                0 => emit::Style::Compact,
                _ => {
                    bytes = self.bound() * emit::VARIED_GROWTH + emit::SLACK_BYTES;
                    emit::Style::Varied { seed: self.options.blinding.unwrap_or(0).wrapping_add(attempt) }
                }
            };
            if buffer.len() < bytes {
                return Err(EmitError::TooSmall { bytes });
            }
            let emitter =
                emit::Emitter::new(self.executable, &self.options, &self.inner, style, buffer, address);
            if let Some(code) = emitter.and_then(emit::Emitter::program)
                && !buffer.get(..code.bytes).is_none_or(holds_forbidden)
            {
                return Ok(code);
            }
        }
        Err(EmitError::Forbidden)
    }
}
