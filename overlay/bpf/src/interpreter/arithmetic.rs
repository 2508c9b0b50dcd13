//! What arithmetic, conversions and conditions compute: RFC 9669, sections 4.1 to 4.3.

use crate::instruction::{Alu, ByteOrder, Condition, Width};

/// The result of `left op right` on whole registers or on their low halves.
#[inline]
#[must_use]
pub fn alu(op: Alu, width: Width, left: u64, right: u64) -> u64 {
    match width {
        Width::W64 => alu64(op, left, right),
        Width::W32 => u64::from(alu32(op, left as u32, right as u32)),
    }
}

#[inline]
fn alu64(op: Alu, left: u64, right: u64) -> u64 {
    match op {
        Alu::Add => left.wrapping_add(right),
        Alu::Subtract => left.wrapping_sub(right),
        Alu::Multiply => left.wrapping_mul(right),
        Alu::Divide => left.checked_div(right).unwrap_or(0),
        Alu::SignedDivide if right == 0 => 0,
        Alu::SignedDivide => (left as i64).wrapping_div(right as i64) as u64,
        Alu::Modulo => left.checked_rem(right).unwrap_or(left),
        Alu::SignedModulo if right == 0 => left,
        Alu::SignedModulo => (left as i64).wrapping_rem(right as i64) as u64,
        Alu::Or => left | right,
        Alu::And => left & right,
        Alu::Xor => left ^ right,
        Alu::ShiftLeft => left.wrapping_shl(right as u32),
        Alu::ShiftRight => left.wrapping_shr(right as u32),
        Alu::ShiftRightArithmetic => (left as i64).wrapping_shr(right as u32) as u64,
        Alu::Move => right,
    }
}

#[inline]
fn alu32(op: Alu, left: u32, right: u32) -> u32 {
    match op {
        Alu::Add => left.wrapping_add(right),
        Alu::Subtract => left.wrapping_sub(right),
        Alu::Multiply => left.wrapping_mul(right),
        Alu::Divide => left.checked_div(right).unwrap_or(0),
        Alu::SignedDivide if right == 0 => 0,
        Alu::SignedDivide => (left as i32).wrapping_div(right as i32) as u32,
        Alu::Modulo => left.checked_rem(right).unwrap_or(left),
        Alu::SignedModulo if right == 0 => left,
        Alu::SignedModulo => (left as i32).wrapping_rem(right as i32) as u32,
        Alu::Or => left | right,
        Alu::And => left & right,
        Alu::Xor => left ^ right,
        Alu::ShiftLeft => left.wrapping_shl(right),
        Alu::ShiftRight => left.wrapping_shr(right),
        Alu::ShiftRightArithmetic => (left as i32).wrapping_shr(right) as u32,
        Alu::Move => right,
    }
}

/// `-value`.
#[inline]
#[must_use]
pub const fn negate(width: Width, value: u64) -> u64 {
    match width {
        Width::W64 => value.wrapping_neg(),
        Width::W32 => (value as u32).wrapping_neg() as u64,
    }
}

/// The low `bits` (8, 16 or 32) of `value`, sign-extended to `width`.
#[inline]
#[must_use]
pub const fn move_signed(width: Width, bits: u8, value: u64) -> u64 {
    let extended = match bits {
        8 => value as i8 as i64,
        16 => value as i16 as i64,
        _ => value as i32 as i64,
    };
    match width {
        Width::W64 => extended as u64,
        Width::W32 => extended as u32 as u64,
    }
}

/// The low `bits` (16, 32 or 64) of `value` in another byte order, zero-extended.
#[inline]
#[must_use]
pub const fn swap(order: ByteOrder, bits: u8, value: u64) -> u64 {
    match (order, bits) {
        (ByteOrder::ToLittle, 16) => value as u16 as u64,
        (ByteOrder::ToLittle, 32) => value as u32 as u64,
        (ByteOrder::ToLittle, _) => value,
        (ByteOrder::ToBig | ByteOrder::Swap, 16) => (value as u16).swap_bytes() as u64,
        (ByteOrder::ToBig | ByteOrder::Swap, 32) => (value as u32).swap_bytes() as u64,
        (ByteOrder::ToBig | ByteOrder::Swap, _) => value.swap_bytes(),
    }
}

/// Whether a conditional jump is taken.
#[inline]
#[must_use]
pub const fn holds(condition: Condition, width: Width, left: u64, right: u64) -> bool {
    let (left, right, signed_left, signed_right) = match width {
        Width::W64 => (left, right, left as i64, right as i64),
        Width::W32 => (left as u32 as u64, right as u32 as u64, left as i32 as i64, right as i32 as i64),
    };
    match condition {
        Condition::Equal => left == right,
        Condition::NotEqual => left != right,
        Condition::Greater => left > right,
        Condition::GreaterOrEqual => left >= right,
        Condition::Less => left < right,
        Condition::LessOrEqual => left <= right,
        Condition::BitsSet => left & right != 0,
        Condition::SignedGreater => signed_left > signed_right,
        Condition::SignedGreaterOrEqual => signed_left >= signed_right,
        Condition::SignedLess => signed_left < signed_right,
        Condition::SignedLessOrEqual => signed_left <= signed_right,
    }
}
