//! The instruction set of RFC 9669, versions 1 to 4, in typed form.
//!
//! [`decode`] turns slots into [`Operation`]s once, at the edge; verifier, interpreter and JIT see
//! nothing else. Jump targets are slot numbers, already checked to lie on an instruction.

mod decode;

pub use decode::{DecodeError, DecodeReason, Decoded, decode};

/// A register, R0 to R10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(u8);

impl Register {
    /// Result of calls and of the program.
    pub const R0: Self = Self(0);
    /// First argument.
    pub const R1: Self = Self(1);
    /// The frame pointer: one past the highest byte of the function's stack; read-only.
    pub const FRAME: Self = Self(10);
    /// How many there are.
    pub const COUNT: usize = 11;

    /// Register `number`, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT as u8 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Width of an operation on registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// On the low halves; the upper half of the result is zero.
    W32,
    /// On whole registers.
    W64,
}

/// Width of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is a number of bytes")]
#[repr(u8)]
pub enum Size {
    B1 = 1,
    B2 = 2,
    B4 = 4,
    B8 = 8,
}

impl Size {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self as u8
    }
}

/// Second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A register.
    Register(Register),
    /// A number, sign-extended to 64 bits where the operation is that wide.
    Immediate(i32),
}

/// Arithmetic with two operands. Division by zero gives 0, remainder by zero the dividend; shifts take
/// their count modulo the width; the signed minimum divided by -1 is itself, with remainder 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are RFC 9669's")]
pub enum Alu {
    Add,
    Subtract,
    Multiply,
    Divide,
    SignedDivide,
    Modulo,
    SignedModulo,
    Or,
    And,
    Xor,
    ShiftLeft,
    ShiftRight,
    ShiftRightArithmetic,
    Move,
}

/// Conditions of jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are RFC 9669's")]
pub enum Condition {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Any bit of both set.
    BitsSet,
    SignedGreater,
    SignedGreaterOrEqual,
    SignedLess,
    SignedLessOrEqual,
}

/// Byte order conversions. The result is zero-extended from `bits` (16, 32, 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// To little-endian: truncates on this machine.
    ToLittle,
    /// To big-endian: swaps on this machine.
    ToBig,
    /// Swaps always (v4).
    Swap,
}

/// Atomic read-modify-write operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Atomic {
    /// Adds; with `fetch` the source register gets the old value.
    Add {
        /// Whether it fetches.
        fetch: bool,
    },
    /// Ors.
    Or {
        /// Whether it fetches.
        fetch: bool,
    },
    /// Ands.
    And {
        /// Whether it fetches.
        fetch: bool,
    },
    /// Exclusive ors.
    Xor {
        /// Whether it fetches.
        fetch: bool,
    },
    /// Exchanges memory and the source register.
    Exchange,
    /// Stores the source register if memory equals R0; R0 gets the old value, zero-extended.
    CompareExchange,
}

/// What a 64-bit immediate load loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Immediate64 {
    /// The number.
    Value(u64),
    /// The map with this index in the object.
    Map(u32),
    /// An address inside the only value of the array map with this index.
    MapValue {
        /// Index in the object.
        map: u32,
        /// Bytes from the value's start.
        offset: u32,
    },
    /// The function that starts at this slot.
    Function(u32),
}

/// Whom a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A helper by number.
    Helper(u32),
    /// The function that starts at this slot.
    Function(u32),
    /// The function whose address a register holds (`callx`).
    Register(Register),
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields are named as in RFC 9669; targets are slots")]
pub enum Operation {
    Alu {
        op: Alu,
        width: Width,
        destination: Register,
        source: Operand,
    },
    Negate {
        width: Width,
        destination: Register,
    },
    /// Moves the low `bits` (8, 16, 32) of the source sign-extended; to 32 bits, the upper half is zero.
    MoveSigned {
        width: Width,
        bits: u8,
        destination: Register,
        source: Register,
    },
    Swap {
        order: ByteOrder,
        bits: u8,
        destination: Register,
    },
    LoadImmediate {
        destination: Register,
        value: Immediate64,
    },
    /// Zero-extends, or sign-extends to 64 bits if `signed`.
    Load {
        size: Size,
        signed: bool,
        destination: Register,
        base: Register,
        offset: i16,
    },
    Store {
        size: Size,
        base: Register,
        offset: i16,
        source: Operand,
    },
    Atomic {
        op: Atomic,
        width: Width,
        base: Register,
        offset: i16,
        source: Register,
    },
    Jump {
        target: u32,
    },
    JumpIf {
        condition: Condition,
        width: Width,
        left: Register,
        right: Operand,
        target: u32,
    },
    Call(Callee),
    Exit,
}
