//! Conditional jumps: which ways are possible, and what is known on each.

use alloc::boxed::Box;
use alloc::format;

use uio_bpf::instruction::{Condition, Operand, Register, Width};

use super::arithmetic::MAX_PACKET_OFFSET;
use super::{Edge, Next, Way, readable};
use crate::domain::{Scalar, refine};
use crate::reason::Reason;
use crate::stack::FRAME_BYTES;
use crate::state::State;
use crate::value::{Content, Pointer, Region, Value};

pub(super) fn branch(
    state: &mut State,
    slot: u32,
    condition: Condition,
    width: Width,
    left: Register,
    right: Operand,
    target: u32,
) -> Result<Next, Reason> {
    let first = readable(state, left)?;
    let second = match right {
        Operand::Immediate(immediate) => Value::scalar(Scalar::constant(i64::from(immediate) as u64)),
        Operand::Register(register) => readable(state, register)?,
    };
    let right = match right {
        Operand::Register(register) => Some(register),
        Operand::Immediate(_) => None,
    };
    let jump = Edge { to: target, way: Way::Jump };
    let fall = Edge { to: slot + 1, way: Way::Fall };
    match (&first.content, &second.content) {
        (Content::Scalar(a), Content::Scalar(b)) => {
            let same = right == Some(left) || first.id != 0 && first.id == second.id;
            let possible = |holds| {
                if same && holds != reflexive(condition).unwrap_or(holds) {
                    return None;
                }
                refine(condition, holds, width, a, b)
            };
            let (taken, other) = (possible(true), possible(false));
            let apply = |state: &mut State, (x, y): (Scalar, Scalar)| {
                learn(state, left, &first, a, x);
                if let Some(register) = right {
                    learn(state, register, &second, b, y);
                }
            };
            match (taken, other) {
                (Some(taken), Some(other)) => {
                    let mut jumped = Box::new(state.clone());
                    apply(&mut jumped, taken);
                    apply(state, other);
                    Ok(Next::Two(fall, jump, jumped))
                }
                (Some(taken), None) => {
                    apply(state, taken);
                    Ok(Next::One(jump))
                }
                (None, Some(other)) => {
                    apply(state, other);
                    Ok(Next::One(fall))
                }
                (None, None) => Ok(Next::Stop),
            }
        }
        (Content::Pointer(pointer), Content::Scalar(scalar)) => {
            null_check(state, left, (pointer, first.id), scalar, (condition, width), (fall, jump))
        }
        (Content::Scalar(scalar), Content::Pointer(pointer)) => {
            let register = right.unwrap_or(left);
            null_check(state, register, (pointer, second.id), scalar, (condition, width), (fall, jump))
        }
        (Content::Pointer(a), Content::Pointer(b)) => {
            let packet = |region| matches!(region, Region::Packet | Region::PacketMeta | Region::PacketEnd);
            let related = a.region == b.region || packet(a.region) && packet(b.region);
            // The order of unrelated addresses, and common bits of any, tell where things are.
            if width == Width::W32 || !related || condition == Condition::BitsSet {
                return Err(leak(left, a));
            }
            let mut jumped = Box::new(state.clone());
            compare_packet(&mut jumped, condition, true, (a, first.id), (b, second.id));
            compare_packet(state, condition, false, (a, first.id), (b, second.id));
            Ok(Next::Two(fall, jump, jumped))
        }
        (Content::Unusable, _) | (_, Content::Unusable) => {
            Err(Reason::Uninitialised { register: left.index() as u8 })
        }
    }
}

/// What comparing a number with itself gives, if that is always the same.
const fn reflexive(condition: Condition) -> Option<bool> {
    match condition {
        Condition::Equal
        | Condition::GreaterOrEqual
        | Condition::LessOrEqual
        | Condition::SignedGreaterOrEqual
        | Condition::SignedLessOrEqual => Some(true),
        Condition::NotEqual
        | Condition::Greater
        | Condition::Less
        | Condition::SignedGreater
        | Condition::SignedLess => Some(false),
        Condition::BitsSet => None,
    }
}

fn learn(state: &mut State, register: Register, value: &Value, before: &Scalar, after: Scalar) {
    if *before == after {
        return;
    }
    if let Some(place) = state.registers.get_mut(register.index()) {
        place.content = Content::Scalar(after);
    }
    if value.id != 0 {
        state.refine(value.id, &after);
    }
}

fn leak(register: Register, pointer: &Pointer) -> Reason {
    Reason::Leak { register: register.index() as u8, what: format!("{pointer}") }
}

/// A comparison with a number: only that with 0 tells a program nothing about addresses.
fn null_check(
    state: &mut State,
    register: Register,
    (pointer, id): (&Pointer, u32),
    scalar: &Scalar,
    (condition, width): (Condition, Width),
    (fall, jump): (Edge, Edge),
) -> Result<Next, Reason> {
    let equal = match condition {
        Condition::Equal => true,
        Condition::NotEqual => false,
        _ => return Err(leak(register, pointer)),
    };
    if width == Width::W32 || scalar.get() != Some(0) {
        return Err(leak(register, pointer));
    }
    if !pointer.nullable {
        let lowest = if matches!(pointer.region, Region::Stack(_)) { -i64::from(FRAME_BYTES) } else { 0 };
        let near = pointer.offsets(0).is_some_and(|(min, max)| min >= lowest && max <= MAX_PACKET_OFFSET);
        return Ok(if near {
            // Nothing that a program can point to is so near to 0.
            Next::One(if equal { fall } else { jump })
        } else {
            Next::Two(fall, jump, Box::new(state.clone()))
        });
    }
    if pointer.fixed != 0 {
        // Moved from null it is not 0.
        return Err(Reason::MaybeNull { register: register.index() as u8 });
    }
    let mut jumped = Box::new(state.clone());
    jumped.resolve(id, equal);
    state.resolve(id, !equal);
    Ok(Next::Two(fall, jump, jumped))
}

/// What a comparison of packet pointers says about the packet's length.
fn compare_packet(
    state: &mut State,
    condition: Condition,
    holds: bool,
    (a, a_id): (&Pointer, u32),
    (b, b_id): (&Pointer, u32),
) {
    // As `low + gap <= high`.
    let (low, high, gap) = match (condition, holds) {
        (Condition::Less, true) | (Condition::GreaterOrEqual, false) => ((a, a_id), b, 1),
        (Condition::LessOrEqual, true) | (Condition::Greater, false) => ((a, a_id), b, 0),
        (Condition::Greater, true) | (Condition::LessOrEqual, false) => ((b, b_id), a, 1),
        (Condition::GreaterOrEqual, true) | (Condition::Less, false) => ((b, b_id), a, 0),
        (Condition::Equal, true) | (Condition::NotEqual, false) => {
            if a.region == Region::PacketEnd {
                ((b, b_id), a, 0)
            } else {
                ((a, a_id), b, 0)
            }
        }
        _ => return,
    };
    let (low, id) = low;
    if low.nullable || high.nullable {
        return;
    }
    let near = low.offsets(0).is_some_and(|(min, max)| min >= -MAX_PACKET_OFFSET && max <= MAX_PACKET_OFFSET);
    if !near {
        return;
    }
    let range = i64::from(low.fixed) + gap;
    match (low.region, high.region) {
        (Region::Packet, Region::PacketEnd) if low.variable.get() == Some(0) => state.packet_known(0, range),
        (Region::Packet, Region::PacketEnd) if id != 0 => state.packet_known(id, range),
        (Region::PacketMeta, Region::Packet)
            if low.variable.get() == Some(0)
                && high.variable.get() == Some(0)
                && high.fixed == 0
                && range > 0 =>
        {
            let meta = (range as u32).max(state.shared.packet.meta);
            state.shared_mut().packet.meta = meta;
        }
        _ => {}
    }
}
