//! Calls of the program's own functions, returns and callbacks.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use uio_bpf::instruction::{Callee, Register};

use super::{Edge, Next, Usage, Way, helper, readable};
use crate::domain::Scalar;
use crate::program::Program;
use crate::reason::Reason;
use crate::stack::Stack;
use crate::state::{Caller, Frame, MAX_FRAMES, State};
use crate::value::{Content, Region, Value};

/// Most iterations of the helper `loop`, as in Linux.
const MAX_CALLBACK_ITERATIONS: u64 = 1 << 23;

pub(super) fn call(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    slot: u32,
    callee: Callee,
) -> Result<Next, Reason> {
    let function = match callee {
        Callee::Helper(number) => return helper::call(program, usage, state, slot, number),
        Callee::Function(function) => function,
        Callee::Register(register) => match readable(state, register)?.content {
            Content::Pointer(pointer) => match pointer.region {
                Region::Function(function) if !pointer.nullable => function,
                _ => return Err(Reason::NotFunction { register: register.index() as u8 }),
            },
            Content::Scalar(_) | Content::Unusable => {
                return Err(Reason::NotFunction { register: register.index() as u8 });
            }
        },
    };
    enter(program, usage, state, slot, function, None)?;
    Ok(Next::One(Edge { to: function, way: Way::Call }))
}

/// Begins a function: R1 to R5 stay, the rest is saved.
pub(super) fn enter(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    slot: u32,
    function: u32,
    callback: Option<Value>,
) -> Result<(), Reason> {
    if program.functions.binary_search(&function).is_err() {
        return Err(Reason::NotFunction { register: 0 });
    }
    if state.shared.frames.iter().any(|frame| frame.function == function) {
        return Err(Reason::Recursion { function });
    }
    if state.shared.frames.len() >= MAX_FRAMES {
        return Err(Reason::CallDepth { limit: MAX_FRAMES as u32 });
    }
    let from = state.frame().function;
    let registers = &mut state.registers;
    let saved = Rc::new([registers[6], registers[7], registers[8], registers[9]]);
    for register in [0, 6, 7, 8, 9] {
        registers[register] = Value::UNUSABLE;
    }
    state.shared_mut().frames.push(Frame {
        function,
        stack: Rc::new(Stack::default()),
        heads: alloc::vec::Vec::new(),
        caller: Some(Caller { slot, saved, callback }),
    });
    usage.call_depth = usage.call_depth.max(state.shared.frames.len() as u32);
    usage.calls.insert((from, function));
    Ok(())
}

pub(super) fn exit(program: &Program<'_>, usage: &mut Usage, state: &mut State) -> Result<Next, Reason> {
    let result = readable(state, Register::R0)?;
    let function = state.frame().function;
    let Some(caller) = state.frame().caller.clone() else {
        if result.is_pointer() {
            return Err(Reason::Leak { register: 0, what: format!("{result}") });
        }
        if let Some(reference) = state.shared.references.first() {
            return Err(Reason::Reference { acquired: reference.slot });
        }
        return Ok(Next::Stop);
    };
    let depth = state.depth() as u8;
    state.shared_mut().frames.pop();
    for register in 1..=5 {
        state.registers[register] = Value::UNUSABLE;
    }
    state.registers[6..].copy_from_slice(&*caller.saved);
    // Nothing points into the stack of a function that has returned.
    state.invalidate(&|region| region == Region::Stack(depth));
    let after = Edge { to: caller.slot + 1, way: Way::Fall };
    let Some(argument) = caller.callback else {
        return Ok(Next::One(after));
    };
    if result.is_pointer() {
        return Err(Reason::Leak { register: 0, what: format!("{result}") });
    }
    // A callback may be called again, or not.
    let mut again = Box::new(state.clone());
    callback(program, usage, &mut again, caller.slot, function, argument)?;
    state.registers[0] = loop_result();
    Ok(Next::Two(after, Edge { to: function, way: Way::Call }, again))
}

/// Begins a callback of the helper `loop`: it gets the iteration's number and what the program passes along.
pub(super) fn callback(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    slot: u32,
    function: u32,
    argument: Value,
) -> Result<(), Reason> {
    state.registers[1] = Value::scalar(Scalar::unsigned(0, MAX_CALLBACK_ITERATIONS - 1));
    state.registers[2] = argument;
    for register in 3..=5 {
        state.registers[register] = Value::UNUSABLE;
    }
    enter(program, usage, state, slot, function, Some(argument))
}

/// How many iterations the helper `loop` made, or an error.
pub(super) fn loop_result() -> Value {
    Value::scalar(Scalar::UNKNOWN)
}
