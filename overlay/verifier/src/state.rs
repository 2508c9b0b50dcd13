//! What is known at one point of the program.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use uio_bpf::instruction::Register;

use crate::domain::Scalar;
use crate::stack::{FRAME_BYTES, Stack};
use crate::value::{Content, Id, Location, Region, Value};

/// Registers that are kept: R10 follows from the frame.
pub(crate) const REGISTERS: usize = 10;

/// Functions active at once.
pub(crate) const MAX_FRAMES: usize = 8;

/// Largest packet, in bytes. The guest gives programs no larger one.
pub const MAX_PACKET_BYTES: u32 = 0xffff;

/// Numbers known to be distances to the packet's end at once. States are copied at branches, so lists in them must not
/// grow with the program; who is over the limit forgets the oldest.
pub(crate) const MAX_DISTANCES: usize = 8;

/// Variable offsets from which packet bytes are known at once.
pub(crate) const MAX_VARIABLE_RANGES: usize = 32;

/// A set of concrete states: registers, stacks of all active functions, and what is known of the packet.
///
/// Copied at branches, so everything but the registers is shared until it changes.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) registers: [Value; REGISTERS],
    pub(crate) shared: Rc<Shared>,
    /// The largest identity in use.
    pub(crate) last_id: Id,
}

#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Active functions, the entry first. Never empty.
    pub(crate) frames: Vec<Frame>,
    pub(crate) packet: PacketFacts,
    /// What has to be given back.
    pub(crate) references: Vec<Reference>,
}

/// An active function.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its first slot.
    pub(crate) function: u32,
    pub(crate) stack: Rc<Stack>,
    /// Heads of loops that were passed and may be passed again.
    pub(crate) heads: Vec<Head>,
    /// How it returns; `None` for the entry.
    pub(crate) caller: Option<Caller>,
}

/// A loop's head that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) slot: u32,
    /// Whether a state of the proof lies between: from then on every pass has to make progress.
    pub(crate) carried: bool,
}

/// What a frame returns to.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Slot of the call.
    pub(crate) slot: u32,
    /// The caller's R6 to R9.
    pub(crate) saved: Rc<[Value; 4]>,
    /// For a callback, what it gets as second argument each time.
    pub(crate) callback: Option<Value>,
}

/// Something to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) id: Id,
    /// Where it was acquired.
    pub(crate) slot: u32,
}

/// How much of the packet is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PacketFacts {
    /// Bytes from the packet's start that lie before its end.
    pub(crate) data: u32,
    /// Bytes from the metadata's start that lie before the packet's start.
    pub(crate) meta: u32,
    /// The same from `start + n`, where `n` is the number with this identity; the oldest first, at most
    /// [`MAX_VARIABLE_RANGES`].
    pub(crate) variable: Vec<(Id, u32)>,
    /// Numbers that are a distance to the packet's end; the oldest first, at most [`MAX_DISTANCES`].
    pub(crate) distances: Vec<Distance>,
}

/// The number with identity `id` is `end - (start + n + fixed)`, `n` being the number with identity `base` (0: 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Distance {
    pub(crate) id: Id,
    pub(crate) base: Id,
    pub(crate) fixed: i32,
}

impl PacketFacts {
    pub(crate) fn range(&self, id: Id) -> u32 {
        if id == 0 {
            return self.data;
        }
        self.variable.iter().find(|(other, _)| *other == id).map_or(0, |(_, range)| *range)
    }

    fn extend(&mut self, id: Id, range: u32) {
        if id == 0 {
            self.data = self.data.max(range);
        } else if let Some(entry) = self.variable.iter_mut().find(|(other, _)| *other == id) {
            entry.1 = entry.1.max(range);
        } else {
            if self.variable.len() >= MAX_VARIABLE_RANGES {
                self.variable.remove(0);
            }
            self.variable.push((id, range));
        }
    }

    pub(crate) fn add_distance(&mut self, distance: Distance) {
        if self.distances.len() >= MAX_DISTANCES {
            self.distances.remove(0);
        }
        self.distances.push(distance);
    }
}

impl State {
    /// The state in which a program starts, except for its arguments.
    pub(crate) fn new() -> Self {
        Self {
            registers: [Value::UNUSABLE; REGISTERS],
            shared: Rc::new(Shared {
                frames: alloc::vec![Frame {
                    function: 0,
                    stack: Rc::new(Stack::default()),
                    heads: Vec::new(),
                    caller: None,
                }],
                packet: PacketFacts::default(),
                references: Vec::new(),
            }),
            last_id: 0,
        }
    }

    pub(crate) fn shared_mut(&mut self) -> &mut Shared {
        Rc::make_mut(&mut self.shared)
    }

    pub(crate) fn depth(&self) -> usize {
        self.shared.frames.len() - 1
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.shared.frames[self.depth()]
    }

    pub(crate) fn frame_mut(&mut self) -> &mut Frame {
        let depth = self.depth();
        &mut self.shared_mut().frames[depth]
    }

    pub(crate) fn get(&self, register: Register) -> Value {
        match self.registers.get(register.index()) {
            Some(value) => *value,
            None => Value::pointer(Region::Stack(self.depth() as u8)),
        }
    }

    pub(crate) fn set(&mut self, register: Register, value: Value) {
        if let Some(place) = self.registers.get_mut(register.index()) {
            *place = value;
        }
    }

    /// An identity that nothing has.
    pub(crate) fn fresh(&mut self) -> Id {
        // Far more identities than a walk has steps.
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    /// Gives the value in `register` an identity, if its copies should be told apart from other values.
    pub(crate) fn identify(&mut self, register: Register) -> Id {
        let Some(value) = self.registers.get(register.index()).copied() else {
            return 0;
        };
        if value.id != 0 {
            return value.id;
        }
        let id = self.fresh();
        self.registers[register.index()].id = id;
        id
    }

    /// Applies `change` to all values that are `meant`: in registers, stacks, saved registers, arguments of callbacks.
    /// What is shared with other states is copied only if something in it is meant.
    pub(crate) fn for_all(&mut self, meant: impl Fn(&Value) -> bool, mut change: impl FnMut(&mut Value)) {
        for value in self.registers.iter_mut().filter(|value| meant(value)) {
            change(value);
        }
        for depth in 0..self.shared.frames.len() {
            let frame = &self.shared.frames[depth];
            if frame.stack.slots.iter().any(|slot| slot.bytes > 0 && meant(&slot.value)) {
                let stack = Rc::make_mut(&mut self.shared_mut().frames[depth].stack);
                stack.values_mut().filter(|value| meant(value)).for_each(&mut change);
                stack.prune();
            }
            let frame = &self.shared.frames[depth];
            let Some(caller) = &frame.caller else {
                continue;
            };
            if caller.saved.iter().chain(&caller.callback).any(&meant)
                && let Some(caller) = &mut self.shared_mut().frames[depth].caller
            {
                let saved = Rc::make_mut(&mut caller.saved).iter_mut();
                saved.chain(&mut caller.callback).filter(|value| meant(value)).for_each(&mut change);
            }
        }
    }

    /// All numbers with identity `id` are in `scalar`: the one that a branch refined.
    pub(crate) fn refine(&mut self, id: Id, scalar: &Scalar) {
        self.refine_numbers(id, scalar);
        self.distance_known(id, scalar.smin());
    }

    fn refine_numbers(&mut self, id: Id, scalar: &Scalar) {
        self.for_all(
            |value| value.id == id,
            |value| match &mut value.content {
                Content::Scalar(number) => *number = number.intersect(scalar).unwrap_or(*number),
                Content::Pointer(pointer) if !pointer.nullable => {
                    pointer.variable = pointer.variable.intersect(scalar).unwrap_or(pointer.variable);
                }
                Content::Pointer(_) | Content::Unusable => {}
            },
        );
    }

    /// The number `id`, if it is a distance to the packet's end, is at least `least`.
    fn distance_known(&mut self, id: Id, least: i64) {
        if least <= 0 || self.shared.packet.distances.is_empty() {
            return;
        }
        let found: Vec<Distance> =
            self.shared.packet.distances.iter().filter(|distance| distance.id == id).copied().collect();
        for distance in found {
            if let Some(range) = i64::from(distance.fixed).checked_add(least) {
                self.packet_known(distance.base, range);
            }
        }
    }

    /// The packet has at least `range` bytes from its start plus the number `id` (0: from its start).
    pub(crate) fn packet_known(&mut self, id: Id, range: i64) {
        let limit = i64::from(MAX_PACKET_BYTES);
        if id != 0 && range.abs() <= limit {
            // The packet's length bounds the number, too.
            let most = Scalar::signed(i64::MIN, limit - range);
            self.refine_numbers(id, &most);
        }
        self.packet_range(id, range);
    }

    /// As [`Self::packet_known`], where that bounds no number.
    pub(crate) fn packet_range(&mut self, id: Id, range: i64) {
        if range > 0
            && let Ok(range) = u32::try_from(range.min(MAX_PACKET_BYTES.into()))
            && range > self.shared.packet.range(id)
        {
            self.shared_mut().packet.extend(id, range);
        }
    }

    /// The pointer with null-identity `id` turned out to be null or not.
    pub(crate) fn resolve(&mut self, id: Id, null: bool) {
        let mut released = 0;
        self.for_all(
            |value| value.id == id,
            |value| {
                if let Content::Pointer(pointer) = &mut value.content
                    && pointer.nullable
                {
                    if let Region::Record { reference, .. } = pointer.region {
                        released = reference;
                    }
                    if null {
                        let moved = i64::from(pointer.fixed);
                        *value = Value::scalar(Scalar::constant(moved as u64));
                    } else {
                        pointer.nullable = false;
                        value.id = 0;
                    }
                }
            },
        );
        if null && released != 0 {
            self.shared_mut().references.retain(|reference| reference.id != released);
        }
    }

    /// Makes all values unusable that `gone` names.
    pub(crate) fn invalidate(&mut self, gone: &dyn Fn(Region) -> bool) {
        let meant = |value: &Value| value.as_pointer().is_some_and(|pointer| gone(pointer.region));
        self.for_all(meant, |value| *value = Value::UNUSABLE);
    }

    /// The value at `location` in the current function.
    pub(crate) fn at(&self, location: Location) -> Option<Value> {
        if location.0 < Location::STACK {
            return self.registers.get(usize::from(location.0)).copied();
        }
        let slot = self.frame().stack.get(location.0 - Location::STACK)?;
        (slot.bytes == 8).then_some(slot.value)
    }

    /// Changes the value at `location` in the current function, if there is one.
    pub(crate) fn change_at(&mut self, location: Location, change: &mut dyn FnMut(&mut Value)) {
        if let Some(register) = self.registers.get_mut(usize::from(location.0)) {
            change(register);
        } else if let Some(index) = location.0.checked_sub(Location::STACK) {
            let stack = Rc::make_mut(&mut self.frame_mut().stack);
            if let Some(slot) = stack.slots.iter_mut().find(|slot| slot.index == index && slot.bytes == 8) {
                change(&mut slot.value);
            }
        }
    }

    /// Forgets all progress of the loop at `head`.
    pub(crate) fn forget_progress(&mut self, head: u32) {
        let meant = |value: &Value| value.progress.iter().flatten().any(|progress| progress.head == head);
        self.for_all(meant, |value| {
            for progress in &mut value.progress {
                if progress.is_some_and(|progress| progress.head == head) {
                    *progress = None;
                }
            }
        });
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (index, value) in self.registers.iter().enumerate() {
            if value.content != Content::Unusable {
                write!(out, "{separator}r{index} = {value}")?;
                separator = "; ";
            }
        }
        for slot in &self.frame().stack.slots {
            let bottom = i64::from(slot.index) * 8 - i64::from(FRAME_BYTES);
            if slot.bytes > 0 {
                write!(out, "{separator}[r10{:+}] = {}", bottom + i64::from(slot.start), slot.value)?;
            } else {
                write!(out, "{separator}[r10{bottom:+}] = {} bytes", slot.initialised.count_ones())?;
            }
            separator = "; ";
        }
        if self.shared.packet.data > 0 {
            write!(out, "{separator}packet has {} bytes or more", self.shared.packet.data)?;
        }
        for (_, range) in &self.shared.packet.variable {
            write!(out, "{separator}packet has {range} bytes or more from a variable offset")?;
        }
        Ok(())
    }
}
