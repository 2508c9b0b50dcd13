//! States to facts: only what is live, with identities numbered in order and only where they matter.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::flow::Flow;
use crate::facts::{CallerFacts, Facts, FrameFacts};
use crate::stack::Slot;
use crate::state::{Distance, PacketFacts, Reference, State};
use crate::value::{Content, Id, Region, Value};

/// Forgets everything in `state`, which is before `slot`, that nothing reads any more.
pub(super) fn prune(state: &mut State, flow: &Flow, slot: u32) {
    let live = flow.registers.get(slot as usize).copied().unwrap_or(u16::MAX);
    for (index, value) in state.registers.iter_mut().enumerate() {
        if live & 1 << index == 0 {
            *value = Value::UNUSABLE;
        }
    }
    let depth = state.depth();
    let mut stacks = Vec::with_capacity(depth + 1);
    for frame in 1..=depth {
        // The caller goes on behind its call.
        let after = state.shared.frames[frame].caller.as_ref().map_or(u32::MAX, |caller| caller.slot + 1);
        stacks.push(after);
    }
    stacks.push(slot);
    let live = |slot: u32| flow.stack.get(slot as usize).copied().unwrap_or(u64::MAX);
    for (frame, after) in stacks.iter().enumerate() {
        let live = live(*after);
        if state.shared.frames[frame].stack.slots.iter().any(|slot| live & 1 << slot.index == 0) {
            let stack = &mut state.shared_mut().frames[frame].stack;
            Rc::make_mut(stack).slots.retain(|slot| live & 1 << slot.index != 0);
        }
    }
    for frame in 1..=depth {
        let after = stacks[frame - 1];
        let live = flow.registers.get(after as usize).copied().unwrap_or(u16::MAX);
        if live & 0x3c0 == 0x3c0 {
            continue;
        }
        if let Some(caller) = &mut state.shared_mut().frames[frame].caller {
            for (index, value) in Rc::make_mut(&mut caller.saved).iter_mut().enumerate() {
                if live & 1 << (index + 6) == 0 {
                    *value = Value::UNUSABLE;
                }
            }
        }
    }
}

struct Renamer {
    /// How often each identity occurs, and its new one.
    names: Vec<(Id, u32, Id)>,
    next: Id,
}

impl Renamer {
    fn count(&mut self, id: Id, times: u32) {
        if id == 0 {
            return;
        }
        match self.names.iter_mut().find(|(known, ..)| *known == id) {
            Some((_, count, _)) => *count += times,
            None => self.names.push((id, times, 0)),
        }
    }

    fn rename(&mut self, id: Id) -> Id {
        let next = self.next + 1;
        match self.names.iter_mut().find(|(known, ..)| *known == id) {
            Some((_, count, name)) if *count > 1 => {
                if *name == 0 {
                    *name = next;
                    self.next = next;
                }
                *name
            }
            _ => 0,
        }
    }

    fn value(&mut self, value: &Value) -> Value {
        let mut value = *value;
        value.id = self.rename(value.id);
        if let Content::Pointer(pointer) = &mut value.content
            && let Region::Record { reference, .. } = &mut pointer.region
        {
            *reference = self.rename(*reference);
        }
        value
    }
}

/// The facts of `state`.
pub(super) fn facts(state: &State) -> Facts {
    let mut renamer = Renamer { names: Vec::new(), next: 0 };
    let shared = &state.shared;
    let mut count = |value: &Value| {
        let times = match &value.content {
            Content::Pointer(pointer) => {
                if let Region::Record { reference, .. } = pointer.region {
                    renamer.count(reference, 2);
                }
                if pointer.nullable { 2 } else { 1 }
            }
            Content::Scalar(_) | Content::Unusable => 1,
        };
        renamer.count(value.id, times);
    };
    state.registers.iter().for_each(&mut count);
    for frame in &shared.frames {
        frame.stack.slots.iter().for_each(|slot| count(&slot.value));
        if let Some(caller) = &frame.caller {
            caller.saved.iter().for_each(&mut count);
            caller.callback.iter().for_each(&mut count);
        }
    }
    for reference in &shared.references {
        renamer.count(reference.id, 2);
    }
    let used = |renamer: &Renamer, id: Id| id == 0 || renamer.names.iter().any(|(known, ..)| *known == id);
    let variable: Vec<_> =
        shared.packet.variable.iter().filter(|(id, range)| *range > 0 && used(&renamer, *id)).collect();
    for (id, _) in &variable {
        renamer.count(*id, 1);
    }
    let distances: Vec<_> = shared
        .packet
        .distances
        .iter()
        .filter(|distance| used(&renamer, distance.id) && used(&renamer, distance.base))
        .copied()
        .collect();
    for distance in &distances {
        renamer.count(distance.id, 1);
        renamer.count(distance.base, 1);
    }
    let registers = kept(&mut renamer, &state.registers);
    let frames = shared
        .frames
        .iter()
        .map(|frame| FrameFacts {
            function: frame.function,
            stack: frame
                .stack
                .slots
                .iter()
                .map(|slot| Slot { value: renamer.value(&slot.value), ..*slot })
                .collect(),
            heads: frame.heads.iter().map(|head| head.slot).collect(),
            caller: frame.caller.as_ref().map(|caller| CallerFacts {
                slot: caller.slot,
                saved: kept(&mut renamer, &*caller.saved),
                callback: caller.callback.map(|value| renamer.value(&value)),
            }),
        })
        .collect();
    let packet = PacketFacts {
        data: shared.packet.data,
        meta: shared.packet.meta,
        variable: variable.iter().map(|(id, range)| (renamer.rename(*id), *range)).collect(),
        distances: distances
            .iter()
            .map(|distance| Distance {
                id: renamer.rename(distance.id),
                base: renamer.rename(distance.base),
                fixed: distance.fixed,
            })
            .collect(),
    };
    let references = shared
        .references
        .iter()
        .map(|reference| Reference { id: renamer.rename(reference.id), slot: reference.slot })
        .collect();
    Facts { registers, frames, packet, references }
}

fn kept(renamer: &mut Renamer, values: &[Value]) -> Vec<(u8, Value)> {
    values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.content != Content::Unusable)
        .map(|(index, value)| (index as u8, renamer.value(value)))
        .collect()
}
