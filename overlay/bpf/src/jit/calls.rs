//! Code of calls: helpers, lookups in arrays, functions of the program, `loop`, tail calls.

use super::assembler::{Basic, Flag, Form, Reg, Shift, at};
use super::emit::Emitter;
use super::plan::Call;
use super::runtime;
use crate::instruction::{Condition, Operand, Operation, Register};
use crate::invocation::{Invocation, Stopped};
use crate::program::{
    ArrayLayout, LOOP_ROUNDS_MAX, LOOP_TOO_LONG, TAIL_CALL_FAILED, WRONG_ARGUMENT, function_value,
};

/// Arguments R1 to R5, where calls expect them.
const ARGUMENTS: [Reg; 5] = [Reg::RDI, Reg::RSI, Reg::RDX, Reg::RCX, Reg::R8];

impl Emitter<'_, '_> {
    /// Writes a helper call; returns how many of the next slots it covered too.
    pub(super) fn helper(&mut self) -> u32 {
        let Some(&call) = self.plan.calls.get(self.helper_calls) else {
            self.code.fail();
            return 0;
        };
        self.helper_calls += 1;
        match call {
            Call::Direct(address) => {
                self.code.load64(Reg::R9, self.invocation());
                self.call_address(address);
            }
            Call::Array(array) => return self.array_lookup(array),
            Call::Entry(address) => return self.entry(address),
            Call::Tail(find) => self.tail_call(find),
            Call::Loop(callback) => self.rounds(callback),
        }
        0
    }

    /// Calls a function of ours. Changes RAX.
    fn call_address(&mut self, address: u64) {
        const CALL_BYTES: u64 = 5;
        let after = self.address.wrapping_add(self.code.position() as u64 + CALL_BYTES);
        let distance = address.wrapping_sub(after) as i64;
        if let Ok(distance) = i32::try_from(distance) {
            self.code.put(0xe8 | u64::from(distance as u32) << 8, CALL_BYTES as usize);
        } else {
            self.number(Reg::RAX, address, true);
            self.code.call_reg(Reg::RAX);
        }
    }

    /// A lookup whose result is known.
    fn entry(&mut self, address: u64) -> u32 {
        self.number(Reg::RAX, address, true);
        // The check that follows it always comes out the same.
        match self.null_check() {
            Some((Condition::Equal, _)) if address != 0 => 1,
            Some((Condition::NotEqual, target)) if address != 0 => {
                self.go(None, target, self.slot + 2);
                1
            }
            _ => 0,
        }
    }

    /// The next operation, if it compares R0 with zero and jumps forward, and only this one leads to it.
    fn null_check(&self) -> Option<(Condition, u32)> {
        match self.following()? {
            Operation::JumpIf {
                condition: condition @ (Condition::Equal | Condition::NotEqual),
                left: Register::R0,
                right: Operand::Immediate(0),
                width: crate::instruction::Width::W64,
                target,
            } if target > self.slot + 1 => Some((condition, target)),
            _ => None,
        }
    }

    /// `R0 = index < entries ? base + index * stride : 0`, with the index behind R2.
    fn array_lookup(&mut self, array: ArrayLayout) -> u32 {
        let index = Reg::R10;
        let key = ARGUMENTS[1];
        self.code.memory(Form::new(false, 0x8b), index, at(key, 0));
        self.code.basic(Basic::Xor, false, Reg::RAX, Reg::RAX);
        self.code.basic_imm(Basic::Cmp, false, index, array.entries as i32);
        let check = match self.null_check() {
            Some((Condition::Equal, target)) => Some(target),
            _ => None,
        };
        let over = match check {
            // Where there is no entry, the program's own check would jump: jump there at once.
            Some(target) => {
                self.go(Some(Flag::AboveOrEqual), target, self.slot);
                None
            }
            None => Some(self.code.skip(Flag::AboveOrEqual as u8)),
        };
        let stride = array.stride;
        self.number_keeping_r10(Reg::RAX, array.base);
        if matches!(stride, 1 | 2 | 4 | 8) {
            self.code.lea_scaled(Reg::RAX, Reg::RAX, index, stride.trailing_zeros() as u8);
        } else {
            if stride.is_power_of_two() {
                self.code.shift_imm(Shift::Left, true, index, stride.trailing_zeros() as u8);
            } else if let Ok(stride) = i32::try_from(stride) {
                self.code.imul_imm(true, index, index, stride);
            } else {
                self.code.fail();
            }
            self.code.basic(Basic::Add, true, Reg::RAX, index);
        }
        match over {
            Some(over) => {
                self.code.land(over);
                0
            }
            None => 1,
        }
    }

    /// Loads a number of ours. In varied code, that changes R11 instead of R10.
    fn number_keeping_r10(&mut self, destination: Reg, value: u64) {
        if self.varied {
            let key = self.random.next();
            self.code.mov_imm(destination, value ^ key);
            self.code.mov_imm(Reg::R11, key);
            self.code.basic(Basic::Xor, true, destination, Reg::R11);
        } else {
            self.code.mov_imm(destination, value);
        }
    }

    pub(super) fn function_call(&mut self, target: u32) {
        if self.function.keeps_invocation {
            self.code.load64(Reg::R9, self.invocation());
        }
        self.code.put(0xe8, 5);
        self.calls.push((self.code.position(), target));
    }

    /// Calls whichever function of the program `register` names, and stops the run if none.
    pub(super) fn register_call(&mut self, register: Register) {
        let callee = self.value(register);
        let mut ends = self.dispatch(callee);
        if self.executable.numbered_callees() {
            // Finding the helper must not change its arguments, nor the number that is sought.
            for (index, reg) in ARGUMENTS.into_iter().enumerate() {
                self.code.store64(at(Reg::RSP, index as i32 * 8), reg);
            }
            self.code.mov(true, Reg::RDI, callee);
            let table = self.executable.helpers();
            self.number(Reg::RSI, runtime::address(table.as_ptr().cast()), true);
            self.number(Reg::RDX, table.len() as u64, true);
            self.call_address(runtime::address(runtime::helper_by_number as *const ()));
            for (index, reg) in ARGUMENTS.into_iter().enumerate() {
                self.code.load64(reg, at(Reg::RSP, index as i32 * 8));
            }
            self.code.test(true, Reg::RAX, Reg::RAX);
            self.stop_if(Some(Flag::Equal), Stopped::Callee);
            self.code.load64(Reg::R9, self.invocation());
            self.code.call_reg(Reg::RAX);
        } else {
            self.stop_if(None, Stopped::Callee);
        }
        let here = self.code.position();
        for end in ends.drain(..) {
            self.land_long(end, here);
        }
    }

    /// Compares `callee` with every function that a register can name and calls the one that it is. Returns the ends of jumps to
    /// what follows; where none is meant, goes on.
    fn dispatch(&mut self, callee: Reg) -> alloc::vec::Vec<usize> {
        let mut ends = alloc::vec::Vec::new();
        for &slot in self.executable.taken() {
            self.number_via_r11(function_value(slot));
            self.code.basic(Basic::Cmp, true, callee, Reg::R11);
            let over = self.code.skip(Flag::NotEqual as u8);
            self.function_call(slot);
            ends.push(self.long(None));
            self.code.land(over);
        }
        ends
    }

    fn number_via_r11(&mut self, value: u64) {
        self.number(Reg::R11, value, true);
    }

    /// `loop(rounds, callback, context, flags)`.
    fn rounds(&mut self, callback: Option<u32>) {
        let limit = at(Reg::RSP, 0);
        let done = at(Reg::RSP, 8);
        let context = at(Reg::RSP, 16);
        let function = at(Reg::RSP, 24);
        self.code.mov(false, Reg::RDI, Reg::RDI);
        self.number(Reg::RAX, WRONG_ARGUMENT, true);
        self.code.test(true, Reg::RCX, Reg::RCX);
        let flags = self.long(Some(Flag::NotEqual));
        self.number(Reg::RAX, LOOP_TOO_LONG, true);
        self.code.basic_imm(Basic::Cmp, true, Reg::RDI, LOOP_ROUNDS_MAX as i32);
        let long = self.long(Some(Flag::Above));
        self.code.basic(Basic::Xor, false, Reg::RAX, Reg::RAX);
        self.code.test(true, Reg::RDI, Reg::RDI);
        let none = self.long(Some(Flag::Equal));
        self.code.store64(limit, Reg::RDI);
        self.code.store64(done, Reg::RAX);
        self.code.store64(context, Reg::RDX);
        self.code.store64(function, Reg::RSI);
        let again = self.code.position();
        self.code.load64(Reg::RDI, done);
        self.code.load64(Reg::RSI, context);
        match callback {
            Some(slot) => self.function_call(slot),
            None => {
                self.code.load64(Reg::R10, function);
                self.code.mov(true, Reg::RAX, Reg::R10);
                let ends = self.dispatch(Reg::RAX);
                self.stop_if(None, Stopped::Callee);
                let here = self.code.position();
                for end in ends {
                    self.land_long(end, here);
                }
            }
        }
        self.code.mov(true, Reg::R10, Reg::RAX);
        self.code.load64(Reg::RAX, done);
        self.code.basic_imm(Basic::Add, true, Reg::RAX, 1);
        self.code.store64(done, Reg::RAX);
        self.code.test(true, Reg::R10, Reg::R10);
        let ended = self.code.skip(Flag::NotEqual as u8);
        // cmp rax, [limit]
        self.code.memory(Form::new(true, 0x3b), Reg::RAX, limit);
        let after = self.long(Some(Flag::Below));
        self.land_long(after, again);
        self.code.land(ended);
        let here = self.code.position();
        for end in [flags, long, none] {
            self.land_long(end, here);
        }
    }

    /// Goes on in another program, if there is one: leaves this one's frame as at its end, and jumps instead of
    /// returning.
    fn tail_call(&mut self, find: u64) {
        self.number(Reg::R8, find, true);
        self.code.load64(Reg::R9, self.invocation());
        self.call_address(runtime::address(runtime::tail_entry as *const ()));
        self.code.test(true, Reg::RAX, Reg::RAX);
        let none = self.code.skip(Flag::Equal as u8);
        self.code.load64(Reg::RDX, self.invocation());
        let context = core::mem::offset_of!(Invocation<'_>, context) as i32;
        let bytes = core::mem::offset_of!(Invocation<'_>, context_bytes) as i32;
        self.code.load64(Reg::RDI, at(Reg::RDX, context));
        self.code.load64(Reg::RSI, at(Reg::RDX, bytes));
        self.epilogue(self.function);
        self.code.jump_reg(Reg::RAX);
        self.code.land(none);
        self.number(Reg::RAX, TAIL_CALL_FAILED, true);
    }
}
