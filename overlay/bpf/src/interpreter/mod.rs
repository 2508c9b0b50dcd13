//! The interpreter, for machines that forbid compiled code, and for watching.
//!
//! It carries out what a program says and checks nothing: a program is checked before, by the verifier.

pub mod arithmetic;
mod memory;
mod observer;

pub use observer::{Access, AccessKind, Observer, Refusal, State, Unwatched};

use memory::Destination;

use crate::instruction::{Callee, Immediate64, Operand, Operation, Register, Size, Width};
use crate::invocation::{Invocation, Stopped};
use crate::program::{
    Executable, FRAME_BYTES, FRAMES_MAX, LOOP, LOOP_ROUNDS_MAX, LOOP_TOO_LONG, Program, TAIL_CALL,
    TAIL_CALL_FAILED, WRONG_ARGUMENT,
};

/// Words of stack for all frames.
const STACK_WORDS: usize = FRAMES_MAX * FRAME_BYTES / size_of::<u64>();
const R0: usize = 0;
const R1: usize = 1;
const R2: usize = 2;
const R3: usize = 3;
const R4: usize = 4;
/// First of the registers that a callee preserves.
const R6: usize = 6;
const R10: usize = 10;

/// A stack for programs. One can run any number of programs, one after the other.
#[repr(C, align(16))]
pub struct Machine {
    stack: [u64; STACK_WORDS],
    frames: [Frame; FRAMES_MAX],
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// What a function goes back to.
#[derive(Clone, Copy)]
struct Frame {
    /// The call.
    slot: u32,
    /// The caller's R6 to R9.
    preserved: [u64; 4],
    /// If the call was one of `loop`.
    rounds: Option<Rounds>,
}

impl Frame {
    const EMPTY: Self = Self { slot: 0, preserved: [0; 4], rounds: None };
}

#[derive(Clone, Copy)]
struct Rounds {
    callback: u32,
    context: u64,
    done: u64,
    limit: u64,
}

/// A program at some point of its run.
struct Run<'a> {
    executable: &'a Executable,
    operations: &'a [Option<Operation>],
    invocation: &'a Invocation<'a>,
    /// R0 to R10, and five more that make any four bits an index.
    registers: [u64; 16],
    slot: u32,
    depth: usize,
    /// Of the functions below, the entry's left out.
    frames: &'a mut [Frame; FRAMES_MAX],
}

impl Machine {
    /// A stack of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self { stack: [0; STACK_WORDS], frames: [Frame::EMPTY; FRAMES_MAX] }
    }

    /// Where the stack lies: the entry function's R10 is the end of this range, and every call
    /// moves it down by [`FRAME_BYTES`].
    #[must_use]
    pub fn stack(&self) -> core::ops::Range<u64> {
        let start = self.stack.as_ptr().addr() as u64;
        start..start + size_of_val(&self.stack) as u64
    }

    /// Runs a program and gives its R0.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if it came to no end.
    ///
    /// # Safety
    ///
    /// Every access of the program is one that it may make, and every call of a helper meets the helper's
    /// prototype: the verifier says so, or the observer refuses what is not.
    pub unsafe fn run<O: Observer>(
        &mut self,
        executable: &Executable,
        invocation: &Invocation<'_>,
        observer: &mut O,
    ) -> Result<u64, Stopped> {
        let mut run = Run {
            executable,
            operations: executable.operations().as_slice(),
            invocation,
            registers: [0; 16],
            slot: 0,
            depth: 0,
            frames: &mut self.frames,
        };
        run.registers[R10] =
            (&raw mut self.stack).expose_provenance() as u64 + size_of_val(&self.stack) as u64;
        run.start();
        loop {
            // SAFETY: the caller's promise.
            if let Some(result) = unsafe { run.step(observer)? } {
                return Ok(result);
            }
        }
    }
}

impl Run<'_> {
    fn start(&mut self) {
        self.registers[R1] = self.invocation.context;
        self.registers[R2] = self.invocation.context_bytes;
        self.slot = 0;
    }

    #[inline(always)]
    fn get(&self, register: Register) -> u64 {
        self.registers[register.index() & 15]
    }

    #[inline(always)]
    fn set(&mut self, register: Register, value: u64) {
        self.registers[register.index() & 15] = value;
    }

    #[inline(always)]
    fn operand(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Register(register) => self.get(register),
            Operand::Immediate(value) => i64::from(value) as u64,
        }
    }

    fn state(&self) -> State<'_> {
        State { executable: self.executable, slot: self.slot, depth: self.depth, registers: &self.registers }
    }

    #[inline(always)]
    fn access<O: Observer>(
        &self,
        observer: &mut O,
        base: Register,
        offset: i16,
        bytes: u8,
        kind: AccessKind,
    ) -> Result<u64, Stopped> {
        let address = self.get(base).wrapping_add_signed(i64::from(offset));
        if O::WATCHES {
            observer
                .access(&self.state(), Access { address, bytes, kind })
                .map_err(|Refusal| Stopped::Refused)?;
        }
        Ok(address)
    }

    /// Carries out one instruction; `Some` is the program's result.
    ///
    /// # Safety
    ///
    /// As [`Machine::run`].
    #[inline(always)]
    unsafe fn step<O: Observer>(&mut self, observer: &mut O) -> Result<Option<u64>, Stopped> {
        let Some(Some(operation)) = self.operations.get(self.slot as usize) else { return Err(Stopped::End) };
        if O::WATCHES {
            observer.instruction(&self.state()).map_err(|Refusal| Stopped::Refused)?;
        }
        let mut next = self.slot + 1;
        match *operation {
            Operation::Alu { op, width, destination, source } => {
                let result = arithmetic::alu(op, width, self.get(destination), self.operand(source));
                self.set(destination, result);
            }
            Operation::Negate { width, destination } => {
                self.set(destination, arithmetic::negate(width, self.get(destination)));
            }
            Operation::MoveSigned { width, bits, destination, source } => {
                self.set(destination, arithmetic::move_signed(width, bits, self.get(source)));
            }
            Operation::Swap { order, bits, destination } => {
                self.set(destination, arithmetic::swap(order, bits, self.get(destination)));
            }
            Operation::LoadImmediate { destination, value } => {
                let value = match value {
                    Immediate64::Value(value) => value,
                    _ => self.executable.immediate(value),
                };
                self.set(destination, value);
                next += 1;
            }
            Operation::Load { size, signed, destination, base, offset } => {
                let address = self.access(observer, base, offset, size.bytes(), AccessKind::Read)?;
                // SAFETY: the caller's promise about accesses.
                self.set(destination, unsafe { memory::load(address, size, signed) });
            }
            Operation::Store { size, base, offset, source } => {
                let address = self.access(observer, base, offset, size.bytes(), AccessKind::Write)?;
                // SAFETY: the caller's promise about accesses.
                unsafe { memory::store(address, size, self.operand(source)) };
            }
            Operation::Atomic { op, width, base, offset, source } => {
                let bytes = if width == Width::W64 { Size::B8 } else { Size::B4 }.bytes();
                let address = self.access(observer, base, offset, bytes, AccessKind::Atomic)?;
                // SAFETY: the caller's promise about accesses.
                let fetched =
                    unsafe { memory::atomic(op, width, address, self.get(source), self.registers[R0]) };
                match fetched.to {
                    Destination::None => {}
                    Destination::Source => self.set(source, fetched.old),
                    Destination::R0 => self.registers[R0] = fetched.old,
                }
            }
            Operation::Jump { target } => {
                self.burn(target)?;
                next = target;
            }
            Operation::JumpIf { condition, width, left, right, target } => {
                if arithmetic::holds(condition, width, self.get(left), self.operand(right)) {
                    self.burn(target)?;
                    next = target;
                }
            }
            // SAFETY: the caller's promise about calls.
            Operation::Call(callee) => next = unsafe { self.call(observer, callee)? },
            Operation::Exit => match self.exit() {
                Some(slot) => next = slot,
                None => return Ok(Some(self.registers[R0])),
            },
        }
        self.slot = next;
        Ok(None)
    }

    /// Pays for the jump from here to `target`.
    #[inline(always)]
    fn burn(&self, target: u32) -> Result<(), Stopped> {
        if target <= self.slot && self.executable.has_fuelled() && self.executable.is_fuelled(self.slot) {
            let left = self.invocation.fuel.get() - 1;
            self.invocation.fuel.set(left);
            if left < 0 {
                return Err(Stopped::Fuel);
            }
        }
        Ok(())
    }

    /// Calls, and says where to go on.
    ///
    /// # Safety
    ///
    /// As [`Machine::run`].
    unsafe fn call<O: Observer>(&mut self, observer: &mut O, callee: Callee) -> Result<u32, Stopped> {
        let number = match callee {
            Callee::Function(target) => return self.enter(target, None),
            Callee::Helper(number) => number,
            Callee::Register(register) => {
                let value = self.get(register);
                match self.executable.function_of_value(value) {
                    Some(target) => return self.enter(target, None),
                    None if self.executable.numbered_callees() => {
                        u32::try_from(value).map_err(|_| Stopped::Callee)?
                    }
                    None => return Err(Stopped::Callee),
                }
            }
        };
        if O::WATCHES {
            observer.helper(&self.state(), number).map_err(|Refusal| Stopped::Refused)?;
        }
        if number == LOOP {
            return self.start_loop();
        }
        let function = self.executable.helper(number).ok_or(Stopped::Callee)?;
        let [_, r1, r2, r3, r4, r5, ..] = self.registers;
        // SAFETY: the caller's promise about calls; the invocation is live.
        let result = unsafe { function(r1, r2, r3, r4, r5, self.invocation) };
        if number != TAIL_CALL {
            self.registers[R0] = result;
            return Ok(self.slot + 1);
        }
        if result == 0 || self.depth != 0 || !self.invocation.count_tail_call() {
            self.registers[R0] = TAIL_CALL_FAILED;
            return Ok(self.slot + 1);
        }
        let program = core::ptr::with_exposed_provenance::<Program>(result as usize);
        // SAFETY: the function of this number returns the address of a program that lives as long as this run.
        self.executable = unsafe { (*program).executable() };
        self.operations = self.executable.operations().as_slice();
        self.start();
        Ok(0)
    }

    fn enter(&mut self, target: u32, rounds: Option<Rounds>) -> Result<u32, Stopped> {
        // The entry function has no frame here.
        if self.depth + 1 >= FRAMES_MAX {
            return Err(Stopped::Depth);
        }
        let [_, _, _, _, _, _, r6, r7, r8, r9, ..] = self.registers;
        self.frames[self.depth] = Frame { slot: self.slot, preserved: [r6, r7, r8, r9], rounds };
        self.depth += 1;
        self.registers[R10] -= FRAME_BYTES as u64;
        Ok(target)
    }

    fn start_loop(&mut self) -> Result<u32, Stopped> {
        let limit = u64::from(self.registers[R1] as u32);
        let refused = if self.registers[R4] != 0 {
            Some(WRONG_ARGUMENT)
        } else if limit > LOOP_ROUNDS_MAX {
            Some(LOOP_TOO_LONG)
        } else if limit == 0 {
            Some(0)
        } else {
            None
        };
        if let Some(result) = refused {
            self.registers[R0] = result;
            return Ok(self.slot + 1);
        }
        let callback = self.executable.function_of_value(self.registers[R2]).ok_or(Stopped::Callee)?;
        let context = self.registers[R3];
        self.registers[R1] = 0;
        self.registers[R2] = context;
        self.enter(callback, Some(Rounds { callback, context, done: 0, limit }))
    }

    /// Leaves a function and says where to go on; `None` at the end of the program.
    fn exit(&mut self) -> Option<u32> {
        let depth = self.depth.checked_sub(1)?;
        let frame = self.frames.get_mut(depth)?;
        self.registers[R6..R10].copy_from_slice(&frame.preserved);
        let slot = frame.slot;
        if let Some(rounds) = &mut frame.rounds {
            rounds.done += 1;
            if self.registers[R0] == 0 && rounds.done < rounds.limit {
                self.registers[R1] = rounds.done;
                self.registers[R2] = rounds.context;
                return Some(rounds.callback);
            }
            self.registers[R0] = rounds.done;
        }
        self.depth = depth;
        self.registers[R10] += FRAME_BYTES as u64;
        Some(slot + 1)
    }
}
