//! Instructions as slots (RFC 9669), for programs that no compiler would write.

#![expect(missing_docs, reason = "numbers in opcodes, by the names of RFC 9669")]

/// Arithmetic operations by their number in the opcode.
pub const ADD: u8 = 0x00;
pub const SUBTRACT: u8 = 0x10;
pub const MULTIPLY: u8 = 0x20;
pub const DIVIDE: u8 = 0x30;
pub const OR: u8 = 0x40;
pub const AND: u8 = 0x50;
pub const SHIFT_LEFT: u8 = 0x60;
pub const SHIFT_RIGHT: u8 = 0x70;
pub const NEGATE: u8 = 0x80;
pub const MODULO: u8 = 0x90;
pub const XOR: u8 = 0xa0;
pub const MOVE: u8 = 0xb0;
pub const SHIFT_RIGHT_ARITHMETIC: u8 = 0xc0;
const BYTE_ORDER: u8 = 0xd0;

/// Conditions by their number in the opcode.
pub const CONDITIONS: [u8; 11] = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];
pub const JUMP_EQUAL: u8 = 0x10;
pub const JUMP_GREATER: u8 = 0x20;
pub const JUMP_NOT_EQUAL: u8 = 0x50;
pub const JUMP_LESS: u8 = 0xa0;
pub const JUMP_LESS_OR_EQUAL: u8 = 0xb0;

/// Sizes of accesses, by their number in the opcode: 4, 2, 1, 8 bytes.
const SIZES: [u8; 9] = [0, 0x10, 0x08, 0, 0x00, 0, 0, 0, 0x18];

const CLASS_LOAD: u8 = 1;
const CLASS_STORE_IMMEDIATE: u8 = 2;
const CLASS_STORE: u8 = 3;
const CLASS_ALU32: u8 = 4;
const CLASS_JUMP: u8 = 5;
const CLASS_JUMP32: u8 = 6;
const CLASS_ALU64: u8 = 7;
const MODE_MEMORY: u8 = 0x60;
const MODE_SIGNED: u8 = 0x80;
const MODE_ATOMIC: u8 = 0xc0;
const REGISTER_SOURCE: u8 = 0x08;

/// A slot from its fields.
#[must_use]
pub const fn slot(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    opcode as u64
        | (destination as u64 & 15) << 8
        | (source as u64 & 15) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

/// Second operand.
#[derive(Clone, Copy, Debug)]
pub enum By {
    Register(u8),
    Immediate(i32),
}

const fn with(opcode: u8, destination: u8, by: By, offset: i16) -> u64 {
    match by {
        By::Register(source) => slot(opcode | REGISTER_SOURCE, destination, source, offset, 0),
        By::Immediate(immediate) => slot(opcode, destination, 0, offset, immediate),
    }
}

/// Arithmetic. `offset` 1 makes division and remainder signed, 8, 16 and 32 a move sign-extending.
#[must_use]
pub const fn alu(operation: u8, wide: bool, destination: u8, by: By, offset: i16) -> u64 {
    with(operation | if wide { CLASS_ALU64 } else { CLASS_ALU32 }, destination, by, offset)
}

/// Byte order: to big-endian, to little-endian (both class ALU), or always swapped.
#[must_use]
pub const fn order(kind: u8, bits: i32, destination: u8) -> u64 {
    let opcode = match kind {
        0 => BYTE_ORDER | CLASS_ALU32,
        1 => BYTE_ORDER | CLASS_ALU32 | REGISTER_SOURCE,
        _ => BYTE_ORDER | CLASS_ALU64,
    };
    slot(opcode, destination, 0, 0, bits)
}

/// Jumps over `offset` slots if the condition holds.
#[must_use]
pub const fn jump(condition: u8, wide: bool, left: u8, by: By, offset: i16) -> u64 {
    with(condition | if wide { CLASS_JUMP } else { CLASS_JUMP32 }, left, by, offset)
}

/// Jumps over `offset` slots.
#[must_use]
pub const fn go(offset: i16) -> u64 {
    slot(CLASS_JUMP, 0, 0, offset, 0)
}

/// Loads from memory.
#[must_use]
pub const fn load(bytes: u8, signed: bool, destination: u8, base: u8, offset: i16) -> u64 {
    let mode = if signed { MODE_SIGNED } else { MODE_MEMORY };
    slot(CLASS_LOAD | mode | SIZES[bytes as usize], destination, base, offset, 0)
}

/// Stores to memory.
#[must_use]
pub const fn store(bytes: u8, base: u8, offset: i16, by: By) -> u64 {
    let size = MODE_MEMORY | SIZES[bytes as usize];
    match by {
        By::Register(source) => slot(CLASS_STORE | size, base, source, offset, 0),
        By::Immediate(immediate) => slot(CLASS_STORE_IMMEDIATE | size, base, 0, offset, immediate),
    }
}

/// `operation` is the immediate of RFC 9669's atomics: 0, 0x40, 0x50, 0xa0, each with 1 to fetch; 0xe1, 0xf1.
#[must_use]
pub const fn atomic(wide: bool, base: u8, offset: i16, source: u8, operation: i32) -> u64 {
    let bytes = if wide { 8 } else { 4 };
    slot(CLASS_STORE | MODE_ATOMIC | SIZES[bytes], base, source, offset, operation)
}

/// Loads 64 bits; with `source` 5 a map, with 6 an address in one.
#[must_use]
pub const fn wide(destination: u8, source: u8, low: u32, high: u32) -> [u64; 2] {
    [slot(0x18, destination, source, 0, low as i32), (high as u64) << 32]
}

/// Calls a helper.
#[must_use]
pub const fn call(helper: i32) -> u64 {
    slot(0x85, 0, 0, 0, helper)
}

/// Calls the function `distance` slots from the next one.
#[must_use]
pub const fn call_function(distance: i32) -> u64 {
    slot(0x85, 0, 1, 0, distance)
}

pub const EXIT: u64 = 0x95;
