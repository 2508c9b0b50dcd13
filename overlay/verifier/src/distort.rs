//! Proofs made wrong in ways that flipped bits rarely reach: facts widened and narrowed, states dropped, swapped and
//! copied elsewhere, loops' arguments changed.

use crate::domain::Scalar;
use crate::facts::Facts;
use crate::proof::{Point, Proof};
use crate::value::{Content, Location, Value};

/// A copy of `proof` with one thing changed. `choose` gives a number below its argument, which is not 0.
#[must_use]
pub fn distort(proof: &Proof, choose: &mut dyn FnMut(usize) -> usize) -> Proof {
    let mut copy = proof.clone();
    match choose(8) {
        0..=4 if !copy.points.is_empty() => {
            let point = choose(copy.points.len());
            states(&mut copy.points[point], choose);
        }
        5 if !copy.points.is_empty() => points(&mut copy, choose),
        6 if !copy.ranks.is_empty() => ranks(&mut copy, choose),
        _ => {
            // A loop that ended by itself gets fuel, or the other way round.
            if copy.fuel.is_empty() || choose(2) == 0 {
                let head = copy
                    .ranks
                    .get(choose(copy.ranks.len().max(1)))
                    .map_or(choose(64) as u32, |rank| rank.head);
                copy.fuel.push(head);
            } else {
                copy.fuel.swap_remove(choose(copy.fuel.len()));
            }
        }
    }
    copy
}

fn points(proof: &mut Proof, choose: &mut dyn FnMut(usize) -> usize) {
    let (one, other) = (choose(proof.points.len()), choose(proof.points.len()));
    match choose(3) {
        0 => {
            proof.points.remove(one);
        }
        1 => {
            let states = core::mem::take(&mut proof.points[one].states);
            proof.points[one].states = core::mem::replace(&mut proof.points[other].states, states);
        }
        _ => proof.points[one].slot = proof.points[one].slot.wrapping_add(choose(5) as u32).wrapping_sub(2),
    }
}

fn ranks(proof: &mut Proof, choose: &mut dyn FnMut(usize) -> usize) {
    let index = choose(proof.ranks.len());
    let rank = &mut proof.ranks[index];
    match choose(5) {
        0 => rank.up = !rank.up,
        1 => rank.location = Location(choose(usize::from(Location::STACK) + 64) as u8),
        2 => rank.min = rank.min.saturating_add(choose(9) as i64 - 4),
        3 => rank.max = rank.max.saturating_add(choose(9) as i64 - 4),
        _ => {
            proof.ranks.remove(index);
        }
    }
}

fn states(point: &mut Point, choose: &mut dyn FnMut(usize) -> usize) {
    if point.states.is_empty() {
        point.states.push(Facts::default());
        return;
    }
    let index = choose(point.states.len());
    if choose(10) == 0 {
        point.states.remove(index);
        return;
    }
    let facts = &mut point.states[index];
    match choose(8) {
        0..=3 if !facts.registers.is_empty() => {
            let index = choose(facts.registers.len());
            value(&mut facts.registers[index].1, choose);
        }
        4 => {
            let (more, less) = (choose(64) as u32, choose(16) as u32);
            facts.packet.data = facts.packet.data.saturating_add(more).saturating_sub(less);
        }
        5 if !facts.packet.variable.is_empty() => {
            let index = choose(facts.packet.variable.len());
            facts.packet.variable[index].1 += choose(16) as u32;
        }
        6 if !facts.references.is_empty() => {
            facts.references.swap_remove(choose(facts.references.len()));
        }
        _ => {
            let depth = choose(facts.frames.len().max(1));
            let Some(frame) = facts.frames.get_mut(depth) else { return };
            if frame.stack.is_empty() {
                facts.registers.clear();
                return;
            }
            let index = choose(frame.stack.len());
            let slot = &mut frame.stack[index];
            match choose(4) {
                0 => slot.initialised |= 1 << choose(8),
                1 => slot.index = slot.index.wrapping_add(1),
                2 => slot.bytes = [1, 2, 4, 8][choose(4)],
                _ => value(&mut slot.value, choose),
            }
        }
    }
}

fn value(value: &mut Value, choose: &mut dyn FnMut(usize) -> usize) {
    if choose(6) == 0 {
        value.id = choose(6) as u32;
        return;
    }
    if choose(12) == 0 {
        value.progress = Value::UNUSABLE.progress;
        return;
    }
    match &mut value.content {
        Content::Scalar(scalar) => number(scalar, choose),
        Content::Pointer(pointer) => match choose(4) {
            0 => pointer.nullable = !pointer.nullable,
            1 => pointer.fixed = pointer.fixed.wrapping_add(choose(33) as i32 - 16),
            2 => number(&mut pointer.variable, choose),
            _ => value.content = Content::Scalar(Scalar::UNKNOWN),
        },
        Content::Unusable => value.content = Content::Scalar(Scalar::UNKNOWN),
    }
}

/// Widens or narrows.
fn number(scalar: &mut Scalar, choose: &mut dyn FnMut(usize) -> usize) {
    *scalar = match choose(6) {
        0 => Scalar::UNKNOWN,
        1 => Scalar::constant(scalar.umin()),
        2 => Scalar::constant(scalar.umax()),
        3 => Scalar::unsigned(scalar.umin(), scalar.umin() + (scalar.umax() - scalar.umin()) / 2),
        4 => Scalar::unsigned(scalar.umin() / 2, scalar.umax().saturating_mul(2)),
        _ => Scalar::signed(-1, scalar.smax().max(0)),
    };
}
