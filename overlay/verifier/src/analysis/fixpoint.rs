//! The fixpoint: states at points until nothing new arrives.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;

use super::flow::Flow;
use super::join::{Growth, join};
use super::rejection::{Rejection, RejectionReason, Step};
use super::write::{facts, prune};
use super::{ContextLayout, Options};
use crate::check::CheckReason;
use crate::domain::Scalar;
use crate::facts::Facts;
use crate::program::Program;
use crate::proof::{Point, Proof};
use crate::reason::Reason;
use crate::state::State;
use crate::transfer::{Edge, Next, Usage, Way, step};
use crate::value::{Content, Region};
use uio_bpf::instruction::{Immediate64, Operand, Operation};

/// How eagerly states are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// As soon as they hold the same kinds of values.
    Early,
    /// Only when there are too many, at loop heads when they keep coming.
    Late,
}

/// A branch on a path: the one before, slot, whether taken.
#[derive(Clone, Copy)]
struct Branch {
    before: u32,
    slot: u32,
    taken: bool,
}

/// No branch before.
const START: u32 = u32::MAX;

/// Branches that a rejection's path shows at most; the last ones.
const PATH: usize = 64;

/// A state at a point.
struct Entry {
    state: State,
    facts: Facts,
    path: u32,
    growth: Growth,
    /// Not walked from yet.
    fresh: bool,
}

/// A point in one chain of calls.
struct Cell {
    slot: u32,
    entries: Vec<Entry>,
    /// State, path, and whether it came by a backward jump.
    arrivals: Vec<(State, u32, bool)>,
}

/// Where a point comes in the order of work: positions of all calls, then its own.
type Key = Vec<u32>;

pub(super) struct Fixpoint<'a> {
    program: &'a Program<'a>,
    flow: &'a Flow,
    options: &'a Options,
    merge: Merge,
    limits: BTreeMap<u32, Vec<i64>>,
    cells: BTreeMap<Key, Cell>,
    work: BTreeSet<Key>,
    branches: Vec<Branch>,
    usage: Usage,
    /// Loads by slot: for those of the context, the offset in it and the base's distance from its start.
    pub(super) accesses: BTreeMap<u32, Option<(u32, i64)>>,
    pub(super) steps: u64,
}

impl<'a> Fixpoint<'a> {
    pub(super) fn new(program: &'a Program<'a>, flow: &'a Flow, options: &'a Options, merge: Merge) -> Self {
        Self {
            program,
            flow,
            options,
            merge,
            limits: limits(program, flow),
            cells: BTreeMap::new(),
            work: BTreeSet::new(),
            branches: Vec::new(),
            usage: Usage::new(program),
            accesses: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Runs to the end; gives the points with their states. No ranking arguments yet.
    pub(super) fn run(&mut self) -> Result<Proof, Rejection> {
        self.explore(self.program.entry(), 0, false, START)?;
        while let Some(key) = self.work.pop_first() {
            self.merge(&key);
            while let Some(cell) = self.cells.get_mut(&key)
                && let Some(entry) = cell.entries.iter_mut().find(|entry| entry.fresh)
            {
                entry.fresh = false;
                let (state, slot, path) = (entry.state.clone(), cell.slot, entry.path);
                self.explore(state, slot, true, path)?;
            }
        }
        let mut points: BTreeMap<u32, Vec<Facts>> = BTreeMap::new();
        for cell in core::mem::take(&mut self.cells).into_values() {
            points.entry(cell.slot).or_default().extend(cell.entries.into_iter().map(|entry| entry.facts));
        }
        let points = points.into_iter().map(|(slot, states)| Point { slot, states }).collect();
        Ok(Proof { points, ..Proof::default() })
    }

    fn key(&self, state: &State, slot: u32) -> Key {
        let position = |slot: u32| self.flow.order.get(slot as usize).copied().unwrap_or(u32::MAX);
        let calls = state.shared.frames.iter().filter_map(|frame| frame.caller.as_ref());
        calls.map(|caller| position(caller.slot)).chain([position(slot)]).collect()
    }

    /// Walks from `state` until all ways end or stop at points.
    fn explore(&mut self, state: State, slot: u32, stated: bool, path: u32) -> Result<(), Rejection> {
        let mut waiting = alloc::vec![(Box::new(state), slot, stated, path, false)];
        while let Some((mut state, mut slot, mut stated, mut path, mut back)) = waiting.pop() {
            loop {
                if !stated && self.flow.points.get(slot as usize).copied().unwrap_or(false) {
                    self.arrive(*state, slot, path, back);
                    break;
                }
                stated = false;
                self.steps += 1;
                if self.steps > self.options.max_steps {
                    let reason = RejectionReason::Steps { limit: self.options.max_steps };
                    return Err(self.reject(slot, reason, &state, path));
                }
                let Some(operation) = self.program.code.get(slot) else {
                    return Err(self.refuse(slot, Reason::FallsOut, &state, path));
                };
                self.note_access(slot, operation, &state, path)?;
                let next = match step(self.program, &mut self.usage, &mut state, slot, operation) {
                    Ok(next) => next,
                    Err(reason) => return Err(self.refuse(slot, reason, &state, path)),
                };
                match next {
                    Next::Stop => break,
                    Next::One(edge) => {
                        self.pass(slot, edge, &state, path)?;
                        back = edge.to <= slot || edge.way == Way::Call;
                        slot = edge.to;
                    }
                    Next::Two(first, second, other) => {
                        self.pass(slot, first, &state, path)?;
                        self.pass(slot, second, &other, path)?;
                        let before = path;
                        path = self.branches.len() as u32;
                        self.branches.push(Branch { before, slot, taken: false });
                        self.branches.push(Branch { before, slot, taken: true });
                        let again = second.to <= slot || second.way == Way::Call;
                        waiting.push((other, second.to, false, path + 1, again));
                        back = first.to <= slot || first.way == Way::Call;
                        slot = first.to;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes where a load reads the context.
    fn note_access(
        &mut self,
        slot: u32,
        operation: Operation,
        state: &State,
        path: u32,
    ) -> Result<(), Rejection> {
        let Operation::Load { base, offset, .. } = operation else {
            return Ok(());
        };
        let value = state.get(base);
        let access = value.as_pointer().filter(|pointer| pointer.region == Region::Context).map(|pointer| {
            let base = pointer.constant_offset().unwrap_or(0);
            (u32::try_from(base + i64::from(offset)).unwrap_or(u32::MAX), base)
        });
        if access.is_none() && self.options.context == ContextLayout::Native {
            return Ok(());
        }
        if *self.accesses.entry(slot).or_insert(access) == access {
            Ok(())
        } else {
            Err(self.reject(slot, RejectionReason::MixedContext, state, path))
        }
    }

    fn pass(&self, from: u32, edge: Edge, state: &State, path: u32) -> Result<(), Rejection> {
        let ends =
            edge.to >= self.program.code.len() || self.program.functions.binary_search(&edge.to).is_ok();
        if edge.way == Way::Fall && ends {
            return Err(self.refuse(from, Reason::FallsOut, state, path));
        }
        Ok(())
    }

    fn arrive(&mut self, mut state: State, slot: u32, path: u32, back: bool) {
        prune(&mut state, self.flow, slot);
        let key = self.key(&state, slot);
        let cell = self.cells.entry(key.clone()).or_insert_with(|| Cell {
            slot,
            entries: Vec::new(),
            arrivals: Vec::new(),
        });
        if cell.entries.iter().any(|entry| entry.facts.include(&state)) {
            return;
        }
        cell.arrivals.push((state, path, back));
        self.work.insert(key);
    }

    /// Takes what arrived at a point into its states.
    fn merge(&mut self, key: &Key) {
        let Some(cell) = self.cells.get_mut(key) else {
            return;
        };
        let head = self.flow.heads[cell.slot as usize] || cell.slot == 0 || {
            // A callback's entry is passed again and again.
            self.program.functions.binary_search(&cell.slot).is_ok()
        };
        let most = self.options.max_states.clamp(1, 16);
        for (state, path, back) in core::mem::take(&mut cell.arrivals) {
            if cell.entries.iter().any(|entry| entry.facts.include(&state)) {
                continue;
            }
            let patience = if head { most / 4 } else { most };
            let full = cell.entries.len() >= patience.max(1);
            let alike = cell.entries.iter().position(|entry| {
                (self.merge == Merge::Early || full) && are_alike(&entry.state, &state, full)
            });
            let place = match alike {
                Some(place) => Some(place),
                None if cell.entries.len() >= most => cell
                    .entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| entry.state.shared.references.len() == state.shared.references.len())
                    .max_by_key(|(_, entry)| likeness(&entry.state, &state))
                    .map(|(place, _)| place),
                None => None,
            };
            match place {
                Some(place) => {
                    let entry = &mut cell.entries[place];
                    // Only what comes around a loop is widened: what grows from outside stops growing out there.
                    let joined = if head && back {
                        let limits = self.limits.get(&cell.slot).map_or(&[][..], Vec::as_slice);
                        entry.growth.limits.clear();
                        entry.growth.limits.extend_from_slice(limits);
                        invariants(&entry.state, &state, &mut entry.growth.limits);
                        entry.growth.limits.sort_unstable();
                        entry.growth.limits.dedup();
                        join(&entry.state, &state, Some(&mut entry.growth))
                    } else {
                        join(&entry.state, &state, None)
                    };
                    entry.facts = facts(&joined);
                    // With the identities that the check will see.
                    entry.state = entry.facts.state().unwrap_or(joined);
                    for frame in &mut entry.state.shared_mut().frames {
                        frame.heads.clear();
                    }
                    entry.fresh = true;
                    entry.path = path;
                    let (entry, rest) = (place, &mut cell.entries);
                    // Others may be covered now.
                    let new = rest[entry].facts.clone();
                    let mut index = 0;
                    rest.retain(|other| {
                        let keep = index == entry || !new.include(&other.state);
                        index += 1;
                        keep
                    });
                }
                None => {
                    let facts = facts(&state);
                    let state = facts.state().unwrap_or(state);
                    cell.entries.push(Entry { state, facts, path, growth: Growth::default(), fresh: true });
                }
            }
        }
    }

    fn refuse(&self, slot: u32, reason: Reason, state: &State, path: u32) -> Rejection {
        self.reject(slot, RejectionReason::Check(CheckReason::Unsafe(reason)), state, path)
    }

    fn reject(&self, slot: u32, reason: RejectionReason, state: &State, mut path: u32) -> Rejection {
        let mut rejection = Rejection::new(slot, reason);
        rejection.state = state.to_string();
        while let Some(branch) = self.branches.get(path as usize)
            && rejection.path.len() < PATH
        {
            rejection.path.push(Step { slot: branch.slot, taken: branch.taken });
            path = branch.before;
        }
        rejection.path.reverse();
        rejection.suggest();
        rejection
    }
}

/// For every head, ascending, the numbers that its loop and those around it compare with.
fn limits(program: &Program<'_>, flow: &Flow) -> BTreeMap<u32, Vec<i64>> {
    let mut ends: BTreeMap<u32, u32> = BTreeMap::new();
    for (slot, operation) in program.code.iter() {
        if let Operation::Jump { target } | Operation::JumpIf { target, .. } = operation
            && target <= slot
        {
            let end = ends.entry(target).or_insert(slot);
            *end = slot.max(*end);
        }
    }
    let comparisons: Vec<(u32, i64)> = program
        .code
        .iter()
        .filter_map(|(slot, operation)| match operation {
            Operation::JumpIf { right: Operand::Immediate(number), .. } => Some((slot, number.into())),
            Operation::LoadImmediate { value: Immediate64::Value(number), .. } => Some((slot, number as i64)),
            _ => None,
        })
        .collect();
    let loops: Vec<(u32, u32)> = ends.iter().map(|(head, end)| (*head, *end)).collect();
    let mut limits = BTreeMap::new();
    let points = flow.points.iter().enumerate().filter(|(_, is_point)| **is_point);
    for (slot, _) in points {
        let slot = slot as u32;
        let around = loops.iter().filter(|(head, end)| (*head..=*end).contains(&slot));
        let (first, last) =
            around.fold((u32::MAX, 0), |(first, last), (head, end)| (first.min(*head), last.max(*end)));
        if first > last {
            continue;
        }
        let from = comparisons.partition_point(|(at, _)| *at < first);
        let to = comparisons.partition_point(|(at, _)| *at <= last);
        let mut numbers: Vec<i64> = alloc::vec![-1, 0, 1, 0xff, 0xffff, i32::MAX.into(), u32::MAX.into()];
        // More would make every step of widening small.
        for (_, number) in comparisons[from..to].iter().take(256) {
            numbers.extend([number.saturating_sub(1), *number, number.saturating_add(1)]);
            if i32::try_from(*number).is_ok_and(|number| number < 0) {
                numbers.push(i64::from(*number as u32));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        limits.insert(slot, numbers);
    }
    limits
}

/// Bounds of numbers that are the same in both states: what a counter is compared with is often one of them.
fn invariants(a: &State, b: &State, numbers: &mut Vec<i64>) {
    let mut add = |scalar: &Scalar| {
        if scalar.smax() <= i64::from(u32::MAX) && scalar.smin() >= -i64::from(u32::MAX) {
            numbers.extend([scalar.smin(), scalar.smax(), scalar.smax() - 1, scalar.smax() + 1]);
        }
    };
    let slots = |state: &State| state.frame().stack.slots.clone();
    let stacks = slots(a);
    let others = slots(b);
    let pairs = a.registers.iter().zip(&b.registers).chain(
        stacks
            .iter()
            .zip(&others)
            .filter(|(a, b)| (a.index, a.start, a.bytes) == (b.index, b.start, b.bytes))
            .map(|(a, b)| (&a.value, &b.value)),
    );
    for (a, b) in pairs.filter(|(a, b)| a.content == b.content) {
        if let (Content::Scalar(scalar), Content::Scalar(_)) = (&a.content, &b.content) {
            add(scalar);
        }
    }
}

/// Whether a join of two states of one point loses no kind of knowledge.
fn are_alike(a: &State, b: &State, forced: bool) -> bool {
    if a.shared.references.len() != b.shared.references.len() {
        return false;
    }
    if !forced && a.shared.packet.data != b.shared.packet.data {
        return false;
    }
    let values = |a: &crate::value::Value, b: &crate::value::Value| match (&a.content, &b.content) {
        (Content::Unusable, Content::Unusable) | (Content::Scalar(_), Content::Scalar(_)) => true,
        (Content::Pointer(x), Content::Pointer(y)) => {
            let rigid = matches!(x.region, Region::Stack(_) | Region::Context);
            let regions = match (x.region, y.region) {
                (Region::Record { bytes: x, .. }, Region::Record { bytes: y, .. }) => x == y,
                (x, y) => x == y,
            };
            regions
                && x.nullable == y.nullable
                && (!(rigid || x.nullable) || x.fixed == y.fixed && x.variable == y.variable)
        }
        _ => false,
    };
    a.registers.iter().zip(&b.registers).all(|(a, b)| values(a, b))
        && a.shared.frames.iter().zip(&b.shared.frames).all(|(a, b)| {
            let saved = match (&a.caller, &b.caller) {
                (Some(a), Some(b)) => a.saved.iter().zip(&*b.saved).all(|(a, b)| values(a, b)),
                _ => true,
            };
            let stacks = a.stack.slots.len() == b.stack.slots.len()
                && a.stack.slots.iter().zip(&b.stack.slots).all(|(a, b)| {
                    (a.index, a.initialised) == (b.index, b.initialised)
                        && (!(a.value.is_pointer() || b.value.is_pointer()) || values(&a.value, &b.value))
                });
            saved && stacks
        })
}

/// How much two states have in common.
fn likeness(a: &State, b: &State) -> usize {
    let same = |a: &crate::value::Value, b: &crate::value::Value| match (&a.content, &b.content) {
        (Content::Scalar(_), Content::Scalar(_)) | (Content::Unusable, Content::Unusable) => 2,
        (Content::Pointer(x), Content::Pointer(y)) if x.region == y.region => 4,
        _ => 0,
    };
    a.registers.iter().zip(&b.registers).map(|(a, b)| same(a, b)).sum()
}
