//! Finds the loads of a program that go to its context, by following the context's address through registers and
//! spilled slots of the stack.

use std::collections::BTreeMap;

use uio_bpf::instruction::{Alu, Callee, Immediate64, Operand, Operation, Register, Size, Width, decode};
use uio_protocol::bpf::ProgramImage;

use super::ContextError;

/// A load from the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The instruction.
    pub slot: u32,
    /// Bytes from the context's start that its base register holds.
    pub base_offset: i64,
}

/// Slots of 8 bytes of a function's stack.
const STACK_SLOTS: usize = 64;
const STACK_SLOT_BYTES: i32 = 8;

/// What is known of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// No way leads here yet.
    Nothing,
    /// Not the context's address.
    Other,
    /// The context's address and so many bytes.
    Context(i32),
    /// The frame pointer and so many bytes.
    Frame(i32),
    /// The context's address on some ways only.
    Sometimes,
}

impl Value {
    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, value) | (value, Self::Nothing) => value,
            (left, right) if left == right => left,
            (Self::Context(_) | Self::Sometimes, _) | (_, Self::Context(_) | Self::Sometimes) => {
                Self::Sometimes
            }
            _ => Self::Other,
        }
    }

    fn moved(self, distance: Option<i32>) -> Self {
        let moved = |offset: i32| offset.checked_add(distance?);
        match self {
            Self::Context(offset) => moved(offset).map_or(Self::Sometimes, Self::Context),
            Self::Frame(offset) => moved(offset).map_or(Self::Other, Self::Frame),
            value => value,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct State {
    registers: [Value; Register::COUNT],
    stack: [Value; STACK_SLOTS],
}

impl State {
    fn entry(arguments: Value) -> Self {
        let mut registers = [Value::Other; Register::COUNT];
        registers[1] = arguments;
        registers[Register::FRAME.index()] = Value::Frame(0);
        Self { registers, stack: [Value::Other; STACK_SLOTS] }
    }

    fn get(&self, register: Register) -> Value {
        self.registers[register.index()]
    }

    fn set(&mut self, register: Register, value: Value) {
        self.registers[register.index()] = value;
    }

    /// Whether anything changed.
    fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (mine, others) in self.registers.iter_mut().zip(&other.registers) {
            *mine = mine.joined(*others);
        }
        for (mine, others) in self.stack.iter_mut().zip(&other.stack) {
            *mine = mine.joined(*others);
        }
        *self != before
    }

    /// Index of the stack slot at `offset` from the frame pointer.
    fn slot(offset: i32) -> Option<usize> {
        let bytes = offset.checked_add(STACK_SLOTS as i32 * STACK_SLOT_BYTES)?;
        usize::try_from(bytes / STACK_SLOT_BYTES).ok().filter(|slot| bytes >= 0 && *slot < STACK_SLOTS)
    }

    fn load(&self, base: Value, offset: i16, size: Size) -> Value {
        let Value::Frame(start) = base else { return Value::Other };
        let place = start.wrapping_add(i32::from(offset));
        match Self::slot(place) {
            Some(slot) if size == Size::B8 && place % STACK_SLOT_BYTES == 0 => self.stack[slot],
            _ => Value::Other,
        }
    }

    fn store(&mut self, base: Value, offset: i16, size: Size, value: Value) {
        let Value::Frame(start) = base else { return };
        let place = start.wrapping_add(i32::from(offset));
        let whole = size == Size::B8 && place % STACK_SLOT_BYTES == 0;
        for at in [place, place.wrapping_add(i32::from(size.bytes()) - 1)] {
            if let Some(slot) = Self::slot(at) {
                self.stack[slot] = if whole { value } else { Value::Other };
            }
        }
    }
}

/// All loads of `program` from its context, ascending.
///
/// # Errors
///
/// [`ContextError`] if a load's base is the context on some ways to it only, at different distances, or the program
/// does not decode.
pub fn find_accesses(program: &ProgramImage) -> Result<Vec<Access>, ContextError> {
    let error =
        |slot, reason: &str| ContextError { program: program.name.clone(), slot, reason: reason.into() };
    let decoded = decode(&program.slots).map_err(|reason| {
        error(reason.slot, reason.to_string().split_once(": ").map_or("", |parts| parts.1))
    })?;

    // States where ways meet: entries of functions and targets of jumps.
    let mut states: BTreeMap<u32, State> = BTreeMap::from([(0, State::entry(Value::Context(0)))]);
    for (_, operation) in decoded.iter() {
        match operation {
            Operation::Jump { target } | Operation::JumpIf { target, .. } => {
                states.entry(target).or_insert_with(|| State {
                    registers: [Value::Nothing; Register::COUNT],
                    stack: [Value::Nothing; STACK_SLOTS],
                });
            }
            Operation::Call(Callee::Function(target)) => {
                states.entry(target).or_insert_with(|| State {
                    registers: [Value::Nothing; Register::COUNT],
                    stack: [Value::Other; STACK_SLOTS],
                });
            }
            Operation::LoadImmediate { value: Immediate64::Function(target), .. } => {
                states.insert(target, State::entry(Value::Other));
            }
            _ => {}
        }
    }

    let mut accesses: BTreeMap<u32, Value> = BTreeMap::new();
    let mut pending: Vec<u32> = states
        .iter()
        .filter(|(_, state)| state.registers[Register::FRAME.index()] != Value::Nothing)
        .map(|(slot, _)| *slot)
        .collect();
    // Each state changes a limited number of times: every value only goes up.
    while let Some(start) = pending.pop() {
        let mut state = states[&start].clone();
        let mut slot = start;
        while let Some(operation) = decoded.get(slot) {
            let next = slot + if matches!(operation, Operation::LoadImmediate { .. }) { 2 } else { 1 };
            let mut meet = |target: u32, state: &State| {
                if let Some(there) = states.get_mut(&target)
                    && there.join(state)
                {
                    pending.push(target);
                }
            };
            let falls = match operation {
                Operation::Load { base, .. } => {
                    let value = state.get(base);
                    if matches!(value, Value::Context(_) | Value::Sometimes) || accesses.contains_key(&slot) {
                        let before = accesses.get(&slot).copied().unwrap_or(Value::Nothing);
                        accesses.insert(slot, before.joined(value));
                    }
                    true
                }
                Operation::Jump { target } => {
                    meet(target, &state);
                    false
                }
                Operation::JumpIf { target, .. } => {
                    meet(target, &state);
                    true
                }
                Operation::Call(Callee::Function(target)) => {
                    let mut callee = State::entry(Value::Other);
                    callee.registers[1..6].copy_from_slice(&state.registers[1..6]);
                    for value in &mut callee.registers[1..6] {
                        // Another function's frame.
                        if matches!(value, Value::Frame(_)) {
                            *value = Value::Other;
                        }
                    }
                    meet(target, &callee);
                    true
                }
                Operation::Exit => false,
                _ => true,
            };
            if !falls {
                break;
            }
            step(&mut state, operation);
            slot = next;
            if states.contains_key(&slot) {
                if states.get_mut(&slot).is_some_and(|there| there.join(&state)) {
                    pending.push(slot);
                }
                break;
            }
        }
    }
    accesses
        .into_iter()
        .map(|(slot, value)| match value {
            Value::Context(offset) => Ok(Access { slot, base_offset: i64::from(offset) }),
            _ => Err(error(slot, "its base is the context on some ways only, or at different distances")),
        })
        .collect()
}

fn step(state: &mut State, operation: Operation) {
    match operation {
        Operation::Alu { op, width: Width::W64, destination, source } => {
            let value = match (op, source) {
                (Alu::Move, Operand::Register(source)) => state.get(source),
                (Alu::Add, Operand::Immediate(distance)) => state.get(destination).moved(Some(distance)),
                (Alu::Subtract, Operand::Immediate(distance)) => {
                    state.get(destination).moved(distance.checked_neg())
                }
                _ => Value::Other,
            };
            state.set(destination, value);
        }
        Operation::Alu { destination, .. }
        | Operation::Negate { destination, .. }
        | Operation::MoveSigned { destination, .. }
        | Operation::Swap { destination, .. }
        | Operation::LoadImmediate { destination, .. } => state.set(destination, Value::Other),
        Operation::Load { size, destination, base, offset, .. } => {
            let value = state.load(state.get(base), offset, size);
            state.set(destination, value);
        }
        Operation::Store { size, base, offset, source } => {
            let value = match source {
                Operand::Register(source) => state.get(source),
                Operand::Immediate(_) => Value::Other,
            };
            state.store(state.get(base), offset, size, value);
        }
        Operation::Atomic { width, base, offset, source, .. } => {
            let size = if width == Width::W64 { Size::B8 } else { Size::B4 };
            state.store(state.get(base), offset, size, Value::Other);
            state.set(source, Value::Other);
            state.set(Register::R0, Value::Other);
        }
        Operation::Call(_) => state.registers[..6].fill(Value::Other),
        Operation::Jump { .. } | Operation::JumpIf { .. } | Operation::Exit => {}
    }
}
