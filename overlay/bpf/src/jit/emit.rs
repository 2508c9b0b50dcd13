//! Writes the code of a program, operation by operation.

use alloc::vec::Vec;

use super::assembler::{Address, Assembler, Basic, Reg, at};
use super::disguise::Random;
use super::plan::{Function, Plan};
use super::{Code, Options};
use crate::instruction::{Callee, Immediate64, Operation, Register};
use crate::invocation::{Invocation, Stopped};
use crate::program::Executable;

/// Room that the last instruction's bytes are written into.
pub(super) const SLACK_BYTES: usize = 16;
/// How much longer an operation's code can be in varied form, with what goes before and after it.
pub(super) const VARIED_BYTES: usize = 64;

/// How code is written, apart from [`Options`].
#[derive(Clone, Copy)]
pub(super) struct Style<'s> {
    pub(super) seed: u64,
    /// Slots, ascending, whose operations are written in varied form to get rid of byte sequences: every constant and large
    /// displacement disguised, instructions that do nothing before and after.
    pub(super) varied: &'s [u32],
}

/// A jump whose distance is filled in once its end is known.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    /// Where the instruction ends.
    pub(super) after: usize,
    pub(super) target: u32,
    pub(super) short: bool,
}

pub(super) struct Emitter<'p, 'b> {
    style: Style<'p>,
    pub(super) executable: &'p Executable,
    pub(super) options: &'p Options,
    pub(super) plan: &'p Plan,
    pub(super) function: &'p Function,
    pub(super) code: Assembler<'b>,
    /// Where the code will run.
    pub(super) address: u64,
    /// Whether the current operation is written in varied form.
    pub(super) varied: bool,
    /// By how much forward jumps can be longer than planned.
    pub(super) growth: u32,
    pub(super) random: Random,
    /// Of every slot up to the current one, where its code starts.
    pub(super) offsets: Vec<u32>,
    pub(super) slot: u32,
    /// Forward jumps of this function.
    pub(super) jumps: Vec<Patch>,
    /// Where each function starts, so far.
    pub(super) starts: Vec<usize>,
    /// Ends of calls, and the first slots of the functions that they call.
    pub(super) calls: Vec<(usize, u32)>,
    /// Helper calls so far: an index into [`Plan::calls`].
    pub(super) helper_calls: usize,
    /// Ends of this function's jumps to where a run is stopped.
    pub(super) stops: Vec<(usize, Stopped)>,
}

impl<'p, 'b> Emitter<'p, 'b> {
    pub(super) fn new(
        executable: &'p Executable,
        options: &'p Options,
        plan: &'p Plan,
        style: Style<'p>,
        buffer: &'b mut [u8],
        address: u64,
    ) -> Option<Self> {
        Some(Self {
            style,
            executable,
            options,
            plan,
            function: plan.functions.first()?,
            code: Assembler::new(buffer),
            address,
            varied: false,
            growth: (style.varied.len() * VARIED_BYTES) as u32,
            random: Random::new(style.seed),
            offsets: Vec::with_capacity(plan.bounds.len()),
            slot: 0,
            jumps: Vec::new(),
            starts: Vec::with_capacity(plan.functions.len()),
            calls: Vec::new(),
            helper_calls: 0,
            stops: Vec::new(),
        })
    }

    /// Writes everything; `None` if it did not fit.
    pub(super) fn program(mut self) -> Option<Code> {
        for function in &self.plan.functions {
            self.function = function;
            self.starts.push(self.code.position());
            self.prologue();
            self.slot = function.start;
            while self.slot < function.end {
                self.mark();
                if let Some(operation) = self.executable.operations().get(self.slot) {
                    self.start_varied();
                    let merged = self.operation(operation);
                    self.end_varied();
                    for _ in 0..merged {
                        self.slot += 1;
                        self.mark();
                    }
                }
                self.slot += 1;
            }
            self.stop_places();
            self.land_jumps();
        }
        self.land_calls();
        (!self.code.has_failed()).then(|| Code { bytes: self.code.position(), offsets: self.offsets })
    }

    /// Notes that the current slot's code starts here.
    fn mark(&mut self) {
        self.offsets.push(self.code.position() as u32);
    }

    fn start_varied(&mut self) {
        if !self.style.varied.is_empty() {
            self.varied = self.style.varied.binary_search(&self.slot).is_ok();
            self.nothing();
        }
    }

    fn end_varied(&mut self) {
        if self.varied {
            self.nothing();
            self.varied = false;
        }
    }

    /// Around a varied operation, up to seven `nop`: that changes distances of jumps in both directions.
    fn nothing(&mut self) {
        if self.varied {
            let count = self.random.next() >> 61;
            self.code.put(0x9090_9090_9090_9090, count as usize);
        }
    }

    fn prologue(&mut self) {
        let function = self.function;
        let is_entry = function.start == 0;
        // The entry is called with three arguments, functions of the program with six.
        let invocation = if is_entry { Reg::RDX } else { Reg::R9 };
        for reg in function.saved() {
            self.code.push(reg);
        }
        if function.keeps_invocation {
            self.code.push(invocation);
        }
        if function.below != 0 {
            self.code.basic_imm(Basic::Sub, true, Reg::RSP, function.below);
        }
        if is_entry && self.plan.may_stop {
            let unwind = at(invocation, core::mem::offset_of!(Invocation<'_>, unwind) as i32);
            self.code.store64(unwind, Reg::RSP);
        }
    }

    /// Undoes the prologue of `function`.
    pub(super) fn epilogue(&mut self, function: &Function) {
        let moved = function.below + 8 * i32::from(function.keeps_invocation);
        if moved != 0 {
            self.code.basic_imm(Basic::Add, true, Reg::RSP, moved);
        }
        for reg in function.saved().rev() {
            self.code.pop(reg);
        }
    }

    /// Writes one operation; returns how many of the next slots it covered too.
    fn operation(&mut self, operation: Operation) -> u32 {
        match operation {
            Operation::Alu { op, width, destination, source } => {
                return self.alu(op, width, destination, source);
            }
            Operation::Negate { width, destination } => self.negate(width, destination),
            Operation::MoveSigned { width, bits, destination, source } => {
                self.move_signed(width, bits, destination, source);
            }
            Operation::Swap { order, bits, destination } => self.swap(order, bits, destination),
            Operation::LoadImmediate { destination, value } => {
                let is_own = !matches!(value, Immediate64::Value(_));
                let destination = self.register(destination);
                self.number(destination, self.executable.immediate(value), is_own);
            }
            Operation::Load { size, signed, destination, base, offset } => {
                self.load(size, signed, destination, base, offset);
            }
            Operation::Store { size, base, offset, source } => self.store(size, base, offset, source),
            Operation::Atomic { op, width, base, offset, source } => {
                self.atomic(op, width, base, offset, source);
            }
            Operation::Jump { target } => self.jump(target),
            Operation::JumpIf { condition, width, left, right, target } => {
                self.jump_if(condition, width, left, right, target);
            }
            Operation::Call(Callee::Helper(_)) => return self.helper(),
            Operation::Call(Callee::Function(target)) => self.function_call(target),
            Operation::Call(Callee::Register(register)) => self.register_call(register),
            Operation::Exit => {
                self.epilogue(self.function);
                self.code.ret();
            }
        }
        0
    }

    /// The next operation, if only this one leads to it.
    pub(super) fn following(&self) -> Option<Operation> {
        let next = self.slot + 1;
        if next < self.function.end && !self.executable.is_target(next) {
            self.executable.operations().get(next)
        } else {
            None
        }
    }

    /// Where a register other than R10 is kept.
    #[inline(always)]
    pub(super) fn register(&self, register: Register) -> Reg {
        self.function.registers.get(register.index()).copied().unwrap_or(Reg::R9)
    }

    /// A machine register that holds `register`: R9 for R10.
    #[inline(always)]
    pub(super) fn value(&mut self, register: Register) -> Reg {
        if register == Register::FRAME {
            self.code.lea(Reg::R9, at(Reg::RSP, self.function.frame));
        }
        self.register(register)
    }

    /// Where the invocation is kept.
    pub(super) fn invocation(&self) -> Address {
        at(Reg::RSP, self.function.below)
    }

    /// Whether `value` must not stand in the code.
    #[inline(always)]
    pub(super) fn disguises(&self, value: i32) -> bool {
        self.options.disguises(value) || self.varied && value != i32::from(value as i8)
    }

    /// Loads a number; one of ours needs no disguise.
    pub(super) fn number(&mut self, destination: Reg, value: u64, is_own: bool) {
        if is_own && !self.varied {
            return self.code.mov_imm(destination, value);
        }
        if let Ok(low) = u32::try_from(value) {
            self.constant(false, destination, low as i32);
        } else if value as i32 as i64 as u64 == value {
            self.constant(true, destination, value as i32);
        } else if self.options.blinding.is_none() && !self.varied {
            self.code.mov_imm(destination, value);
        } else {
            let key = self.random.next();
            self.code.mov_imm(destination, value ^ key);
            self.code.mov_imm(Reg::R10, key);
            self.code.basic(Basic::Xor, true, destination, Reg::R10);
        }
    }

    /// Loads a number of 32 bits, sign-extended if `wide`. Changes no register but the destination.
    pub(super) fn constant(&mut self, wide: bool, destination: Reg, value: i32) {
        if self.disguises(value) {
            let key = self.random.next() as i32;
            let mixed = value ^ key;
            let mixed = if wide { i64::from(mixed) as u64 } else { u64::from(mixed as u32) };
            self.code.mov_imm(destination, mixed);
            self.code.basic_imm(Basic::Xor, wide, destination, key);
        } else if wide {
            self.code.mov_imm(destination, i64::from(value) as u64);
        } else {
            self.code.mov_imm(destination, u64::from(value as u32));
        }
    }

    /// Writes the places where this function's run is stopped, one for each reason.
    fn stop_places(&mut self) {
        let stops = core::mem::take(&mut self.stops);
        let Some(entry) = self.plan.functions.first() else { return };
        for reason in [Stopped::Fuel, Stopped::Callee] {
            let here = self.code.position();
            let mut any = false;
            for &(after, _) in stops.iter().filter(|stop| stop.1 == reason) {
                self.land_long(after, here);
                any = true;
            }
            if any {
                self.code.load64(Reg::R9, self.invocation());
                let stopped = at(Reg::R9, core::mem::offset_of!(Invocation<'_>, stopped) as i32);
                self.store_constant(stopped, reason as u32 as i32);
                self.code.load64(Reg::RSP, at(Reg::R9, core::mem::offset_of!(Invocation<'_>, unwind) as i32));
                self.epilogue(entry);
                self.code.ret();
            }
        }
    }

    /// Fills in the distance of the instruction that ends at `after`.
    pub(super) fn land_long(&mut self, after: usize, target: usize) {
        let distance = (target as i64 - after as i64) as i32;
        self.code.patch(after - 4, &distance.to_le_bytes());
    }

    fn land_jumps(&mut self) {
        for index in 0..self.jumps.len() {
            let Patch { after, target, short } = self.jumps[index];
            let Some(&target) = self.offsets.get(target as usize) else { continue };
            if short {
                self.land_short(after, target as usize);
            } else {
                self.land_long(after, target as usize);
            }
        }
        self.jumps.clear();
    }

    fn land_short(&mut self, after: usize, target: usize) {
        match i8::try_from(target as i64 - after as i64) {
            Ok(distance) => self.code.patch(after - 1, &distance.to_le_bytes()),
            Err(_) => self.code.fail(),
        }
    }

    fn land_calls(&mut self) {
        for index in 0..self.calls.len() {
            let (after, target) = self.calls[index];
            let Ok(function) = self.executable.functions().binary_search(&target) else { continue };
            self.land_long(after, self.starts[function]);
        }
    }
}
