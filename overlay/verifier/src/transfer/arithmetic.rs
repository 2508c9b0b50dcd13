//! Arithmetic on numbers and pointers.

use alloc::format;

use uio_bpf::instruction::{Alu, Operand, Register, Width};

use super::{number, on_pointer, readable};
use crate::domain::{Scalar, arithmetic};
use crate::reason::Reason;
use crate::state::{Distance, MAX_PACKET_BYTES, State};
use crate::value::{Content, LOOPS, Pointer, Progress, Region, Value};

/// Offsets of pointers stay within this, so that sums of them never overflow.
const MAX_OFFSET: i64 = 1 << 29;

/// Largest distance of a packet pointer from the packet at which a comparison with its end says something. Addresses
/// so near to the ends of the address space that this would wrap hold no packets.
pub(super) const MAX_PACKET_OFFSET: i64 = 1 << 20;

pub(super) fn alu(
    state: &mut State,
    op: Alu,
    width: Width,
    destination: Register,
    source: Operand,
) -> Result<(), Reason> {
    let second = match source {
        Operand::Immediate(immediate) => Value::scalar(Scalar::constant(i64::from(immediate) as u64)),
        Operand::Register(register) => readable(state, register)?,
    };
    if op == Alu::Move {
        let value = moved(state, width, source, second)?;
        state.set(destination, value);
        return Ok(());
    }
    let first = readable(state, destination)?;
    let value = match (&first.content, &second.content) {
        (Content::Scalar(a), Content::Scalar(b)) => {
            let cancels = matches!(op, Alu::Subtract | Alu::Xor)
                && (source == Operand::Register(destination) || first.id != 0 && first.id == second.id);
            if cancels {
                Value::scalar(Scalar::constant(0))
            } else if let Some(value) = extended(state, op, width, destination, a, b) {
                value
            } else {
                Value {
                    progress: progress(op, width, &first, a, &second, b),
                    ..Value::scalar(arithmetic(op, width, a, b))
                }
            }
        }
        (Content::Pointer(pointer), Content::Scalar(_)) => {
            let register = match source {
                Operand::Register(register) => Some(register),
                Operand::Immediate(_) => None,
            };
            match (op, width) {
                (Alu::Add, Width::W64) => {
                    moved_pointer(state, destination, &first, register, &second, false)?
                }
                (Alu::Subtract, Width::W64) => {
                    moved_pointer(state, destination, &first, register, &second, true)?
                }
                _ => return Err(on_pointer(destination, pointer)),
            }
        }
        (Content::Scalar(_), Content::Pointer(pointer)) => match (op, width, source) {
            (Alu::Add, Width::W64, Operand::Register(register)) => {
                moved_pointer(state, register, &second, Some(destination), &first, false)?
            }
            _ => return Err(on_pointer(destination, pointer)),
        },
        (Content::Pointer(a), Content::Pointer(b)) if op == Alu::Subtract => {
            let difference = difference(state, destination, &first, a, &second, b)?;
            match difference.as_scalar() {
                Some(number) if width == Width::W32 && number.umax() > u64::from(u32::MAX) => {
                    Value::scalar(number.truncate(4))
                }
                _ => difference,
            }
        }
        (Content::Pointer(pointer), _) | (_, Content::Pointer(pointer)) => {
            return Err(on_pointer(destination, pointer));
        }
        (Content::Unusable, _) | (_, Content::Unusable) => {
            return Err(Reason::Uninitialised { register: destination.index() as u8 });
        }
    };
    state.set(destination, value);
    Ok(())
}

/// What the two shifts by 32 give with which compilers extend a number of 32 bits, and a mask of 32 bits: the number
/// itself, if it fits.
fn extended(
    state: &mut State,
    op: Alu,
    width: Width,
    register: Register,
    a: &Scalar,
    b: &Scalar,
) -> Option<Value> {
    if width == Width::W32 || a.get().is_some() {
        return None;
    }
    match (op, b.get()?) {
        (Alu::ShiftLeft, 32) if a.umax() <= u64::from(u32::MAX) => {
            let id = state.identify(register);
            Some(Value { shifted: id, ..Value::scalar(arithmetic(op, width, a, b)) })
        }
        (Alu::ShiftRight | Alu::ShiftRightArithmetic, 32) => {
            let shifted = state.get(register).shifted;
            let same = shifted != 0 && (op == Alu::ShiftRight || a.smin() >= 0);
            same.then(|| Value { id: shifted, ..Value::scalar(arithmetic(op, width, a, b)) })
        }
        (Alu::And, 0xffff_ffff) if a.umax() <= u64::from(u32::MAX) => Some(state.get(register)),
        _ => None,
    }
}

/// What a move gives.
fn moved(state: &mut State, width: Width, source: Operand, value: Value) -> Result<Value, Reason> {
    let Content::Scalar(scalar) = value.content else {
        return match (width, source) {
            (Width::W32, Operand::Register(register)) => {
                Err(Reason::PointerArithmetic { register: register.index() as u8, what: format!("{value}") })
            }
            _ => Ok(value),
        };
    };
    if width == Width::W32 && scalar.umax() > u64::from(u32::MAX) {
        return Ok(Value::scalar(scalar.truncate(4)));
    }
    if let Operand::Register(register) = source
        && scalar.get().is_none()
    {
        return Ok(Value { id: state.identify(register), ..value });
    }
    Ok(value)
}

pub(super) fn negate(state: &mut State, width: Width, destination: Register) -> Result<(), Reason> {
    let number = number(state, destination)?;
    let negated = arithmetic(Alu::Subtract, width, &Scalar::constant(0), &number);
    state.set(destination, Value::scalar(negated));
    Ok(())
}

/// How far the result of a sum or difference is from loop counters.
fn progress(
    op: Alu,
    width: Width,
    first: &Value,
    a: &Scalar,
    second: &Value,
    b: &Scalar,
) -> [Option<Progress>; LOOPS] {
    const NONE: [Option<Progress>; LOOPS] = [None; LOOPS];
    if first.progress == NONE && second.progress == NONE {
        return NONE;
    }
    let negated = |scalar: &Scalar| Some((scalar.smax().checked_neg()?, scalar.smin().checked_neg()?));
    match (op, width) {
        (Alu::Add, Width::W64) if first.progress != NONE => first.advanced(b.smin(), b.smax()),
        (Alu::Add, Width::W64) => second.advanced(a.smin(), a.smax()),
        (Alu::Subtract, Width::W64) => negated(b).map_or(NONE, |(min, max)| first.advanced(min, max)),
        (Alu::Add | Alu::Subtract, Width::W32) => {
            // The 32-bit result is the sum only if nothing wraps.
            let (min, max) = match (op, b.low_signed()) {
                (Alu::Add, (min, max)) => (i64::from(min), i64::from(max)),
                (_, (min, max)) => (-i64::from(max), -i64::from(min)),
            };
            let exact = a.umax() <= u64::from(u32::MAX)
                && a.umin() as i64 + min >= 0
                && a.umax() as i64 + max <= i64::from(u32::MAX);
            if exact { first.advanced(min, max) } else { NONE }
        }
        _ => NONE,
    }
}

/// The pointer in `register` moved by the number in `by`, or back by it.
fn moved_pointer(
    state: &mut State,
    register: Register,
    value: &Value,
    by_register: Option<Register>,
    by: &Value,
    back: bool,
) -> Result<Value, Reason> {
    let index = register.index() as u8;
    let (Content::Pointer(pointer), Content::Scalar(scalar)) = (&value.content, &by.content) else {
        return Err(Reason::Uninitialised { register: index });
    };
    // Compilers move the result of a lookup before they test it. That is defined while the distance is constant: the
    // sum is then the distance itself where the result was null.
    if pointer.nullable && (scalar.get().is_none() || !matches!(pointer.region, Region::MapValue(_))) {
        return Err(Reason::MaybeNull { register: index });
    }
    let movable = match pointer.region {
        Region::Context => scalar.get().is_some(),
        Region::Stack(_)
        | Region::Packet
        | Region::PacketMeta
        | Region::MapValue(_)
        | Region::Record { .. }
        | Region::Memory(_) => true,
        Region::PacketEnd | Region::Map(_) | Region::Function(_) => false,
    };
    if !movable {
        return Err(on_pointer(register, pointer));
    }
    let op = if back { Alu::Subtract } else { Alu::Add };
    if let Some(number) = scalar.get() {
        let number = number as i64;
        let distance = if back { number.checked_neg() } else { Some(number) };
        let fixed = distance.and_then(|distance| distance.checked_add(i64::from(pointer.fixed)));
        let (Some(distance), Some(fixed)) = (distance, fixed) else {
            return Err(Reason::PointerRange { register: index });
        };
        if fixed.unsigned_abs() > MAX_OFFSET.unsigned_abs() {
            return Err(Reason::PointerRange { register: index });
        }
        return Ok(Value {
            content: Content::Pointer(Pointer { fixed: fixed as i32, ..*pointer }),
            id: value.id,
            shifted: 0,
            progress: value.advanced(distance, distance),
        });
    }
    // Whoever adds the same number to the same pointer again gets the same pointer: its identity is the number's.
    let id = match by_register {
        Some(by_register) if !back && pointer.variable.get() == Some(0) => state.identify(by_register),
        _ => state.fresh(),
    };
    let variable = arithmetic(op, Width::W64, &pointer.variable, scalar);
    // What is known to lie behind the old pointer lies behind the new one, less the distance.
    let base = if pointer.variable.get() == Some(0) { Some(0) } else { Some(value.id).filter(|id| *id != 0) };
    if let Some(base) = base
        && pointer.region == Region::Packet
        && !back
        && scalar.smin() >= 0
    {
        let range = i64::from(state.shared.packet.range(base)).saturating_sub(scalar.smax());
        state.packet_range(id, range);
    }
    let progress = match op {
        Alu::Add => value.advanced(scalar.smin(), scalar.smax()),
        _ => match (scalar.smax().checked_neg(), scalar.smin().checked_neg()) {
            (Some(min), Some(max)) => value.advanced(min, max),
            _ => [None; LOOPS],
        },
    };
    Ok(Value { content: Content::Pointer(Pointer { variable, ..*pointer }), id, shifted: 0, progress })
}

/// The number of bytes between two pointers into the same region.
fn difference(
    state: &mut State,
    register: Register,
    first: &Value,
    a: &Pointer,
    second: &Value,
    b: &Pointer,
) -> Result<Value, Reason> {
    if a.nullable || b.nullable {
        return Err(Reason::MaybeNull { register: register.index() as u8 });
    }
    let packet = |region| matches!(region, Region::Packet | Region::PacketMeta | Region::PacketEnd);
    if a.region != b.region && !(packet(a.region) && packet(b.region)) {
        return Err(on_pointer(register, b));
    }
    match (a.region, b.region) {
        (Region::PacketEnd, Region::Packet) => {
            let Some((min, max)) =
                b.offsets(0).filter(|(min, max)| *min >= -MAX_PACKET_OFFSET && *max <= MAX_PACKET_OFFSET)
            else {
                return Ok(Value::scalar(Scalar::UNKNOWN));
            };
            let id = state.fresh();
            if b.variable.get() == Some(0) || second.id != 0 {
                let base = if b.variable.get() == Some(0) { 0 } else { second.id };
                state.shared_mut().packet.add_distance(Distance { id, base, fixed: b.fixed });
            }
            let known = i64::from(state.shared.packet.range(0)).saturating_sub(max);
            let least = known.max(-max);
            let scalar = Scalar::signed(least, i64::from(MAX_PACKET_BYTES) - min);
            Ok(Value { id, ..Value::scalar(scalar) })
        }
        (a_region, b_region) if a_region == b_region && packet(a_region) => {
            let fixed = i64::from(a.fixed) - i64::from(b.fixed);
            if first.id == second.id
                && (first.id != 0 || a.variable.get().is_some() && a.variable == b.variable)
            {
                return Ok(Value::scalar(Scalar::constant(fixed as u64)));
            }
            let variable = arithmetic(Alu::Subtract, Width::W64, &a.variable, &b.variable);
            let scalar = arithmetic(Alu::Add, Width::W64, &variable, &Scalar::constant(fixed as u64));
            Ok(Value::scalar(scalar))
        }
        _ => Ok(Value::scalar(Scalar::UNKNOWN)),
    }
}
