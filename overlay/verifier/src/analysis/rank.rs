//! Why loops end: finds for every head a counter that each pass moves in one direction, within bounds.
//!
//! All bounded values at a head are tried at once. Walks carry each one's distance from what it was when the head
//! was passed last; a candidate that a way around does not move is dropped. Loops for which none is left get fuel.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::flow::Flow;
use super::write::facts;
use crate::check::{MAX_PASSES, leave_inner};
use crate::program::Program;
use crate::proof::{Point, Proof, Rank};
use crate::state::{Head, State};
use crate::transfer::{Edge, Next, Usage, Way, step};
use crate::value::{Content, LOOPS, Location, Progress, Value};

/// Changes of one state's progress before it is given up.
const PATIENCE: u32 = 6;

/// Rounds of trying.
const ROUNDS: usize = 5;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    location: Location,
    min: i64,
    max: i64,
    up: bool,
    down: bool,
}

impl Candidate {
    const fn is_alive(&self) -> bool {
        self.up || self.down
    }
}

/// A state of the proof with the loops that are active in it.
struct Noted {
    state: Option<State>,
    changes: u32,
    dirty: bool,
}

pub(super) struct Ranker<'a> {
    program: &'a Program<'a>,
    flow: &'a Flow,
    points: Vec<Point>,
    /// Index of the point at each slot, plus 1.
    places: Vec<u32>,
    noted: Vec<Vec<Noted>>,
    candidates: BTreeMap<u32, Vec<Candidate>>,
    usage: Usage,
    pub(super) steps: u64,
    limit: u64,
}

impl<'a> Ranker<'a> {
    pub(super) fn new(program: &'a Program<'a>, flow: &'a Flow, points: Vec<Point>, limit: u64) -> Self {
        let mut places = alloc::vec![0; program.code.len() as usize];
        for (index, point) in points.iter().enumerate() {
            places[point.slot as usize] = index as u32 + 1;
        }
        Self {
            program,
            flow,
            points,
            places,
            noted: Vec::new(),
            candidates: BTreeMap::new(),
            usage: Usage::new(program),
            steps: 0,
            limit,
        }
    }

    /// The finished proof: ranks, fuel, and points with the loops active there.
    pub(super) fn run(mut self) -> (Proof, u64) {
        let heads: Vec<u32> = self
            .points
            .iter()
            .map(|point| point.slot)
            .filter(|slot| self.flow.heads[*slot as usize])
            .collect();
        if !self.flow.back.contains(&true) {
            return (Proof { points: self.points, ..Proof::default() }, self.steps);
        }
        for head in &heads {
            let found = self.bounded(*head);
            self.candidates.insert(*head, found);
        }
        let mut settled: BTreeMap<u32, Candidate> = BTreeMap::new();
        for _ in 0..if heads.is_empty() { 0 } else { ROUNDS } {
            for (head, candidates) in &mut self.candidates {
                if let Some(best) = settled.get(head) {
                    *candidates = alloc::vec![*best];
                }
            }
            self.propagate();
            let before = settled.len();
            for (head, candidates) in &self.candidates {
                let alive = candidates.iter().filter(|candidate| candidate.is_alive());
                match alive.min_by_key(|candidate| candidate.max - candidate.min) {
                    Some(best) => settled.insert(*head, *best),
                    None => settled.remove(head),
                };
            }
            if settled.len() == before || settled.len() == heads.len() {
                break;
            }
            // What crowded out others is gone: try those that failed again.
            for head in &heads {
                if !settled.contains_key(head) {
                    let again = self.bounded(*head);
                    self.candidates.insert(*head, again);
                }
            }
        }
        // Until exactly the chosen ones hold.
        loop {
            for head in &heads {
                let chosen = settled.get(head).copied().into_iter().collect();
                self.candidates.insert(*head, chosen);
            }
            self.propagate();
            let failed: Vec<u32> = self
                .candidates
                .iter()
                .filter(|(_, candidates)| candidates.iter().any(|candidate| !candidate.is_alive()))
                .map(|(head, _)| *head)
                .collect();
            if failed.is_empty() {
                break;
            }
            for head in failed {
                settled.remove(&head);
            }
        }
        let steps = self.steps;
        (self.finish(&heads), steps)
    }

    fn finish(self, heads: &[u32]) -> Proof {
        let mut ranks = Vec::new();
        let mut fuel = Vec::new();
        for head in heads {
            match self.candidates.get(head).and_then(|candidates| candidates.first()) {
                Some(chosen) => ranks.push(Rank {
                    head: *head,
                    location: chosen.location,
                    min: chosen.min,
                    max: chosen.max,
                    up: chosen.up,
                }),
                None => fuel.push(*head),
            }
        }
        let points = self
            .points
            .iter()
            .zip(&self.noted)
            .map(|(point, noted)| Point {
                slot: point.slot,
                states: noted.iter().filter_map(|noted| noted.state.as_ref()).map(facts).collect(),
            })
            .collect();
        Proof { points, ranks, fuel }
    }

    /// Everything at `head` that has bounds in all its states.
    fn bounded(&self, head: u32) -> Vec<Candidate> {
        let Some(point) = self.places[head as usize].checked_sub(1).map(|place| &self.points[place as usize])
        else {
            return Vec::new();
        };
        let mut found: Option<Vec<Candidate>> = None;
        for facts in &point.states {
            let registers = facts.registers.iter().map(|(index, value)| (Location(*index), value));
            let stack = facts.frames.last().map(|frame| frame.stack.as_slice()).unwrap_or_default();
            let slots = stack
                .iter()
                .filter(|slot| slot.bytes == 8)
                .map(|slot| (Location(Location::STACK + slot.index), &slot.value));
            let here: Vec<Candidate> = registers
                .chain(slots)
                .filter_map(|(location, value)| {
                    let (min, max) = bounds(value)?;
                    Some(Candidate { location, min, max, up: true, down: true })
                })
                .collect();
            found = Some(match found {
                None => here,
                Some(before) => before
                    .into_iter()
                    .filter_map(|old| {
                        let new = here.iter().find(|new| new.location == old.location)?;
                        Some(Candidate { min: old.min.min(new.min), max: old.max.max(new.max), ..old })
                    })
                    .collect(),
            });
        }
        let mut found = found.unwrap_or_default();
        found.retain(|candidate| {
            candidate.max.checked_sub(candidate.min).is_some_and(|apart| apart > 0 && apart <= MAX_PASSES)
        });
        found
    }

    /// Walks from all states until no distance changes any more.
    fn propagate(&mut self) {
        self.noted = self
            .points
            .iter()
            .map(|point| {
                point.states.iter().map(|_| Noted { state: None, changes: 0, dirty: false }).collect()
            })
            .collect();
        self.explore(self.program.entry(), 0, false);
        let mut dirty = true;
        while dirty && self.steps < self.limit {
            dirty = false;
            for point in 0..self.points.len() {
                for index in 0..self.noted[point].len() {
                    let noted = &mut self.noted[point][index];
                    if !noted.dirty {
                        continue;
                    }
                    noted.dirty = false;
                    dirty = true;
                    if let Some(state) = noted.state.clone() {
                        self.explore(state, self.points[point].slot, true);
                    }
                }
            }
        }
    }

    fn explore(&mut self, state: State, slot: u32, stated: bool) {
        let mut waiting = alloc::vec![(Box::new(state), slot, stated)];
        while let Some((mut state, mut slot, mut stated)) = waiting.pop() {
            loop {
                let place = self.places.get(slot as usize).copied().unwrap_or(0);
                if place > 0 && !stated {
                    self.arrive(&state, place as usize - 1);
                    break;
                }
                stated = false;
                self.steps += 1;
                let Some(operation) = self.program.code.get(slot) else {
                    break;
                };
                // Whatever is wrong the check will say.
                let Ok(next) = step(self.program, &mut self.usage, &mut state, slot, operation) else {
                    break;
                };
                match next {
                    Next::Stop => break,
                    Next::One(edge) => {
                        self.pass(&mut state, slot, edge);
                        slot = edge.to;
                    }
                    Next::Two(first, second, mut other) => {
                        self.pass(&mut state, slot, first);
                        self.pass(&mut other, slot, second);
                        waiting.push((other, second.to, false));
                        slot = first.to;
                    }
                }
            }
        }
    }

    fn pass(&mut self, state: &mut State, from: u32, edge: Edge) {
        let head = edge.to;
        let back = edge.way == Way::Jump && head <= from;
        if back {
            leave_inner(state, head);
            if !self.flow.heads[head as usize]
                && !state.frame().heads.iter().any(|active| active.slot == head)
            {
                state.frame_mut().heads.push(Head { slot: head, carried: true });
            }
        }
        let Some(candidates) = self.candidates.get_mut(&head).filter(|candidates| !candidates.is_empty())
        else {
            return;
        };
        let active = state.frame().heads.iter().any(|active| active.slot == head);
        for candidate in candidates.iter_mut() {
            let value = state.at(candidate.location);
            if back && active {
                let progress = value.as_ref().and_then(|value| {
                    value
                        .progress
                        .iter()
                        .flatten()
                        .find(|progress| (progress.head, progress.origin) == (head, candidate.location))
                });
                candidate.up &= progress.is_some_and(|progress| progress.min >= 1);
                candidate.down &= progress.is_some_and(|progress| progress.max <= -1);
            }
        }
        state.forget_progress(head);
        for candidate in candidates.iter().filter(|candidate| candidate.is_alive()) {
            state.change_at(candidate.location, &mut |value| value.begin(head, candidate.location));
        }
        if !active {
            state.frame_mut().heads.push(Head { slot: head, carried: true });
        }
    }

    fn arrive(&mut self, state: &State, place: usize) {
        let point = &self.points[place];
        let Some(index) = point.states.iter().position(|facts| facts.include_but_loops(state)) else {
            return;
        };
        let noted = &mut self.noted[place][index];
        match &mut noted.state {
            None => {
                let Ok(mut first) = point.states[index].state() else {
                    return;
                };
                meet(&mut first, state, true, false);
                noted.state = Some(first);
                noted.dirty = true;
            }
            Some(known) => {
                let tired = noted.changes > PATIENCE;
                if meet(known, state, false, tired) {
                    noted.changes += 1;
                    noted.dirty = true;
                }
            }
        }
    }
}

/// The bounds of what could be a counter.
fn bounds(value: &Value) -> Option<(i64, i64)> {
    match &value.content {
        Content::Scalar(scalar) => Some((scalar.smin(), scalar.smax())),
        Content::Pointer(pointer) if !pointer.nullable => pointer.offsets(0),
        Content::Pointer(_) | Content::Unusable => None,
    }
}

/// Adds what `new` says of active loops to `known`: distances that hold in both. Gives whether that changed anything.
fn meet(known: &mut State, new: &State, first: bool, tired: bool) -> bool {
    let mut changed = false;
    let active = |state: &State, head: u32| {
        state.shared.frames.iter().any(|frame| frame.heads.iter().any(|active| active.slot == head))
    };
    let old = known.clone();
    let mut value = |place: &mut Value, other: &Value| {
        let before = place.progress;
        let mut after: [Option<Progress>; LOOPS] = [None; LOOPS];
        let mut free = 0;
        let mut keep = |progress: Progress| {
            if let Some(slot) = after.get_mut(free) {
                *slot = Some(progress);
                free += 1;
            }
        };
        for mine in before.iter().flatten() {
            let same = other
                .progress
                .iter()
                .flatten()
                .find(|theirs| (theirs.head, theirs.origin) == (mine.head, mine.origin));
            match same {
                Some(theirs) => {
                    let hull =
                        Progress { min: mine.min.min(theirs.min), max: mine.max.max(theirs.max), ..*mine };
                    if hull == *mine || !tired {
                        keep(hull);
                    }
                }
                None if !active(new, mine.head) => keep(*mine),
                None => {}
            }
        }
        for theirs in other.progress.iter().flatten() {
            let known =
                before.iter().flatten().any(|mine| (mine.head, mine.origin) == (theirs.head, theirs.origin));
            if !known && (first || !active(&old, theirs.head)) {
                keep(*theirs);
            }
        }
        changed |= before != after;
        place.progress = after;
    };
    for (place, other) in known.registers.iter_mut().zip(&new.registers) {
        value(place, other);
    }
    let shared = known.shared_mut();
    for (frame, other) in shared.frames.iter_mut().zip(&new.shared.frames) {
        let stack = alloc::rc::Rc::make_mut(&mut frame.stack);
        for slot in stack.slots.iter_mut().filter(|slot| slot.bytes > 0) {
            let position = u32::from(slot.index) * 8 + u32::from(slot.start);
            if let Some(other) = other.stack.load(position, slot.bytes.into()) {
                value(&mut slot.value, &other);
            }
        }
        if let (Some(caller), Some(other)) = (&mut frame.caller, &other.caller) {
            let saved = alloc::rc::Rc::make_mut(&mut caller.saved);
            for (place, other) in saved.iter_mut().zip(&*other.saved) {
                value(place, other);
            }
        }
    }
    for (frame, other) in shared.frames.iter_mut().zip(&new.shared.frames) {
        for head in &other.heads {
            if !frame.heads.iter().any(|active| active.slot == head.slot) {
                frame.heads.push(Head { carried: true, ..*head });
                changed = true;
            }
        }
    }
    changed
}
