//! Why an instruction is not safe in the state that reaches it.

use alloc::string::String;
use core::fmt;

/// Why an instruction is refused. Values are those of the state that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named after what they hold; offsets and sizes are in bytes")]
pub enum Reason {
    /// A register is read that holds nothing yet, or no longer.
    Uninitialised { register: u8 },
    /// Stack is read where nothing was written.
    UninitialisedStack { offset: i64, bytes: u64 },
    /// Memory is accessed through something that is no pointer to memory.
    NotMemory { register: u8, found: String },
    /// A pointer that may be null is used as if it were not.
    MaybeNull { register: u8 },
    /// An access may lie outside of what its pointer points to.
    OutOfBounds { what: String, min: i64, max: i64, bytes: u64, limit: u64 },
    /// A packet is read behind what was compared with its end.
    PacketBounds { min: i64, max: i64, bytes: u64, checked: u64 },
    /// Written memory is read-only.
    ReadOnly { what: String },
    /// A field of the context is not there, hidden, or cut in pieces.
    ContextField { offset: i64, bytes: u64 },
    /// An address would leave the program: stored to shared memory, returned, printed or compared with a number.
    Leak { register: u8, what: String },
    /// Arithmetic that makes no sense on a pointer.
    PointerArithmetic { register: u8, what: String },
    /// The offset of a pointer would get too large to be followed.
    PointerRange { register: u8 },
    /// An atomic operation on memory that is not naturally aligned, or of a kind that has none.
    Atomic { found: String },
    /// There is no helper with this number, or not for this kind of program.
    Helper { number: u32 },
    /// An argument of a helper is not what it has to be.
    Argument { helper: &'static str, register: u8, expected: &'static str, found: String },
    /// A helper does not work on this kind of map.
    MapKind { helper: &'static str, map: String },
    /// No such map, or an address inside the value of a map that is no array of one entry.
    Map { index: u32, offset: u32 },
    /// Called is what is no known function.
    NotFunction { register: u8 },
    /// More calls inside of each other than allowed.
    CallDepth { limit: u32 },
    /// A function calls itself, directly or through others.
    Recursion { function: u32 },
    /// A tail call from inside a function or a callback.
    TailCallInFunction,
    /// A reference from a helper is not given back at the end.
    Reference { acquired: u32 },
    /// Execution leaves the function without `exit`.
    FallsOut,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uninitialised { register } => write!(out, "r{register} is read but holds no value here"),
            Self::UninitialisedStack { offset, bytes } => {
                write!(
                    out,
                    "{bytes} bytes of stack at r10{offset:+} are read, of which some were never written"
                )
            }
            Self::NotMemory { register, found } => {
                write!(out, "r{register} is used as an address but is {found}")
            }
            Self::MaybeNull { register } => write!(out, "r{register} may be null here"),
            Self::OutOfBounds { what, min, max, bytes, limit } => {
                write!(out, "{bytes} bytes at offset ")?;
                offset_range(out, *min, *max)?;
                write!(out, " of {what}, which has {limit} bytes")
            }
            Self::PacketBounds { min, max, bytes, checked } => {
                write!(out, "{bytes} bytes of the packet at offset ")?;
                offset_range(out, *min, *max)?;
                write!(out, ", of which {checked} bytes were compared with its end")
            }
            Self::ReadOnly { what } => write!(out, "{what} is read-only"),
            Self::ContextField { offset, bytes } => {
                write!(out, "the context has no readable field of {bytes} bytes at offset {offset}")
            }
            Self::Leak { register, what } => write!(out, "{what} in r{register} would leave the program"),
            Self::PointerArithmetic { register, what } => {
                write!(out, "r{register} is {what}, on which this arithmetic is not defined")
            }
            Self::PointerRange { register } => {
                write!(out, "the offset of the pointer in r{register} has no usable bound")
            }
            Self::Atomic { found } => write!(out, "an atomic operation cannot work on {found}"),
            Self::Helper { number } => write!(out, "this kind of program has no helper {number}"),
            Self::Argument { helper, register, expected, found } => {
                write!(out, "bpf_{helper} takes {expected} in r{register}, which is {found}")
            }
            Self::MapKind { helper, map } => write!(out, "bpf_{helper} does not work on {map}"),
            Self::Map { index, offset } => {
                write!(out, "there is no map {index} with a single value that has an offset {offset}")
            }
            Self::NotFunction { register } => write!(out, "r{register} holds no known function"),
            Self::CallDepth { limit } => write!(out, "more than {limit} functions are active at once"),
            Self::Recursion { function } => write!(out, "the function at {function} calls itself"),
            Self::TailCallInFunction => out.write_str("a tail call has to be made by the entry function"),
            Self::Reference { acquired } => {
                write!(out, "what was reserved at instruction {acquired} is not given back")
            }
            Self::FallsOut => out.write_str("execution runs out of the function without an exit"),
        }
    }
}

fn offset_range(out: &mut fmt::Formatter<'_>, min: i64, max: i64) -> fmt::Result {
    if min == max { write!(out, "{min}") } else { write!(out, "{min} to {max}") }
}
