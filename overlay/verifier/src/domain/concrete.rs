//! What instructions do to numbers, for tests to compare with.

use uio_bpf::instruction::{Alu, Condition, Width};

/// RFC 9669's arithmetic, written down a second time and on purpose without sharing anything.
pub(crate) fn alu(op: Alu, width: Width, a: u64, b: u64) -> u64 {
    match width {
        Width::W64 => {
            let (x, y) = (a as i64, b as i64);
            match op {
                Alu::Add => a.wrapping_add(b),
                Alu::Subtract => a.wrapping_sub(b),
                Alu::Multiply => a.wrapping_mul(b),
                Alu::Divide => a.checked_div(b).unwrap_or(0),
                Alu::Modulo => a.checked_rem(b).unwrap_or(a),
                Alu::SignedDivide => {
                    if b == 0 {
                        0
                    } else {
                        x.wrapping_div(y) as u64
                    }
                }
                Alu::SignedModulo => {
                    if b == 0 {
                        a
                    } else {
                        x.wrapping_rem(y) as u64
                    }
                }
                Alu::Or => a | b,
                Alu::And => a & b,
                Alu::Xor => a ^ b,
                Alu::ShiftLeft => a << (b & 63),
                Alu::ShiftRight => a >> (b & 63),
                Alu::ShiftRightArithmetic => (x >> (b & 63)) as u64,
                Alu::Move => b,
            }
        }
        Width::W32 => {
            let (a, b) = (a as u32, b as u32);
            let (x, y) = (a as i32, b as i32);
            u64::from(match op {
                Alu::Add => a.wrapping_add(b),
                Alu::Subtract => a.wrapping_sub(b),
                Alu::Multiply => a.wrapping_mul(b),
                Alu::Divide => a.checked_div(b).unwrap_or(0),
                Alu::Modulo => a.checked_rem(b).unwrap_or(a),
                Alu::SignedDivide => {
                    if b == 0 {
                        0
                    } else {
                        x.wrapping_div(y) as u32
                    }
                }
                Alu::SignedModulo => {
                    if b == 0 {
                        a
                    } else {
                        x.wrapping_rem(y) as u32
                    }
                }
                Alu::Or => a | b,
                Alu::And => a & b,
                Alu::Xor => a ^ b,
                Alu::ShiftLeft => a << (b & 31),
                Alu::ShiftRight => a >> (b & 31),
                Alu::ShiftRightArithmetic => (x >> (b & 31)) as u32,
                Alu::Move => b,
            })
        }
    }
}

/// Whether a comparison comes out true.
pub(crate) fn holds(condition: Condition, width: Width, a: u64, b: u64) -> bool {
    let (a, b, x, y) = match width {
        Width::W64 => (a, b, a as i64, b as i64),
        Width::W32 => (a & 0xffff_ffff, b & 0xffff_ffff, i64::from(a as i32), i64::from(b as i32)),
    };
    match condition {
        Condition::Equal => a == b,
        Condition::NotEqual => a != b,
        Condition::Greater => a > b,
        Condition::GreaterOrEqual => a >= b,
        Condition::Less => a < b,
        Condition::LessOrEqual => a <= b,
        Condition::BitsSet => a & b != 0,
        Condition::SignedGreater => x > y,
        Condition::SignedGreaterOrEqual => x >= y,
        Condition::SignedLess => x < y,
        Condition::SignedLessOrEqual => x <= y,
    }
}
