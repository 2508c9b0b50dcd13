//! Code of arithmetic, conversions and byte swaps.

use super::assembler::{Basic, Flag, Form, Reg, Shift, Unary, at};
use super::emit::Emitter;
use super::plan::is_wide;
use crate::instruction::{Alu, ByteOrder, Operand, Operation, Register, Width};

impl Emitter<'_, '_> {
    /// Writes `destination op= source`; returns how many of the next slots it covered too.
    pub(super) fn alu(&mut self, op: Alu, width: Width, destination: Register, source: Operand) -> u32 {
        let wide = is_wide(width);
        if wide && let Some(merged) = self.merge(op, destination, source) {
            return merged;
        }
        let target = self.register(destination);
        match op {
            Alu::Move => self.move_value(wide, target, source),
            Alu::Add => self.basic(Basic::Add, wide, target, source),
            Alu::Subtract => self.basic(Basic::Sub, wide, target, source),
            Alu::Or => self.basic(Basic::Or, wide, target, source),
            Alu::And => self.basic(Basic::And, wide, target, source),
            Alu::Xor => self.basic(Basic::Xor, wide, target, source),
            Alu::Multiply => self.multiply(wide, target, source),
            Alu::ShiftLeft => self.shift(Shift::Left, wide, target, source),
            Alu::ShiftRight => self.shift(Shift::Right, wide, target, source),
            Alu::ShiftRightArithmetic => self.shift(Shift::RightArithmetic, wide, target, source),
            Alu::Divide => self.unsigned(false, wide, target, source),
            Alu::Modulo => self.unsigned(true, wide, target, source),
            Alu::SignedDivide => self.signed(false, wide, target, source),
            Alu::SignedModulo => self.signed(true, wide, target, source),
        }
        0
    }

    /// Pairs of operations that one instruction carries out.
    fn merge(&mut self, op: Alu, destination: Register, source: Operand) -> Option<u32> {
        match (op, source) {
            // A copy with something added, above all an address on the stack.
            (Alu::Move, Operand::Register(from)) if from != destination => {
                let Some(Operation::Alu {
                    op: Alu::Add,
                    width: Width::W64,
                    destination: next,
                    source: added,
                }) = self.following()
                else {
                    return None;
                };
                let target = self.register(destination);
                match added {
                    _ if next != destination => return None,
                    Operand::Immediate(value) if self.disguises(value) => return None,
                    Operand::Immediate(value) if from == Register::FRAME => {
                        let frame = self.function.frame.checked_add(value)?;
                        self.code.lea(target, at(Reg::RSP, frame));
                    }
                    Operand::Immediate(value) => {
                        let base = self.register(from);
                        self.code.lea(target, at(base, value));
                    }
                    Operand::Register(added) => {
                        if added == destination || added == Register::FRAME || from == Register::FRAME {
                            return None;
                        }
                        let (base, index) = (self.register(from), self.register(added));
                        self.code.lea_scaled(target, base, index, 0);
                    }
                }
                Some(1)
            }
            // What compilers for older versions make of an extension from 32 bits.
            (Alu::ShiftLeft, Operand::Immediate(32)) => {
                let Some(Operation::Alu {
                    op: next_op,
                    width: Width::W64,
                    destination: next,
                    source: Operand::Immediate(32),
                }) = self.following()
                else {
                    return None;
                };
                let target = self.register(destination);
                match next_op {
                    _ if next != destination => return None,
                    Alu::ShiftRight => self.code.mov(false, target, target),
                    Alu::ShiftRightArithmetic => self.code.rr(true, 0x63, target, target),
                    _ => return None,
                }
                Some(1)
            }
            _ => None,
        }
    }

    fn move_value(&mut self, wide: bool, target: Reg, source: Operand) {
        match source {
            Operand::Immediate(value) => self.constant(wide, target, value),
            Operand::Register(Register::FRAME) if wide => {
                self.code.lea(target, at(Reg::RSP, self.function.frame));
            }
            Operand::Register(register) => {
                let source = self.value(register);
                if !wide || source != target {
                    self.code.mov(wide, target, source);
                }
            }
        }
    }

    fn basic(&mut self, op: Basic, wide: bool, target: Reg, source: Operand) {
        match source {
            Operand::Register(register) => {
                let source = self.value(register);
                self.code.basic(op, wide, target, source);
            }
            Operand::Immediate(value) if self.disguises(value) => {
                self.constant(wide, Reg::R10, value);
                self.code.basic(op, wide, target, Reg::R10);
            }
            Operand::Immediate(0) if !matches!(op, Basic::And) => self.keep(wide, target),
            // With a clear top bit, the low half's result is the whole one.
            Operand::Immediate(value) if value >= 0 && matches!(op, Basic::And) => {
                self.code.basic_imm(op, false, target, value);
            }
            Operand::Immediate(value) => self.code.basic_imm(op, wide, target, value),
        }
    }

    /// Changes nothing, but an operation on low halves clears the high one.
    fn keep(&mut self, wide: bool, target: Reg) {
        if !wide {
            self.code.mov(false, target, target);
        }
    }

    fn multiply(&mut self, wide: bool, target: Reg, source: Operand) {
        match source {
            Operand::Register(register) => {
                let source = self.value(register);
                self.code.imul(wide, target, source);
            }
            Operand::Immediate(value) if self.disguises(value) => {
                self.constant(wide, Reg::R10, value);
                self.code.imul(wide, target, Reg::R10);
            }
            Operand::Immediate(value) if value > 0 && value.cast_unsigned().is_power_of_two() => {
                self.shift_constant(Shift::Left, wide, target, value.trailing_zeros() as u8);
            }
            Operand::Immediate(value) => self.code.imul_imm(wide, target, target, value),
        }
    }

    fn shift_constant(&mut self, op: Shift, wide: bool, target: Reg, count: u8) {
        if count == 0 {
            self.keep(wide, target);
        } else {
            self.code.shift_imm(op, wide, target, count);
        }
    }

    fn shift(&mut self, op: Shift, wide: bool, target: Reg, source: Operand) {
        let register = match source {
            Operand::Immediate(value) => {
                let mask = if wide { 63 } else { 31 };
                return self.shift_constant(op, wide, target, value as u8 & mask);
            }
            Operand::Register(register) => register,
        };
        let count = self.value(register);
        if self.options.bmi2 {
            self.code.shift_bmi2(op, wide, target, count);
        } else if count == Reg::RCX {
            self.code.shift_cl(op, wide, target);
        } else if target == Reg::RCX {
            self.code.mov(true, Reg::R10, target);
            self.code.mov(true, Reg::RCX, count);
            self.code.shift_cl(op, wide, Reg::R10);
            self.code.mov(true, Reg::RCX, Reg::R10);
        } else {
            self.code.mov(true, Reg::R10, Reg::RCX);
            self.code.mov(true, Reg::RCX, count);
            self.code.shift_cl(op, wide, target);
            self.code.mov(true, Reg::RCX, Reg::R10);
        }
    }

    pub(super) fn negate(&mut self, width: Width, destination: Register) {
        let target = self.register(destination);
        self.code.unary(Unary::Neg, is_wide(width), target);
    }

    pub(super) fn move_signed(&mut self, width: Width, bits: u8, destination: Register, source: Register) {
        let wide = is_wide(width);
        let target = self.register(destination);
        let source = self.value(source);
        match bits {
            8 => self.code.escaped_rr(wide, true, 0xbe, target, source),
            16 => self.code.escaped_rr(wide, false, 0xbf, target, source),
            _ => self.code.rr(wide, 0x63, target, source),
        }
    }

    pub(super) fn swap(&mut self, order: ByteOrder, bits: u8, destination: Register) {
        let target = self.register(destination);
        match (order, bits) {
            (ByteOrder::ToLittle, 64) => {}
            (ByteOrder::ToLittle, 32) => self.code.mov(false, target, target),
            (ByteOrder::ToLittle, _) => self.code.escaped_rr(false, false, 0xb7, target, target),
            (ByteOrder::ToBig | ByteOrder::Swap, 16) => {
                self.code.swap_bytes_16(target);
                self.code.escaped_rr(false, false, 0xb7, target, target);
            }
            (ByteOrder::ToBig | ByteOrder::Swap, bits) => self.code.bswap(bits == 64, target),
        }
    }

    /// Division without sign, or its remainder.
    fn unsigned(&mut self, remainder: bool, wide: bool, target: Reg, source: Operand) {
        if let Operand::Immediate(value) = source {
            // Negative ones are large here.
            let divisor = if wide { i64::from(value) as u64 } else { u64::from(value as u32) };
            match (remainder, divisor) {
                (false, 0) => return self.code.mov_imm(target, 0),
                (true, 0) | (false, 1) => return self.keep(wide, target),
                (true, 1) => return self.code.mov_imm(target, 0),
                _ if !divisor.is_power_of_two() || divisor > 1 << 15 => {}
                (false, _) => {
                    return self.shift_constant(Shift::Right, wide, target, divisor.trailing_zeros() as u8);
                }
                (true, _) => return self.code.basic_imm(Basic::And, false, target, value - 1),
            }
        }
        let divisor = self.start_division(wide, target, source);
        if matches!(source, Operand::Immediate(_)) {
            self.dividend(target);
            self.code.basic(Basic::Xor, false, Reg::RDX, Reg::RDX);
            self.code.unary(Unary::Div, wide, divisor);
        } else if remainder {
            // By zero, the dividend remains. No jump is taken in the other case.
            self.dividend(target);
            self.code.mov(true, Reg::RDX, Reg::RAX);
            self.code.test(wide, divisor, divisor);
            let by_zero = self.code.skip(Flag::Equal as u8);
            self.code.basic(Basic::Xor, false, Reg::RDX, Reg::RDX);
            self.code.unary(Unary::Div, wide, divisor);
            self.code.land(by_zero);
        } else {
            let dividend = if target == Reg::RAX { Reg::R10 } else { target };
            self.code.basic(Basic::Xor, false, Reg::RAX, Reg::RAX);
            self.code.test(wide, divisor, divisor);
            let by_zero = self.code.skip(Flag::Equal as u8);
            self.code.mov(true, Reg::RAX, dividend);
            self.code.basic(Basic::Xor, false, Reg::RDX, Reg::RDX);
            self.code.unary(Unary::Div, wide, divisor);
            self.code.land(by_zero);
        }
        self.end_division(remainder, wide, target);
    }

    /// Division with sign, or its remainder.
    fn signed(&mut self, remainder: bool, wide: bool, target: Reg, source: Operand) {
        let divisor = self.start_division(wide, target, source);
        self.dividend(target);
        // 0 and -1 are special: the processor faults on the one, and with the least number on the other.
        let form = Form::new(wide, 0x8d);
        self.code.memory(form, Reg::RDX, at(divisor, 1));
        self.code.basic_imm(Basic::Cmp, wide, Reg::RDX, 1);
        let usual = self.code.skip(Flag::Above as u8);
        if remainder {
            // By 0 the dividend, by -1 zero: the dividend and not the divisor.
            self.code.mov(true, Reg::RDX, divisor);
            self.code.unary(Unary::Not, true, Reg::RDX);
            self.code.basic(Basic::And, true, Reg::RDX, Reg::RAX);
        } else {
            self.code.imul(wide, Reg::RAX, divisor);
        }
        let end = self.code.skip_always();
        self.code.land(usual);
        self.code.sign_into_rdx(wide);
        self.code.unary(Unary::Idiv, wide, divisor);
        self.code.land(end);
        self.end_division(remainder, wide, target);
    }

    /// Copies RAX to R10 and RDX to R11, and finds a register for the divisor that dividing leaves alone.
    fn start_division(&mut self, wide: bool, target: Reg, source: Operand) -> Reg {
        let divisor = match source {
            Operand::Immediate(value) => {
                self.constant(wide, Reg::R9, value);
                Reg::R9
            }
            Operand::Register(register) => self.value(register),
        };
        // Also when one of them is the target: its copy is the dividend, or the divisor.
        self.code.mov(true, Reg::R10, Reg::RAX);
        if target != Reg::RDX || divisor == Reg::RDX {
            self.code.mov(true, Reg::R11, Reg::RDX);
        }
        match divisor {
            Reg::RAX => Reg::R10,
            Reg::RDX => Reg::R11,
            divisor => divisor,
        }
    }

    /// Puts the dividend into RAX.
    fn dividend(&mut self, target: Reg) {
        if target != Reg::RAX {
            self.code.mov(true, Reg::RAX, target);
        }
    }

    /// Moves the result from RAX or RDX to where it belongs, and puts back what was there.
    fn end_division(&mut self, remainder: bool, wide: bool, target: Reg) {
        let result = if remainder { Reg::RDX } else { Reg::RAX };
        if result != target || !wide {
            self.code.mov(wide, target, result);
        }
        if target != Reg::RAX {
            self.code.mov(true, Reg::RAX, Reg::R10);
        }
        if target != Reg::RDX {
            self.code.mov(true, Reg::RDX, Reg::R11);
        }
    }
}
