//! Code of jumps, and the fuel that some cost.

use super::assembler::{Basic, Flag, Form, Reg, at};
use super::emit::{Emitter, Patch};
use super::plan::is_wide;
use crate::instruction::{Condition, Operand, Register, Width};
use crate::invocation::{Invocation, Stopped};

impl Emitter<'_, '_> {
    pub(super) fn jump(&mut self, target: u32) {
        if self.executable.is_fuelled(self.slot) {
            self.burn();
        }
        // One to the next operation is none.
        if target != self.slot + 1 {
            self.go(None, target, self.slot + 1);
        }
    }

    pub(super) fn jump_if(
        &mut self,
        condition: Condition,
        width: Width,
        left: Register,
        right: Operand,
        target: u32,
    ) {
        let flag = self.compare(condition, width, left, right);
        if self.executable.is_fuelled(self.slot) {
            let over = self.code.skip(flag.inverse());
            self.burn();
            self.go(None, target, self.slot + 1);
            self.code.land(over);
        } else {
            self.go(Some(flag), target, self.slot + 1);
        }
    }

    /// Sets flags, and says which one means that the condition holds.
    fn compare(&mut self, condition: Condition, width: Width, left: Register, right: Operand) -> Flag {
        let wide = is_wide(width);
        let bits = condition == Condition::BitsSet;
        let left = self.value(left);
        match right {
            Operand::Register(right) => {
                let right = self.value(right);
                self.compare_registers(bits, wide, left, right);
            }
            Operand::Immediate(value) if self.disguises(value) => {
                self.constant(wide, Reg::R10, value);
                self.compare_registers(bits, wide, left, Reg::R10);
            }
            Operand::Immediate(value) if bits => self.code.test_imm(wide && value < 0, left, value),
            Operand::Immediate(0) => self.code.test(wide, left, left),
            Operand::Immediate(value) => self.code.basic_imm(Basic::Cmp, wide, left, value),
        }
        match condition {
            Condition::Equal => Flag::Equal,
            Condition::NotEqual | Condition::BitsSet => Flag::NotEqual,
            Condition::Greater => Flag::Above,
            Condition::GreaterOrEqual => Flag::AboveOrEqual,
            Condition::Less => Flag::Below,
            Condition::LessOrEqual => Flag::BelowOrEqual,
            Condition::SignedGreater => Flag::Greater,
            Condition::SignedGreaterOrEqual => Flag::GreaterOrEqual,
            Condition::SignedLess => Flag::Less,
            Condition::SignedLessOrEqual => Flag::LessOrEqual,
        }
    }

    fn compare_registers(&mut self, bits: bool, wide: bool, left: Reg, right: Reg) {
        if bits {
            self.code.test(wide, left, right);
        } else {
            self.code.basic(Basic::Cmp, wide, left, right);
        }
    }

    /// Jumps to `target`. What lies between is at most the code of the operations from `next` on.
    pub(super) fn go(&mut self, flag: Option<Flag>, target: u32, next: u32) {
        let position = self.code.position();
        if target <= self.slot {
            let Some(&to) = self.offsets.get(target as usize) else { return self.code.fail() };
            let distance = i64::from(to) - position as i64;
            if let Ok(short) = i8::try_from(distance - 2) {
                let opcode = flag.map_or(0xeb, |flag| 0x70 | flag as u64);
                self.code.put(opcode | u64::from(short as u8) << 8, 2);
            } else {
                let after = self.long(flag);
                self.land_long(after, to as usize);
            }
            return;
        }
        let bounds = &self.plan.bounds;
        let between = bounds[target as usize].wrapping_sub(bounds[next as usize]);
        let short = between.saturating_add(self.growth) <= i8::MAX as u32;
        let after = if short {
            self.code.put(flag.map_or(0xeb, |flag| 0x70 | flag as u64), 2);
            self.code.position()
        } else {
            self.long(flag)
        };
        self.jumps.push(Patch { after, target, short });
    }

    /// A jump with a distance of 32 bits to fill in; returns where it ends.
    pub(super) fn long(&mut self, flag: Option<Flag>) -> usize {
        match flag {
            Some(flag) => self.code.put(0x0f | (0x80 | flag as u64) << 8, 6),
            None => self.code.put(0xe9, 5),
        }
        self.code.position()
    }

    /// Ends the run for `reason` if `flag` is set.
    pub(super) fn stop_if(&mut self, flag: Option<Flag>, reason: Stopped) {
        let after = self.long(flag);
        self.stops.push((after, reason));
    }

    /// Takes one from the fuel, and ends the run if it was not there.
    fn burn(&mut self) {
        self.code.load64(Reg::R9, self.invocation());
        let fuel = at(Reg::R9, core::mem::offset_of!(Invocation<'_>, fuel) as i32);
        // sub qword [fuel], 1
        self.code.memory(Form::new(true, 0x83), Reg(Basic::Sub as u8), fuel);
        self.code.put(1, 1);
        self.stop_if(Some(Flag::Sign), Stopped::Fuel);
    }
}
