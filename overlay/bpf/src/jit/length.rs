//! How many bytes an operation's code has at most, when nothing but constants is disguised. A forward jump is short if
//! what lies between is short by this measure.

use super::Options;
use super::plan::Call;
use crate::instruction::{Alu, Atomic, Callee, Operand, Operation, Register, Width};
use crate::program::Executable;

/// Pushes of four registers and the invocation, `sub rsp`, the store of the stack pointer.
pub(super) const PROLOGUE: u32 = 32;
/// The places where a function's runs are stopped.
pub(super) const STOPS: u32 = 96;
/// `add rsp`, pops and `ret`.
const EPILOGUE: u32 = 16;
/// `lea r9, [rsp + 32 bits]` in front of an operation that uses R10 as a value.
const FRAME: u32 = 8;
/// `mov r9, [rsp + 32 bits]`.
const INVOCATION: u32 = 8;
/// Both `mov` and `xor` of a disguised constant.
const DISGUISED: u32 = 14;
/// A fuel check: the invocation, `sub`, two jumps.
const FUEL: u32 = INVOCATION + 8 + 6 + 5 + 2;
/// The longest division, with what it saves.
const DIVISION: u32 = 72;
/// `mov rax, 64 bits` and `call rax`.
const FAR_CALL: u32 = 12;

/// Bounds for everything but helper calls.
pub(super) fn of(executable: &Executable, options: &Options, slot: u32, operation: Operation) -> u32 {
    match operation {
        Operation::Alu { op, width, source, .. } => alu(options, op, width, source),
        Operation::Negate { .. } => 3,
        Operation::MoveSigned { source, .. } => 4 + frame(source),
        Operation::Swap { .. } => 8,
        Operation::LoadImmediate { .. } if options.blinding.is_some() => 23,
        Operation::LoadImmediate { .. } => 10,
        Operation::Load { .. } => 9,
        Operation::Store { source: Operand::Register(source), .. } => 10 + frame(source),
        Operation::Store { source: Operand::Immediate(value), .. } => {
            10 + if options.disguises(value) { DISGUISED } else { 4 }
        }
        Operation::Atomic { op, source, .. } => {
            frame(source)
                + match op {
                    Atomic::Or { fetch: true }
                    | Atomic::And { fetch: true }
                    | Atomic::Xor { fetch: true } => 48,
                    _ => 16,
                }
        }
        Operation::Jump { .. } => 5 + fuel(executable, slot),
        Operation::JumpIf { width: _, left, right, .. } => {
            let compare = match right {
                Operand::Register(right) => 3 + frame(right),
                Operand::Immediate(value) if options.disguises(value) => DISGUISED + 3,
                Operand::Immediate(_) => 7,
            };
            frame(left) + compare + 6 + fuel(executable, slot)
        }
        Operation::Call(Callee::Function(_)) => INVOCATION + 5,
        Operation::Call(Callee::Register(_)) => 160 + dispatch(executable),
        Operation::Call(Callee::Helper(_)) => 0,
        Operation::Exit => EPILOGUE,
    }
}

/// Bounds for helper calls.
pub(super) fn call(executable: &Executable, call: Call) -> u32 {
    match call {
        Call::Direct(_) => INVOCATION + FAR_CALL,
        Call::Array(_) => 48,
        Call::Entry(_) => 10,
        Call::Tail(_) => 3 * INVOCATION + 10 + FAR_CALL + EPILOGUE + 40,
        Call::Loop(_) => 160 + dispatch(executable),
    }
}

/// A comparison with, and a call of, every function that a register can hold.
fn dispatch(executable: &Executable) -> u32 {
    executable.taken().len() as u32 * (10 + 3 + 6 + INVOCATION + 5 + 5)
}

fn alu(options: &Options, op: Alu, width: Width, source: Operand) -> u32 {
    match (op, source) {
        (Alu::Divide | Alu::Modulo | Alu::SignedDivide | Alu::SignedModulo, _) => DIVISION + DISGUISED,
        (Alu::ShiftLeft | Alu::ShiftRight | Alu::ShiftRightArithmetic, Operand::Immediate(_)) => 4,
        (_, Operand::Register(register)) => {
            let shift = matches!(op, Alu::ShiftLeft | Alu::ShiftRight | Alu::ShiftRightArithmetic);
            frame(register) + if shift { 12 } else { 4 }
        }
        (Alu::Move, Operand::Immediate(value)) if options.disguises(value) => DISGUISED,
        (_, Operand::Immediate(value)) if options.disguises(value) => DISGUISED + 4,
        (Alu::Move, Operand::Immediate(_)) if matches!(width, Width::W32) => 6,
        (Alu::Add | Alu::Subtract | Alu::And | Alu::Or | Alu::Xor, Operand::Immediate(-128..=127)) => 4,
        (_, Operand::Immediate(_)) => 8,
    }
}

fn frame(register: Register) -> u32 {
    if register == Register::FRAME { FRAME } else { 0 }
}

fn fuel(executable: &Executable, slot: u32) -> u32 {
    if executable.is_fuelled(slot) { FUEL } else { 0 }
}
