//! A state as the proof writes it, and what it means that it covers another.

use alloc::rc::Rc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use uio_bpf::instruction::Alu;
use uio_bpf::instruction::Width;

use crate::domain::{Scalar, arithmetic};
use crate::proof::ProofError;
use crate::stack::{FRAME_BYTES, Slot, Stack};
use crate::state::{
    Caller, Distance, Frame, Head, MAX_DISTANCES, MAX_FRAMES, MAX_VARIABLE_RANGES, PacketFacts, Reference,
    Shared, State,
};
use crate::value::{Content, Id, Pointer, Region, Value};

/// Identities are below this, so that a walk never runs out of fresh ones.
const MAX_ID: Id = 1 << 30;

/// Facts about a state: what is not mentioned may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) registers: Vec<(u8, Value)>,
    pub(crate) frames: Vec<FrameFacts>,
    pub(crate) packet: PacketFacts,
    pub(crate) references: Vec<Reference>,
}

/// An active function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrameFacts {
    pub(crate) function: u32,
    pub(crate) stack: Vec<Slot>,
    /// Heads of loops that may be active.
    pub(crate) heads: Vec<u32>,
    pub(crate) caller: Option<CallerFacts>,
}

/// What it returns to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallerFacts {
    pub(crate) slot: u32,
    /// Of R6 to R9, counted from R6.
    pub(crate) saved: Vec<(u8, Value)>,
    pub(crate) callback: Option<Value>,
}

impl Facts {
    /// The state in which exactly this is known.
    ///
    /// # Errors
    ///
    /// [`ProofError::State`] if a part names what cannot be: everything later relies on this test.
    pub(crate) fn state(&self) -> Result<State, ProofError> {
        let mut state = State::new();
        if self.frames.is_empty()
            || self.frames.len() > MAX_FRAMES
            || self.packet.variable.len() > MAX_VARIABLE_RANGES
            || self.packet.distances.len() > MAX_DISTANCES
        {
            return Err(ProofError::State);
        }
        fill(&mut state.registers, &self.registers)?;
        let mut frames = Vec::with_capacity(self.frames.len());
        for (depth, frame) in self.frames.iter().enumerate() {
            if frame.caller.is_some() != (depth > 0) {
                return Err(ProofError::State);
            }
            let caller = match &frame.caller {
                Some(caller) => {
                    let mut saved = [Value::UNUSABLE; 4];
                    fill(&mut saved, &caller.saved)?;
                    Some(Caller { slot: caller.slot, saved: Rc::new(saved), callback: caller.callback })
                }
                None => None,
            };
            let slots = &frame.stack;
            let ascending = slots.windows(2).all(|pair| pair[0].index < pair[1].index);
            if !ascending || !slots.iter().all(is_possible) {
                return Err(ProofError::State);
            }
            frames.push(Frame {
                function: frame.function,
                stack: Rc::new(Stack { slots: slots.clone() }),
                heads: frame.heads.iter().map(|slot| Head { slot: *slot, carried: true }).collect(),
                caller,
            });
        }
        let depth = frames.len();
        state.shared =
            Rc::new(Shared { frames, packet: self.packet.clone(), references: self.references.clone() });
        let mut largest = 0;
        let mut fine = true;
        state.for_all(
            |_| true,
            |value| {
                largest = largest.max(value.id);
                if let Content::Pointer(pointer) = &value.content {
                    // What may be null is null together with all that have its identity: there must be one.
                    let unmoved = pointer.variable == Scalar::constant(0);
                    fine &= !pointer.nullable || value.id != 0 && unmoved;
                    match pointer.region {
                        Region::Stack(frame) => fine &= usize::from(frame) < depth,
                        Region::Record { reference, .. } => {
                            largest = largest.max(reference);
                            // A record whose reference is unknown could outlive it.
                            fine &= self.references.iter().any(|known| known.id == reference);
                        }
                        _ => {}
                    }
                }
            },
        );
        for reference in &self.references {
            largest = largest.max(reference.id);
            fine &= reference.id != 0;
        }
        for (id, _) in &self.packet.variable {
            largest = largest.max(*id);
            fine &= *id != 0;
        }
        for distance in &self.packet.distances {
            largest = largest.max(distance.id).max(distance.base);
            fine &= distance.id != 0;
        }
        state.last_id = largest;
        if fine && largest < MAX_ID { Ok(state) } else { Err(ProofError::State) }
    }

    /// Whether every concrete state that `state` describes is one that these facts describe.
    pub(crate) fn include(&self, state: &State) -> bool {
        let active = |(fact, frame): (&FrameFacts, &Frame)| {
            frame.heads.iter().all(|head| fact.heads.contains(&head.slot))
        };
        self.frames.iter().zip(&state.shared.frames).all(active) && self.include_but_loops(state)
    }

    /// As [`Self::include`], whichever loops are active.
    pub(crate) fn include_but_loops(&self, state: &State) -> bool {
        let shared = &state.shared;
        if self.frames.len() != shared.frames.len()
            || self.references.len() != shared.references.len()
            || self.packet.data > shared.packet.data
            || self.packet.meta > shared.packet.meta
        {
            return false;
        }
        let mut names = Names { state, known: Vec::new() };
        for (fact, reference) in self.references.iter().zip(&shared.references) {
            if !names.bind(fact.id, Name { id: reference.id, distance: 0 }) {
                return false;
            }
        }
        let registers = self.registers.iter().all(|(index, fact)| {
            state.registers.get(usize::from(*index)).is_some_and(|value| names.covers(fact, value))
        });
        registers
            && self.frames.iter().zip(&shared.frames).all(|(fact, frame)| names.covers_frame(fact, frame))
            && names.covers_packet(&self.packet, &shared.packet)
    }
}

fn fill(places: &mut [Value], values: &[(u8, Value)]) -> Result<(), ProofError> {
    for (index, value) in values {
        *places.get_mut(usize::from(*index)).ok_or(ProofError::State)? = *value;
    }
    Ok(())
}

/// Whether a slot of the proof can exist: a pointer fills it and none of its bytes is readable as a number.
fn is_possible(slot: &Slot) -> bool {
    let inside = u32::from(slot.index) < FRAME_BYTES / 8
        && slot.start < 8
        && slot.bytes <= 8
        && slot.start + slot.bytes <= 8;
    inside
        && match &slot.value.content {
            Content::Unusable => slot.bytes == 0,
            Content::Pointer(_) => slot.bytes == 8 && slot.initialised == 0,
            Content::Scalar(scalar) => {
                matches!(slot.bytes, 1 | 2 | 4 | 8)
                    && Scalar::UNKNOWN.truncate(slot.bytes).umax() >= scalar.umax()
                    && slot.initialised & slot.value_mask() == slot.value_mask()
            }
        }
}

/// What an identity of the facts stands for in the state: the number with identity `id` (0: zero) plus `distance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    id: Id,
    distance: i64,
}

/// Stands for pointers that are known not to be null.
const NOT_NULL: Name = Name { id: Id::MAX, distance: 0 };

struct Names<'a> {
    state: &'a State,
    known: Vec<(Id, Name)>,
}

impl Names<'_> {
    /// Whether `id` of the facts may stand for `name`, as it already does or from now on.
    fn bind(&mut self, id: Id, name: Name) -> bool {
        match self.get(id) {
            Some(known) => known == name,
            None => {
                self.known.push((id, name));
                true
            }
        }
    }

    fn get(&self, id: Id) -> Option<Name> {
        self.known.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
    }

    fn covers(&mut self, fact: &Value, value: &Value) -> bool {
        match (&fact.content, &value.content) {
            (Content::Unusable, _) => true,
            (Content::Scalar(wide), Content::Scalar(narrow)) => {
                wide.includes(narrow)
                    && (fact.id == 0 || self.covers_number(fact.id, value.id, narrow, 0))
                    && self.covers_progress(fact, value)
            }
            (Content::Pointer(wide), Content::Pointer(narrow)) => {
                self.covers_pointer((wide, fact.id), (narrow, value.id)) && self.covers_progress(fact, value)
            }
            (Content::Scalar(_) | Content::Pointer(_), _) => false,
        }
    }

    /// Whether the number that the facts call `fact` may be the state's `id` in `number`, plus `distance`.
    fn covers_number(&mut self, fact: Id, id: Id, number: &Scalar, distance: i64) -> bool {
        let name = match number.get() {
            Some(constant) => Name { id: 0, distance: (constant as i64).wrapping_add(distance) },
            None if id != 0 => Name { id, distance },
            None => return false,
        };
        self.bind(fact, name)
    }

    fn covers_pointer(&mut self, (wide, fact): (&Pointer, Id), (narrow, id): (&Pointer, Id)) -> bool {
        let regions = match (wide.region, narrow.region) {
            (Region::Record { reference: a, bytes: x }, Region::Record { reference: b, bytes: y }) => {
                x == y && self.bind(a, Name { id: b, distance: 0 })
            }
            (a, b) => a == b,
        };
        if !regions || narrow.nullable && !wide.nullable {
            return false;
        }
        let distance = i64::from(narrow.fixed) - i64::from(wide.fixed);
        let moved = match distance {
            0 => narrow.variable,
            _ => arithmetic(Alu::Add, Width::W64, &narrow.variable, &Scalar::constant(distance as u64)),
        };
        if !wide.variable.includes(&moved) {
            return false;
        }
        if fact == 0 {
            return true;
        }
        match (wide.nullable, narrow.nullable) {
            // Null together: the same identity, and nothing else has it.
            (true, true) => id != 0 && self.bind(fact, Name { id, distance: 0 }),
            (true, false) => self.bind(fact, NOT_NULL),
            (false, _) => self.covers_number(fact, id, &narrow.variable, distance),
        }
    }

    /// Progress is claimed of active loops only.
    fn covers_progress(&self, fact: &Value, value: &Value) -> bool {
        fact.progress.iter().flatten().all(|claim| {
            let made = value.progress.iter().flatten().any(|progress| {
                (progress.head, progress.origin) == (claim.head, claim.origin)
                    && progress.min >= claim.min
                    && progress.max <= claim.max
            });
            made || !self
                .state
                .shared
                .frames
                .iter()
                .any(|frame| frame.heads.iter().any(|head| head.slot == claim.head))
        })
    }

    fn covers_frame(&mut self, fact: &FrameFacts, frame: &Frame) -> bool {
        let callers = match (&fact.caller, &frame.caller) {
            (None, None) => true,
            (Some(fact), Some(caller)) => {
                fact.slot == caller.slot
                    && fact.saved.iter().all(|(index, fact)| {
                        caller.saved.get(usize::from(*index)).is_some_and(|value| self.covers(fact, value))
                    })
                    && match (&fact.callback, &caller.callback) {
                        (None, None) => true,
                        (Some(fact), Some(value)) => self.covers(fact, value),
                        _ => false,
                    }
            }
            _ => false,
        };
        callers
            && fact.function == frame.function
            && fact.stack.iter().all(|fact| self.covers_slot(fact, &frame.stack))
    }

    fn covers_slot(&mut self, fact: &Slot, stack: &Stack) -> bool {
        // The proof is compared before anything of it was tested.
        if !is_possible(fact) {
            return false;
        }
        let initialised = stack.get(fact.index).map_or(0, |slot| slot.initialised);
        if fact.initialised & !initialised != 0 {
            return false;
        }
        if fact.bytes == 0 {
            return true;
        }
        let position = u32::from(fact.index) * 8 + u32::from(fact.start);
        stack.load(position, fact.bytes.into()).is_some_and(|value| self.covers(&fact.value, &value))
    }

    fn covers_packet(&self, facts: &PacketFacts, packet: &PacketFacts) -> bool {
        let ranges = facts.variable.iter().all(|(id, range)| {
            self.get(*id).is_some_and(|name| {
                i64::from(*range)
                    .checked_add(name.distance)
                    .is_some_and(|range| i64::from(packet.range(name.id)) >= range)
            })
        });
        ranges
            && facts.distances.iter().all(|fact| {
                let base = match fact.base {
                    0 => Some(Name { id: 0, distance: 0 }),
                    base => self.get(base),
                };
                let (Some(name), Some(base)) = (self.get(fact.id), base) else {
                    return false;
                };
                name.distance == 0
                    && packet.distances.iter().any(|Distance { id, base: other, fixed }| {
                        (*id, *other) == (name.id, base.id)
                            && base.distance.checked_add(i64::from(fact.fixed)) == Some(i64::from(*fixed))
                    })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_cannot_be_covers_nothing() {
        let slot = |index, start, bytes| Slot { index, initialised: 0, start, bytes, value: Value::UNUSABLE };
        let facts = |slot| {
            let frame = FrameFacts { stack: alloc::vec![slot], ..FrameFacts::default() };
            Facts { frames: alloc::vec![frame], ..Facts::default() }
        };
        assert!(facts(slot(0, 0, 0)).include(&State::new()), "says nothing, so covers everything");
        for impossible in [slot(0, 0, 200), slot(0, 9, 0), slot(64, 0, 0), slot(255, 255, 255)] {
            assert!(!facts(impossible).include(&State::new()), "{impossible:?}");
        }
    }
}
