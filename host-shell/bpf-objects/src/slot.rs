//! Fields of an encoded instruction slot (RFC 9669, section 3).

/// Opcode of the 64-bit immediate load, the only instruction of two slots.
pub(crate) const IMMEDIATE_LOAD: u8 = 0x18;
/// Opcode of calls by number or distance.
pub(crate) const CALL: u8 = 0x85;
/// Opcode of the jump whose distance is in the immediate (`gotol`, v4).
pub(crate) const JUMP_LONG: u8 = 0x06;
const EXIT: u8 = 0x95;
const CALL_REGISTER: u8 = 0x8d;

/// Source of a call inside the program.
pub(crate) const CALL_FUNCTION: u8 = 1;
/// Sources of a 64-bit immediate load, see [`uio_protocol::bpf`].
pub(crate) const LOAD_FUNCTION: u8 = 4;
pub(crate) const LOAD_MAP: u8 = 5;
pub(crate) const LOAD_MAP_VALUE: u8 = 6;

pub(crate) const fn opcode(slot: u64) -> u8 {
    slot as u8
}

pub(crate) const fn source(slot: u64) -> u8 {
    (slot >> 12) as u8 & 15
}

pub(crate) const fn offset(slot: u64) -> i16 {
    (slot >> 16) as i16
}

pub(crate) const fn immediate(slot: u64) -> i32 {
    (slot >> 32) as i32
}

pub(crate) const fn with_source(slot: u64, source: u8) -> u64 {
    slot & !0xf000 | (source as u64 & 15) << 12
}

pub(crate) const fn with_offset(slot: u64, offset: i16) -> u64 {
    slot & !0xffff_0000 | (offset as u16 as u64) << 16
}

pub(crate) const fn with_immediate(slot: u64, immediate: u32) -> u64 {
    slot & 0xffff_ffff | (immediate as u64) << 32
}

/// Distance of a jump inside a function, from the next slot; `None` for all other instructions.
pub(crate) const fn jump_distance(slot: u64) -> Option<i64> {
    match opcode(slot) {
        JUMP_LONG => Some(immediate(slot) as i64),
        CALL | EXIT | CALL_REGISTER => None,
        code if code & 7 == 5 || code & 7 == 6 => Some(offset(slot) as i64),
        _ => None,
    }
}
