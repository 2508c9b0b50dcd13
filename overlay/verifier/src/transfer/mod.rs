//! What one instruction does to a state, and whether it may.
//!
//! The analysis and the check share these functions; the check's verdict is sound if they are.

mod arithmetic;
mod branch;
mod call;
mod helper;
mod memory;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use uio_bpf::instruction::{Immediate64, Operation, Register};
use uio_protocol::bpf::MapKind;

use crate::domain::Scalar;
use crate::program::Program;
use crate::reason::Reason;
use crate::state::State;
use crate::value::{Content, Pointer, Region, Value};

/// Where execution continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: u32,
    pub(crate) way: Way,
}

/// How execution continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With the next instruction, or the one after a call.
    Fall,
    /// By a jump inside the function: only those make loops.
    Jump,
    /// In another function.
    Call,
}

/// What follows an instruction.
#[derive(Debug)]
pub(crate) enum Next {
    /// The program ends, or the state was impossible.
    Stop,
    /// The state goes on here.
    One(Edge),
    /// The state goes on along the first edge, the other one along the second.
    Two(Edge, Edge, Box<State>),
}

/// What a program was seen to use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Ascending.
    pub(crate) helpers: Vec<u32>,
    /// Ascending.
    pub(crate) maps: Vec<u32>,
    /// Parallel to the program's functions.
    pub(crate) frame_bytes: Vec<u32>,
    /// Frames at once.
    pub(crate) call_depth: u32,
    /// Who was seen to call whom: first slots.
    pub(crate) calls: BTreeSet<(u32, u32)>,
}

impl Usage {
    pub(crate) fn new(program: &Program<'_>) -> Self {
        Self { frame_bytes: alloc::vec![0; program.functions.len()], call_depth: 1, ..Self::default() }
    }

    /// Bounds the stack in use at once: that of the calls, at most [`Self::call_depth`] functions deep, that need
    /// most. The calls can make a cycle although no chain of them did; the depth ends it.
    pub(crate) fn stack_bytes(&self, program: &Program<'_>) -> u32 {
        let index = |function: &u32| program.functions.binary_search(function).ok();
        let calls: Vec<(usize, usize)> =
            self.calls.iter().filter_map(|(from, to)| Some((index(from)?, index(to)?))).collect();
        // By function, the most stack of a chain from the entry to it; nothing where no chain leads.
        let mut chains = alloc::vec![None; self.frame_bytes.len()];
        if let (Some(entry), Some(bytes)) = (chains.first_mut(), self.frame_bytes.first()) {
            *entry = Some(*bytes);
        }
        let mut most = chains.iter().flatten().copied().max().unwrap_or(0);
        for _ in 1..self.call_depth {
            let mut longer = alloc::vec![None; chains.len()];
            for (from, to) in &calls {
                longer[*to] = longer[*to].max(chains[*from].map(|bytes: u32| bytes + self.frame_bytes[*to]));
            }
            most = longer.iter().flatten().copied().max().unwrap_or(0).max(most);
            chains = longer;
        }
        most
    }

    fn insert(list: &mut Vec<u32>, number: u32) {
        if let Err(place) = list.binary_search(&number) {
            list.insert(place, number);
        }
    }
}

/// Executes the instruction at `slot` in `state`.
///
/// # Errors
///
/// [`Reason`] if it is not safe in every concrete state that `state` describes.
pub(crate) fn step(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    slot: u32,
    operation: Operation,
) -> Result<Next, Reason> {
    match operation {
        Operation::Alu { op, width, destination, source } => {
            arithmetic::alu(state, op, width, destination, source)?;
        }
        Operation::Negate { width, destination } => arithmetic::negate(state, width, destination)?,
        Operation::MoveSigned { width, bits, destination, source } => {
            let number = number(state, source)?;
            state.set(destination, Value::scalar(number.sign_extend(bits, width)));
        }
        Operation::Swap { order, bits, destination } => {
            let number = number(state, destination)?;
            state.set(destination, Value::scalar(number.convert(order, bits)));
        }
        Operation::LoadImmediate { destination, value } => {
            let value = load_immediate(program, usage, value)?;
            state.set(destination, value);
            return Ok(Next::One(Edge { to: slot + 2, way: Way::Fall }));
        }
        Operation::Load { size, signed, destination, base, offset } => {
            let value = memory::load(program, usage, state, base, offset, size, signed)?;
            state.set(destination, value);
        }
        Operation::Store { size, base, offset, source } => {
            memory::store(program, usage, state, base, offset, size, source)?;
        }
        Operation::Atomic { op, width, base, offset, source } => {
            memory::atomic(program, usage, state, op, width, base, offset, source)?;
        }
        Operation::Jump { target } => return Ok(Next::One(Edge { to: target, way: Way::Jump })),
        Operation::JumpIf { condition, width, left, right, target } => {
            return branch::branch(state, slot, condition, width, left, right, target);
        }
        Operation::Call(callee) => return call::call(program, usage, state, slot, callee),
        Operation::Exit => return call::exit(program, usage, state),
    }
    Ok(Next::One(Edge { to: slot + 1, way: Way::Fall }))
}

/// The value in `register`, which must be readable.
fn readable(state: &State, register: Register) -> Result<Value, Reason> {
    let value = state.get(register);
    match value.content {
        Content::Unusable => Err(Reason::Uninitialised { register: register.index() as u8 }),
        Content::Scalar(_) | Content::Pointer(_) => Ok(value),
    }
}

/// The number in `register`, which must be one.
fn number(state: &State, register: Register) -> Result<Scalar, Reason> {
    let value = readable(state, register)?;
    match value.content {
        Content::Scalar(scalar) => Ok(scalar),
        Content::Pointer(pointer) => Err(on_pointer(register, &pointer)),
        Content::Unusable => Err(Reason::Uninitialised { register: register.index() as u8 }),
    }
}

fn on_pointer(register: Register, pointer: &Pointer) -> Reason {
    Reason::PointerArithmetic { register: register.index() as u8, what: alloc::format!("{pointer}") }
}

fn load_immediate(program: &Program<'_>, usage: &mut Usage, value: Immediate64) -> Result<Value, Reason> {
    match value {
        Immediate64::Value(number) => Ok(Value::scalar(Scalar::constant(number))),
        Immediate64::Function(slot) => Ok(Value::pointer(Region::Function(slot))),
        Immediate64::Map(index) => {
            program.map(index).ok_or(Reason::Map { index, offset: 0 })?;
            Usage::insert(&mut usage.maps, index);
            Ok(Value::pointer(Region::Map(index)))
        }
        Immediate64::MapValue { map: index, offset } => {
            let refused = Reason::Map { index, offset };
            let map = program.map(index).ok_or(refused.clone())?;
            let fixed = i32::try_from(offset).map_err(|_| refused.clone())?;
            if map.kind != MapKind::Array || map.max_entries != 1 || offset >= map.value_bytes {
                return Err(refused);
            }
            Usage::insert(&mut usage.maps, index);
            let mut value = Value::pointer(Region::MapValue(index));
            if let Content::Pointer(pointer) = &mut value.content {
                pointer.fixed = fixed;
            }
            Ok(value)
        }
    }
}
