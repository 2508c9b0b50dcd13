//! Helpers: functions of the guest that programs call by number.
//!
//! [`PROTOTYPES`] is the one description of them. The verifier decides from it which calls are right, the C header and
//! the documentation are generated from it. [`FUNCTIONS`] are their bodies.

mod format;
mod functions;
mod memory;
mod packet;
mod prototypes;
#[cfg(test)]
mod tests;

pub use functions::FUNCTIONS;
pub use prototypes::PROTOTYPES;

use uio_protocol::bpf::{MapKind, ProgramKind};

use crate::program::HelperFunction;

/// What a helper takes, gives and invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Number that programs call: Linux's where Linux has the helper, from 0x10000 on ours.
    pub number: u32,
    /// Name without `bpf_`.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// C declaration for the header: `void *(void *map, const void *key)`.
    pub declaration: &'static str,
    /// Kinds of its arguments, R1 first.
    pub arguments: &'static [Argument],
    /// What R0 holds afterwards.
    pub returns: Returns,
    /// What a call makes unusable.
    pub effect: Effect,
    /// Which kinds of programs may call it.
    pub programs: Programs,
    /// Which kinds of maps a [`Argument::Map`] may be; empty if it takes none.
    pub maps: &'static [MapKind],
    /// Who carries it out.
    pub body: Implementation,
}

/// Who carries a helper out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// A function of [`FUNCTIONS`] that reads its arguments.
    Function,
    /// A function that also reads the registers after its arguments up to R5, set or not, as plain numbers: it never
    /// uses them as addresses without the guest's own check.
    VariadicFunction,
    /// The engine, since it goes on in another part of the program.
    Engine,
    /// The engine, with a function of [`FUNCTIONS`] that finds the program to go on in.
    EngineWithFunction,
}

/// What one argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Any initialised number. Pointers are refused.
    Scalar,
    /// A map, loaded by a 64-bit immediate or found in a map of maps, and known at verification.
    Map,
    /// Readable memory of the map's key size.
    MapKey,
    /// Readable memory of the map's value size.
    MapValue,
    /// Writable memory of the map's value size; all of it is initialised afterwards.
    MapValueOut,
    /// The program's context, unchanged.
    Context,
    /// Readable memory; its size is the next argument.
    Memory,
    /// As [`Self::Memory`], or null with size 0.
    MemoryOrNull,
    /// Writable memory, initialised or not; its size is the next argument. All of it is initialised afterwards.
    MemoryOut,
    /// Size in bytes of the memory before, at least 1.
    Size,
    /// Size in bytes of the memory before, may be 0.
    SizeOrZero,
    /// A constant that becomes the size of the memory returned.
    AllocationSize,
    /// Memory from [`Returns::RingRecord`], at its start; the call gives it back.
    RingRecord,
    /// A string in a read-only map, ended by zero inside its value.
    ConstantString,
    /// A function of the program, for callbacks.
    Function,
    /// A pointer to stack that the callback gets, or null.
    CallbackContext,
}

/// What a helper returns in R0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A number, anything.
    Scalar,
    /// A number in this range, signed.
    Range {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A value of the map, or null. For a map of maps, the inner map or null.
    MapValueOrNull,
    /// A reserved record of a ring buffer of the size in [`Argument::AllocationSize`], or null. Has to be given back
    /// before the program ends.
    RingRecord,
    /// Does not return when it succeeds (tail call): a number if it fails.
    TailCall,
}

/// What a call makes unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// All packet pointers, the range checks with them.
    InvalidatesPackets,
}

/// Which kinds of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds by name")]
pub enum Programs {
    All,
    Packet,
    Tracing,
}

impl Programs {
    /// Whether a program of `kind` is one. Raw programs may call whatever needs no context.
    #[must_use]
    pub const fn contains(self, kind: ProgramKind) -> bool {
        matches!(
            (self, kind),
            (Self::All, _)
                | (Self::Packet, ProgramKind::Packet)
                | (Self::Tracing, ProgramKind::Tracing | ProgramKind::Raw { .. })
        )
    }
}

/// The function of helper `number`, if it has one.
#[must_use]
pub fn function(number: u32) -> Option<HelperFunction> {
    FUNCTIONS.binary_search_by_key(&number, |entry| entry.0).ok().map(|index| FUNCTIONS[index].1)
}

/// The prototype of helper `number`.
#[must_use]
pub fn prototype(number: u32) -> Option<&'static Prototype> {
    PROTOTYPES
        .binary_search_by_key(&number, |prototype| prototype.number)
        .ok()
        .map(|index| &PROTOTYPES[index])
}
