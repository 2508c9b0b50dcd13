//! Joins and widening. Nothing here is trusted: a wrong result is a state that the check refuses.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use uio_bpf::instruction::{Alu, Width};

use crate::domain::{Bits, Scalar, arithmetic};
use crate::stack::{Slot, Stack};
use crate::state::{
    Caller, Distance, Frame, MAX_DISTANCES, MAX_VARIABLE_RANGES, PacketFacts, Reference, Shared, State,
};
use crate::value::{Content, Id, LOOPS, Pointer, Region, Value};

/// What an identity stands for: the number of that identity (0: zero) plus a distance.
type Name = (Id, i64);

/// The name of pointers that are not null where others may be.
const NOT_NULL: Name = (Id::MAX, 0);

/// Times that a value may grow before it is widened.
const EXACT: u32 = 3;

/// Times that it is widened to a number of its loop.
const FINE: u32 = 24;

/// Times that it is widened to one of the usual bounds.
const ROUGH: u32 = 8;

/// Usual bounds, ascending.
const USUAL: [i64; 10] =
    [-1, 0, 0xff, 0x7fff, 0xffff, 0x1_0000, i32::MIN as i64, i32::MAX as i64, u32::MAX as i64, 1 << 40];

/// How the values of a state have grown, and what they are widened to.
#[derive(Default)]
pub(super) struct Growth {
    /// By place, how often.
    times: BTreeMap<u32, u32>,
    /// Numbers of the loop, ascending.
    pub(super) limits: Vec<i64>,
}

impl Growth {
    /// The set that a value at `place`, which was `old` and has to be `new` at least, becomes.
    fn widen(&mut self, place: u32, old: &Scalar, new: &Scalar) -> Scalar {
        if old == new {
            return *new;
        }
        let times = self.times.entry(place).or_default();
        *times += 1;
        match *times {
            0..=EXACT => *new,
            times if times <= EXACT + FINE => widened(old, new, &self.limits),
            times if times <= EXACT + FINE + ROUGH => widened(old, new, &USUAL),
            _ => widened(old, new, &[]),
        }
    }
}

fn above(limits: &[i64], number: i64) -> Option<i64> {
    limits.get(limits.partition_point(|limit| *limit < number)).copied()
}

fn below(limits: &[i64], number: i64) -> Option<i64> {
    let place = limits.partition_point(|limit| *limit <= number);
    place.checked_sub(1).and_then(|place| limits.get(place)).copied()
}

/// Joins `a`, the older, with `b`. With `growth`, what keeps growing is widened.
pub(super) fn join(a: &State, b: &State, growth: Option<&mut Growth>) -> State {
    let mut joiner = Joiner { growth, place: 0, names: Vec::new(), pointers: Vec::new(), last_id: 0 };
    let mut state = State::new();
    for (index, place) in state.registers.iter_mut().enumerate() {
        joiner.place = index as u32;
        *place = joiner.value(&a.registers[index], &b.registers[index]);
    }
    let frames = a
        .shared
        .frames
        .iter()
        .zip(&b.shared.frames)
        .enumerate()
        .map(|(depth, (a, b))| joiner.frame(depth as u32, a, b))
        .collect();
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
    growth: Option<&'a mut Growth>,
    /// Counts the values seen: the same place has the same number each time.
    place: u32,
    names: Vec<(Name, Name, Id)>,
    /// Identities of packet pointers.
    pointers: Vec<Id>,
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
        Value { content, id, shifted: 0, progress: [None; LOOPS] }
    }

    fn scalar(&mut self, a: &Scalar, b: &Scalar) -> Scalar {
        let union = a.union(b);
        match &mut self.growth {
            Some(growth) => growth.widen(self.place, a, &union),
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
        if region == Region::Packet {
            self.pointers.push(id);
        }
        Some((Pointer { region, nullable, fixed: a.fixed, variable }, id))
    }

    fn frame(&mut self, depth: u32, a: &Frame, b: &Frame) -> Frame {
        let base = (depth + 1) << 8;
        let caller = match (&a.caller, &b.caller) {
            (Some(x), Some(y)) => {
                let mut saved = *x.saved;
                for (index, (place, other)) in saved.iter_mut().zip(&*y.saved).enumerate() {
                    self.place = base + index as u32;
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
            self.place = base + 16 + u32::from(x.index);
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
            let constants = x.0 == 0 && y.0 == 0 && !self.pointers.contains(id);
            if *x == NOT_NULL || *y == NOT_NULL || constants {
                continue;
            }
            let range =
                |facts: &PacketFacts, name: Name| i64::from(facts.range(name.0)).saturating_sub(name.1);
            let range = range(a, *x).min(range(b, *y));
            if range > 0 && packet.variable.len() < MAX_VARIABLE_RANGES {
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
                    && packet.distances.len() < MAX_DISTANCES
                {
                    packet.distances.push(Distance { id, base: 0, fixed: x.fixed });
                }
            }
        }
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

fn widened(old: &Scalar, new: &Scalar, limits: &[i64]) -> Scalar {
    let smax =
        if new.smax() > old.smax() { above(limits, new.smax()).unwrap_or(i64::MAX) } else { new.smax() };
    let smin =
        if new.smin() < old.smin() { below(limits, new.smin()).unwrap_or(i64::MIN) } else { new.smin() };
    let umax = if new.umax() > old.umax() {
        i64::try_from(new.umax())
            .ok()
            .and_then(|umax| above(limits, umax))
            .map_or(u64::MAX, |umax| umax as u64)
    } else {
        new.umax()
    };
    let umin = if new.umin() < old.umin() {
        i64::try_from(new.umin())
            .ok()
            .and_then(|umin| below(limits, umin))
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
