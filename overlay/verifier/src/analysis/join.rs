//! Joins and widening. Nothing here is trusted: a wrong result is a state that the check refuses.

use alloc::rc::Rc;
use alloc::vec::Vec;

use uio_bpf::instruction::{Alu, Width};

use crate::domain::{Bits, Scalar, arithmetic};
use crate::stack::{Slot, Stack};
use crate::state::{Caller, Distance, Frame, PacketFacts, Reference, Shared, State};
use crate::value::{Content, Id, LOOPS, Pointer, Region, Value};

/// What an identity stands for: the number of that identity (0: zero) plus a distance.
type Name = (Id, i64);

/// The name of pointers that are not null where others may be.
const NOT_NULL: Name = (Id::MAX, 0);

/// Widening steps towards these, ascending.
pub(super) struct Thresholds(pub(super) Vec<i64>);

impl Thresholds {
    fn above(&self, number: i64) -> Option<i64> {
        self.0.get(self.0.partition_point(|threshold| *threshold < number)).copied()
    }

    fn below(&self, number: i64) -> Option<i64> {
        let place = self.0.partition_point(|threshold| *threshold <= number);
        place.checked_sub(1).and_then(|place| self.0.get(place)).copied()
    }
}

/// Joins `a`, the older, with `b`. With thresholds, what grew is widened.
pub(super) fn join(a: &State, b: &State, widen: Option<&Thresholds>) -> State {
    let mut joiner = Joiner { a, b, widen, names: Vec::new(), last_id: 0 };
    let mut state = State::new();
    for (index, place) in state.registers.iter_mut().enumerate() {
        *place = joiner.value(&a.registers[index], &b.registers[index]);
    }
    let frames = a.shared.frames.iter().zip(&b.shared.frames).map(|(a, b)| joiner.frame(a, b)).collect();
    let references = a
        .shared
        .references
        .iter()
        .zip(&b.shared.references)
        .map(|(a, b)| Reference { id: joiner.id((a.id, 0), (b.id, 0)), slot: a.slot })
        .collect();
    let packet = joiner.packet(&a.shared.packet, &b.shared.packet);
    state.last_id = joiner.last_id;
    state.shared = Rc::new(Shared { frames, packet, references });
    state
}

struct Joiner<'a> {
    a: &'a State,
    b: &'a State,
    widen: Option<&'a Thresholds>,
    names: Vec<(Name, Name, Id)>,
    last_id: Id,
}

impl Joiner<'_> {
    fn id(&mut self, a: Name, b: Name) -> Id {
        if let Some((_, _, id)) = self.names.iter().find(|(x, y, _)| (*x, *y) == (a, b)) {
            return *id;
        }
        self.last_id += 1;
        self.names.push((a, b, self.last_id));
        self.last_id
    }

    fn value(&mut self, a: &Value, b: &Value) -> Value {
        let (content, id) = match (&a.content, &b.content) {
            (Content::Scalar(x), Content::Scalar(y)) => {
                let scalar = self.scalar(x, y);
                let id = match (name(a.id, x, 0), name(b.id, y, 0)) {
                    (Some(first), Some(second)) if scalar.get().is_none() => self.id(first, second),
                    _ => 0,
                };
                (Content::Scalar(scalar), id)
            }
            (Content::Pointer(x), Content::Pointer(y)) => match self.pointer((x, a.id), (y, b.id)) {
                Some((pointer, id)) => (Content::Pointer(pointer), id),
                None => return Value::UNUSABLE,
            },
            _ => return Value::UNUSABLE,
        };
        Value { content, id, progress: [None; LOOPS] }
    }

    fn scalar(&self, a: &Scalar, b: &Scalar) -> Scalar {
        let union = a.union(b);
        match self.widen {
            Some(thresholds) => widened(a, &union, thresholds),
            None => union,
        }
    }

    fn pointer(&mut self, (a, a_id): (&Pointer, Id), (b, b_id): (&Pointer, Id)) -> Option<(Pointer, Id)> {
        let region = match (a.region, b.region) {
            (Region::Record { reference: x, bytes }, Region::Record { reference: y, bytes: same })
                if bytes == same =>
            {
                Region::Record { reference: self.id((x, 0), (y, 0)), bytes }
            }
            (x, y) if x == y => x,
            _ => return None,
        };
        let nullable = a.nullable || b.nullable;
        if nullable {
            let name = |pointer: &Pointer, id| if pointer.nullable { (id, 0) } else { NOT_NULL };
            if (a.fixed, a.variable) != (b.fixed, b.variable) {
                return None;
            }
            let id = self.id(name(a, a_id), name(b, b_id));
            return Some((Pointer { region, nullable, ..*a }, id));
        }
        let distance = i64::from(b.fixed) - i64::from(a.fixed);
        let moved = match distance {
            0 => b.variable,
            _ => arithmetic(Alu::Add, Width::W64, &b.variable, &Scalar::constant(distance as u64)),
        };
        let variable = self.scalar(&a.variable, &moved);
        let id = match (name(a_id, &a.variable, 0), name(b_id, &b.variable, distance)) {
            (Some(first), Some(second)) if variable.get().is_none() => self.id(first, second),
            _ => 0,
        };
        Some((Pointer { region, nullable, fixed: a.fixed, variable }, id))
    }

    fn frame(&mut self, a: &Frame, b: &Frame) -> Frame {
        let caller = match (&a.caller, &b.caller) {
            (Some(x), Some(y)) => {
                let mut saved = *x.saved;
                for (place, other) in saved.iter_mut().zip(&*y.saved) {
                    *place = self.value(place, other);
                }
                let callback = match (&x.callback, &y.callback) {
                    (Some(x), Some(y)) => Some(self.value(x, y)),
                    _ => None,
                };
                Some(Caller { slot: x.slot, saved: Rc::new(saved), callback })
            }
            _ => None,
        };
        let mut slots = Vec::new();
        for x in &a.stack.slots {
            let Some(y) = b.stack.get(x.index) else {
                continue;
            };
            let mut slot = Slot { initialised: x.initialised & y.initialised, ..Slot::empty(x.index) };
            // The value of the one whose shape the other can be read in.
            for shape in [x, y] {
                let position = u32::from(shape.index) * 8 + u32::from(shape.start);
                if shape.bytes == 0 || slot.bytes > 0 {
                    continue;
                }
                let bytes = u32::from(shape.bytes);
                if let (Some(first), Some(second)) =
                    (a.stack.load(position, bytes), b.stack.load(position, bytes))
                {
                    let value = self.value(&first, &second);
                    if value.content != Content::Unusable {
                        slot = Slot { start: shape.start, bytes: shape.bytes, value, ..slot };
                    }
                }
            }
            if slot.initialised != 0 || slot.bytes > 0 {
                slots.push(slot);
            }
        }
        Frame { function: a.function, stack: Rc::new(Stack { slots }), heads: Vec::new(), caller }
    }

    fn packet(&self, a: &PacketFacts, b: &PacketFacts) -> PacketFacts {
        let mut packet = PacketFacts {
            data: a.data.min(b.data),
            meta: a.meta.min(b.meta),
            variable: Vec::new(),
            distances: Vec::new(),
        };
        for (x, y, id) in &self.names {
            if *x == NOT_NULL || *y == NOT_NULL {
                continue;
            }
            let range = |facts: &PacketFacts, name: Name| i64::from(facts.range(name.0)) - name.1;
            let range = range(a, *x).min(range(b, *y));
            if range > 0 {
                packet.variable.push((*id, range as u32));
            }
        }
        for x in &a.distances {
            for y in &b.distances {
                let find = |first: Name, second: Name| {
                    self.names.iter().find(|(a, b, _)| (*a, *b) == (first, second)).map(|(_, _, id)| *id)
                };
                if let Some(id) = find((x.id, 0), (y.id, 0))
                    && x.base == 0
                    && y.base == 0
                    && x.fixed == y.fixed
                {
                    packet.distances.push(Distance { id, base: 0, fixed: x.fixed });
                }
            }
        }
        let _ = (self.a, self.b);
        packet
    }
}

fn name(id: Id, number: &Scalar, distance: i64) -> Option<Name> {
    match number.get() {
        Some(constant) => Some((0, (constant as i64).wrapping_add(distance))),
        None if id != 0 => Some((id, distance)),
        None => None,
    }
}

fn widened(old: &Scalar, new: &Scalar, thresholds: &Thresholds) -> Scalar {
    if old == new {
        return *new;
    }
    let smax =
        if new.smax() > old.smax() { thresholds.above(new.smax()).unwrap_or(i64::MAX) } else { new.smax() };
    let smin =
        if new.smin() < old.smin() { thresholds.below(new.smin()).unwrap_or(i64::MIN) } else { new.smin() };
    let umax = if new.umax() > old.umax() {
        i64::try_from(new.umax())
            .ok()
            .and_then(|umax| thresholds.above(umax))
            .map_or(u64::MAX, |umax| umax as u64)
    } else {
        new.umax()
    };
    let umin = if new.umin() < old.umin() {
        i64::try_from(new.umin())
            .ok()
            .and_then(|umin| thresholds.below(umin))
            .map_or(0, |umin| umin.max(0) as u64)
    } else {
        new.umin()
    };
    // Bits that stay known in both, so that strides survive.
    let bits = Bits::new(new.bits().value, widened_mask(old.bits().mask, new.bits().mask));
    let (low, low_signed) = if old.low() == new.low() && old.low_signed() == new.low_signed() {
        (new.low(), new.low_signed())
    } else {
        ((0, u32::MAX), (i32::MIN, i32::MAX))
    };
    Scalar::new(bits, (umin, umax), (smin, smax), low, low_signed).unwrap_or(Scalar::UNKNOWN)
}

/// Unknown bits: if there are new ones, all above the lowest of them.
const fn widened_mask(old: u64, new: u64) -> u64 {
    let added = new & !old;
    if added == 0 { new } else { new | (u64::MAX << added.trailing_zeros()) }
}
