//! What rbpf 0.4.1 runs as RFC 9669 says.
//!
//! The rest it refuses, or takes for something else without a word: signed division and remainder are computed unsigned,
//! sign-extending moves move.

use std::fmt;

use uio_bpf::instruction::{Alu, ByteOrder, Callee, Immediate64, Operand, Operation, Width};
use uio_bpf::program::{LOOP, TAIL_CALL};
use uio_protocol::bpf::ProgramKind;

use crate::run::Bound;

/// What rbpf does not run, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The instruction.
    pub slot: u32,
    /// What it is.
    pub what: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "instruction {}: no {}", self.slot, self.what)
    }
}

/// Opcode of the jump with a 32-bit offset.
const LONG_JUMP: u8 = 0x06;

/// The first thing in the program that rbpf's interpreter, or its JIT (`compiled`), does not run right, if there is one.
#[must_use]
pub fn unsupported(bound: &Bound, compiled: bool) -> Option<Unsupported> {
    let executable = bound.executable();
    if executable.has_fuelled() {
        return Some(Unsupported { slot: 0, what: "fuel" });
    }
    if matches!(executable.kind(), ProgramKind::Raw { .. }) {
        // Its interpreter sets no second argument.
        return Some(Unsupported { slot: 0, what: "size in R2" });
    }
    if executable.functions().len() > 1 {
        // Its callees have smaller stacks than the 512 bytes that programs may use.
        return Some(Unsupported { slot: executable.functions()[1], what: "full stack for functions" });
    }
    executable.operations().iter().find_map(|(slot, operation)| {
        let what = match operation {
            Operation::Jump { .. }
                if bound.slots().get(slot as usize).is_some_and(|raw| *raw as u8 == LONG_JUMP) =>
            {
                "32-bit jump"
            }
            Operation::Alu { op: Alu::SignedDivide | Alu::SignedModulo, .. } => "signed division",
            Operation::MoveSigned { .. } => "sign-extending move",
            Operation::Swap { order: ByteOrder::Swap, .. } => "unconditional swap",
            // By zero it leaves the upper half as it was.
            Operation::Alu { op: Alu::Modulo, width: Width::W32, source: Operand::Register(_), .. } => {
                "32-bit remainder"
            }
            // It compares with the immediate zero-extended.
            Operation::JumpIf { width: Width::W64, right: Operand::Immediate(..0), .. } if !compiled => {
                "comparison with a negative number"
            }
            // Its compiler copies the upper half, too.
            Operation::Alu { op: Alu::Move, width: Width::W32, source: Operand::Register(_), .. }
                if compiled =>
            {
                "32-bit move"
            }
            // Its compiler leaves out the truncation.
            Operation::Swap { order: ByteOrder::ToLittle, bits: ..64, .. } => "conversion to little-endian",
            Operation::Load { signed: true, .. } => "sign-extending load",
            Operation::Atomic { .. } => "atomics",
            Operation::LoadImmediate { value: Immediate64::Function(_), .. } => "address of a function",
            Operation::Call(Callee::Register(_)) => "call through a register",
            Operation::Call(Callee::Helper(TAIL_CALL)) => "tail call",
            Operation::Call(Callee::Helper(LOOP)) => "callback",
            // Its compiler encodes shifts by a constant of 32 and more as they are.
            Operation::Alu {
                op: Alu::ShiftLeft | Alu::ShiftRight | Alu::ShiftRightArithmetic,
                width,
                source: Operand::Immediate(count),
                ..
            } if !(0..bits(width)).contains(&count) => "shift by the width or more",
            Operation::Jump { target } if target.abs_diff(slot + 1) > u32::from(i16::MAX as u16) => {
                "long jump"
            }
            _ => return None,
        };
        Some(Unsupported { slot, what })
    })
}

const fn bits(width: Width) -> i32 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}
