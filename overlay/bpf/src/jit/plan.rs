//! What is decided before code is written: registers and stack of each function, how each call is made, and how
//! long every operation's code can be at most.

use alloc::vec::Vec;

use super::assembler::Reg;
use super::known::{Facts, Known};
use super::length;
use super::{Options, runtime};
use crate::instruction::{Alu, Atomic, Callee, Operand, Operation, Register, Width};
use crate::program::{ArrayLayout, Executable, FRAME_BYTES, HelperFunction, LOOP, TAIL_CALL};

/// Number of the lookup in a map.
const LOOKUP: u32 = 1;
/// How far back is looked for what a call's arguments are: compilers set them up shortly before.
const WINDOW_SLOTS: u32 = 32;
/// The processor keeps this much below the stack pointer as it is (System V ABI: red zone).
const RED_ZONE_BYTES: i32 = 128;
/// Words that the code of `loop`, and of calls by number, keeps on the stack.
const SCRATCH_WORDS: i32 = 6;

/// How a helper call is made.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// By a call of this address.
    Direct(u64),
    /// A lookup in an array: no call.
    Array(ArrayLayout),
    /// A lookup of an entry known now: its address, or null.
    Entry(u64),
    /// A tail call; the address of the function that finds the program.
    Tail(u64),
    /// `loop`, with the callback if it is known.
    Loop(Option<u32>),
}

/// One function.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where R0 to R9 are kept.
    pub(super) registers: [Reg; 10],
    /// Machine registers to save, of those that [`SAVED`] lists.
    pub(super) saved: u8,
    /// Whether the invocation's address is kept on the stack, at `[rsp + below]`.
    pub(super) keeps_invocation: bool,
    /// Bytes that RSP is moved down after that.
    pub(super) below: i32,
    /// R10 is RSP plus this.
    pub(super) frame: i32,
}

/// Registers for R6 to R9, which callees preserve. RBP stays untouched, so that walks over frame pointers pass compiled
/// code, and so that the bytes of `add edi, ebp` never follow a byte 0F.
pub(super) const SAVED: [Reg; 4] = [Reg::RBX, Reg::R14, Reg::R15, Reg::R12];

impl Function {
    pub(super) fn saved(&self) -> impl DoubleEndedIterator<Item = Reg> + use<> {
        let saved = self.saved;
        SAVED.into_iter().enumerate().filter(move |(index, _)| saved >> index & 1 == 1).map(|(_, reg)| reg)
    }
}

/// See the module's description.
pub(super) struct Plan {
    pub(super) functions: Vec<Function>,
    /// Of each helper call, in the order of slots.
    pub(super) calls: Vec<Call>,
    /// For every slot, the most bytes that the code before it can have; one more at the end.
    pub(super) bounds: Vec<u32>,
    /// Whether any function needs the invocation.
    pub(super) needs_invocation: bool,
    /// Whether a run can be stopped early.
    pub(super) may_stop: bool,
}

/// What one function's operations ask for.
#[derive(Default)]
struct Needs {
    /// Bits of R6 to R9 that are written.
    writes: u8,
    /// Lowest offset from R10 in a direct access.
    lowest: i32,
    /// R10 itself gets into a register or a value.
    escapes: bool,
    /// Calls anything.
    calls: bool,
    /// Calls something that takes the invocation whatever the rest of the program does.
    invocation: bool,
    /// Calls functions of the program.
    functions: bool,
    /// Uses words of stack for itself.
    scratch: bool,
    /// Needs the third temporary register.
    temporary: bool,
    stops: bool,
}

impl Plan {
    pub(super) fn new(executable: &Executable, options: &Options) -> Self {
        let mut plan = Self {
            functions: Vec::with_capacity(executable.functions().len()),
            calls: Vec::new(),
            bounds: Vec::with_capacity(executable.operations().len() as usize + 1),
            needs_invocation: false,
            may_stop: false,
        };
        let mut all = Vec::with_capacity(executable.functions().len());
        let mut bound = 0_u32;
        for (index, &start) in executable.functions().iter().enumerate() {
            let end = executable.end(index);
            bound = bound.saturating_add(length::PROLOGUE);
            let needs = plan.scan(executable, options, start..end, &mut bound);
            bound = bound.saturating_add(length::STOPS);
            plan.needs_invocation |= needs.invocation || needs.stops;
            plan.may_stop |= needs.stops;
            all.push((start..end, needs));
        }
        plan.bounds.push(bound);
        let union = all.iter().fold(0, |union, (_, needs)| union | needs.writes);
        for (index, (slots, needs)) in all.into_iter().enumerate() {
            // A stop restores for the entry's caller what any function may have changed.
            let saves_all = index == 0 && plan.may_stop;
            let function = plan.function(slots, &needs, saves_all.then_some(union));
            plan.functions.push(function);
        }
        plan
    }

    fn scan(
        &mut self,
        executable: &Executable,
        options: &Options,
        slots: core::ops::Range<u32>,
        bound: &mut u32,
    ) -> Needs {
        let mut needs = Needs::default();
        for slot in slots.clone() {
            self.bounds.push(*bound);
            let Some(operation) = executable.operations().get(slot) else { continue };
            needs.operation(executable, slot, operation);
            *bound = bound.saturating_add(length::of(executable, options, slot, operation));
            if let Operation::Call(Callee::Helper(number)) = operation {
                let call = choose(executable, number, slots.start, slot);
                *bound = bound.saturating_add(length::call(executable, call));
                self.calls.push(call);
                needs.call(call);
            }
        }
        needs
    }

    fn function(&self, slots: core::ops::Range<u32>, needs: &Needs, also_saved: Option<u8>) -> Function {
        let keeps_invocation = self.needs_invocation && (needs.invocation || needs.functions || needs.stops);
        let mut writes = needs.writes;
        let mut registers = [
            Reg::RAX,
            Reg::RDI,
            Reg::RSI,
            Reg::RDX,
            Reg::RCX,
            Reg::R8,
            SAVED[0],
            SAVED[1],
            SAVED[2],
            SAVED[3],
        ];
        // R9 carries the invocation into calls and serves as a temporary; without either it is free.
        if !needs.calls && !needs.stops && !needs.temporary && writes != 0 {
            let first = writes.trailing_zeros();
            registers[6 + first as usize] = Reg::R9;
            writes &= writes - 1;
        }
        let saved = writes | also_saved.unwrap_or(0);
        let mut stack = if needs.escapes { FRAME_BYTES as i32 } else { -needs.lowest };
        let scratch = if needs.scratch { SCRATCH_WORDS * 8 } else { 0 };
        let (mut below, mut frame) = (0, 0);
        if needs.calls || stack + scratch > RED_ZONE_BYTES || needs.escapes {
            stack = (stack + 7) & !7;
            below = stack + scratch;
            if needs.calls {
                // The ABI wants RSP + 8 on a multiple of 16 at a function's first instruction.
                let pushed = 8 + 8 * saved.count_ones() as i32 + 8 * i32::from(keeps_invocation);
                below += (pushed + below) & 8;
            }
            frame = below;
        }
        Function { start: slots.start, end: slots.end, registers, saved, keeps_invocation, below, frame }
    }
}

impl Needs {
    fn call(&mut self, call: Call) {
        match call {
            Call::Array(_) | Call::Entry(_) => {}
            Call::Direct(_) | Call::Tail(_) => {
                self.calls = true;
                self.invocation = true;
            }
            Call::Loop(callback) => {
                self.calls = true;
                self.functions = true;
                self.scratch = true;
                self.stops |= callback.is_none();
            }
        }
    }

    fn write(&mut self, register: Register) {
        if let Some(bit) = register.index().checked_sub(6) {
            self.writes |= 1 << bit & 15;
        }
    }

    fn value(&mut self, operand: Operand) {
        if operand == Operand::Register(Register::FRAME) {
            self.escapes = true;
            self.temporary = true;
        }
    }

    fn access(&mut self, base: Register, offset: i16) {
        if base == Register::FRAME {
            self.lowest = self.lowest.min(i32::from(offset));
        }
    }

    fn operation(&mut self, executable: &Executable, slot: u32, operation: Operation) {
        match operation {
            Operation::Alu { op, destination, source, .. } => {
                self.write(destination);
                self.value(source);
                self.temporary |= matches!(
                    (op, source),
                    (
                        Alu::Divide | Alu::Modulo | Alu::SignedDivide | Alu::SignedModulo,
                        Operand::Immediate(_)
                    )
                );
            }
            Operation::Negate { destination, .. }
            | Operation::Swap { destination, .. }
            | Operation::LoadImmediate { destination, .. } => self.write(destination),
            Operation::MoveSigned { destination, source, .. } => {
                self.write(destination);
                self.value(Operand::Register(source));
            }
            Operation::Load { destination, base, offset, .. } => {
                self.write(destination);
                self.access(base, offset);
            }
            Operation::Store { base, offset, source, .. } => {
                self.access(base, offset);
                self.value(source);
            }
            Operation::Atomic { op, base, offset, source, .. } => {
                self.access(base, offset);
                self.value(Operand::Register(source));
                if source != Register::FRAME {
                    self.write(source);
                }
                self.temporary |= matches!(
                    op,
                    Atomic::Or { fetch: true } | Atomic::And { fetch: true } | Atomic::Xor { fetch: true }
                );
            }
            Operation::Jump { .. } => self.stops |= executable.is_fuelled(slot),
            Operation::JumpIf { left, right, .. } => {
                self.stops |= executable.is_fuelled(slot);
                self.value(Operand::Register(left));
                self.value(right);
            }
            Operation::Call(Callee::Function(_)) => {
                self.calls = true;
                self.functions = true;
            }
            Operation::Call(Callee::Register(_)) => {
                self.calls = true;
                self.functions = true;
                self.invocation = true;
                self.stops = true;
                self.scratch |= executable.numbered_callees();
            }
            Operation::Call(Callee::Helper(_)) | Operation::Exit => {}
        }
    }
}

/// What is known before `slot` from the straight line of code that leads there.
fn facts(executable: &Executable, function: u32, slot: u32) -> Facts {
    let mut start = slot;
    while start > function && slot - start < WINDOW_SLOTS && !executable.is_target(start) {
        start -= 1;
    }
    let mut facts = Facts::new();
    for slot in start..slot {
        match executable.operations().get(slot) {
            // A lookup writes no memory that the program has.
            Some(Operation::Call(Callee::Helper(LOOKUP))) => facts.looked_up(),
            Some(operation) => facts.step(operation),
            None => {}
        }
    }
    facts
}

fn choose(executable: &Executable, number: u32, function: u32, slot: u32) -> Call {
    if number == LOOP {
        return Call::Loop(match facts(executable, function, slot).get(2) {
            Known::Function(slot) => Some(slot),
            _ => None,
        });
    }
    // Helpers were looked up when the executable was made.
    let Some(helper) = executable.helper(number) else { return Call::Entry(0) };
    if number == TAIL_CALL {
        return Call::Tail(address(helper));
    }
    if number != LOOKUP {
        return Call::Direct(address(helper));
    }
    let facts = facts(executable, function, slot);
    let Known::Map(map) = facts.get(1) else { return Call::Direct(address(helper)) };
    let Some(binding) = executable.maps().get(map as usize) else { return Call::Direct(address(helper)) };
    match (binding.array, facts.get(2)) {
        (Some(array), Known::Stack(offset)) => match facts.word(offset) {
            Some(index) if index < array.entries => {
                Call::Entry(array.base + u64::from(index) * u64::from(array.stride))
            }
            Some(_) => Call::Entry(0),
            None => Call::Array(array),
        },
        (Some(array), _) => Call::Array(array),
        (None, _) => Call::Direct(address(binding.lookup.unwrap_or(helper))),
    }
}

fn address(function: HelperFunction) -> u64 {
    runtime::address(function as *const ())
}

/// Whether the operation is on whole registers.
pub(super) const fn is_wide(width: Width) -> bool {
    matches!(width, Width::W64)
}
