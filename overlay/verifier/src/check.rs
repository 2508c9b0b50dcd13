//! The guest's half: one walk over program and proof.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use uio_bpf::instruction::{DecodeError, Operation};
use uio_protocol::bpf::ObjectImage;

use crate::program::Program;
use crate::proof::{Proof, ProofError, Rank};
use crate::reason::Reason;
use crate::state::{Head, State};
use crate::transfer::{Edge, Next, Usage, Way, step};
use crate::value::Content;

/// What is known of a program that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of stack that each function may touch below its R10, parallel to `ProgramImage::functions`; at most 512.
    pub frame_bytes: Vec<u32>,
    /// Bound of the stack in use at once, over all chains of calls.
    pub stack_bytes: u32,
    /// Most functions active at once, the entry included.
    pub call_depth: u32,
    /// Backward jumps, by slot and ascending, that have to be counted at run time and ended by fuel: their loops
    /// have no proven bound.
    pub fuel: Vec<u32>,
    /// Numbers of the helpers that may be called, ascending.
    pub helpers: Vec<u32>,
    /// Indexes of the maps that may be used, ascending.
    pub maps: Vec<u32>,
    /// What the check did.
    pub statistics: Statistics,
}

/// What a check or an analysis did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Instructions visited, repeated visits included.
    pub instructions: u64,
    /// States that the proof holds.
    pub states: u64,
    /// States that waited at once.
    pub waiting: u64,
}

/// Why a program with its proof is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// Instruction at which the check stopped.
    pub slot: u32,
    /// Why.
    pub reason: CheckReason,
}

/// See [`CheckError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named after what they hold")]
pub enum CheckReason {
    /// The object has no program with this index.
    NoProgram { programs: u32 },
    /// The program is empty or larger than any that is accepted.
    Length { slots: u32, limit: u32 },
    /// A slot is no instruction.
    Decode(DecodeError),
    /// The list of functions does not fit the program.
    Functions,
    /// A jump from one function into another, or a call to where no function starts.
    Leaves { target: u32 },
    /// The proof is malformed.
    Proof(ProofError),
    /// An instruction is not safe in a state that the proof allows.
    Unsafe(Reason),
    /// A state that reaches this point is not among those that the proof states.
    NotIncluded,
    /// A loop's ranking argument does not hold.
    Endless,
    /// The check would take longer than the size of program and proof allows.
    Budget { limit: u64 },
}

impl fmt::Display for CheckError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "instruction {}: {}", self.slot, self.reason)
    }
}

impl fmt::Display for CheckReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { programs } => write!(out, "the object has only {programs} programs"),
            Self::Length { slots, limit } => write!(out, "{slots} slots, of at most {limit}"),
            Self::Decode(error) => write!(out, "{error}"),
            Self::Functions => out.write_str("the functions do not divide the program"),
            Self::Leaves { target } => write!(out, "leads to {target} in another function"),
            Self::Proof(error) => write!(out, "{error}"),
            Self::Unsafe(reason) => write!(out, "{reason}"),
            Self::NotIncluded => out.write_str("the proof does not cover a state that reaches this point"),
            Self::Endless => out.write_str("the proof does not show that this loop ends"),
            Self::Budget { limit } => write!(out, "more than {limit} steps"),
        }
    }
}

impl core::error::Error for CheckError {}

/// Steps of the check for every slot of the program and every state of the proof.
const STEPS: u64 = 64;

/// Steps that even the smallest program may take.
const STEPS_AT_LEAST: u64 = 4096;

/// States that may wait at once.
const MAX_WAITING: usize = 1 << 16;

/// Most passes of a loop that a ranking argument may allow; longer ones need fuel.
pub(crate) const MAX_PASSES: i64 = 1 << 23;

/// Instructions looked at to find out which way of a branch ends sooner.
const NEAR: u32 = 16;

/// Checks that program number `program` of `object` is safe, believing nothing of `proof`.
///
/// Time and memory are linear in the size of program and proof.
///
/// # Errors
///
/// [`CheckError`] for the first thing that is not safe or not proven.
pub fn check(object: &ObjectImage, program: usize, proof: &Proof) -> Result<Checked, CheckError> {
    let program = Program::new(object, program)?;
    let mut walk = Walk::new(&program, proof)?;
    walk.run()?;
    Ok(walk.finish())
}

/// What stands at a slot.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// Index of the proof's point, plus 1.
    point: u32,
    /// Index of the loop's ranking argument, plus 1.
    rank: u32,
    fuel: bool,
    /// A function starts here.
    boundary: bool,
}

struct Walk<'a> {
    program: &'a Program<'a>,
    proof: &'a Proof,
    marks: Vec<Mark>,
    usage: Usage,
    /// States at slots, to be walked from.
    waiting: Vec<(Box<State>, u32)>,
    /// Which states of each point were reached.
    reached: Vec<Vec<bool>>,
    /// Reached and not yet walked from: point and state.
    pending: Vec<(u32, u32)>,
    fuel: BTreeSet<u32>,
    steps: u64,
    limit: u64,
    most_waiting: usize,
    /// By slot, if wanted, the states that were held before its instruction.
    #[cfg(feature = "oracle")]
    seen: Option<Vec<Vec<State>>>,
}

/// As [`check`], and gives by slot all states that it held before the instruction there.
///
/// # Errors
///
/// As [`check`].
#[cfg(feature = "oracle")]
pub(crate) fn check_seen(
    object: &ObjectImage,
    program: usize,
    proof: &Proof,
) -> Result<(Checked, Vec<Vec<State>>), CheckError> {
    let program = Program::new(object, program)?;
    let mut walk = Walk::new(&program, proof)?;
    walk.seen = Some(alloc::vec![Vec::new(); program.code.len() as usize]);
    walk.run()?;
    let seen = walk.seen.take().unwrap_or_default();
    Ok((walk.finish(), seen))
}

impl<'a> Walk<'a> {
    fn new(program: &'a Program<'a>, proof: &'a Proof) -> Result<Self, CheckError> {
        let malformed = |slot, error| CheckError { slot, reason: CheckReason::Proof(error) };
        let mut marks = alloc::vec![Mark::default(); program.code.len() as usize];
        for function in &program.functions {
            if let Some(mark) = marks.get_mut(*function as usize) {
                mark.boundary = true;
            }
        }
        let mut last = None;
        for (index, point) in proof.points.iter().enumerate() {
            if last >= Some(point.slot) || program.code.get(point.slot).is_none() {
                return Err(malformed(point.slot, ProofError::Point));
            }
            last = Some(point.slot);
            marks[point.slot as usize].point = index as u32 + 1;
        }
        let mut last = None;
        for (index, rank) in proof.ranks.iter().enumerate() {
            let apart = rank.max.checked_sub(rank.min);
            if last >= Some(rank.head)
                || program.code.get(rank.head).is_none()
                || !apart.is_some_and(|apart| (0..=MAX_PASSES).contains(&apart))
            {
                return Err(malformed(rank.head, ProofError::Order));
            }
            last = Some(rank.head);
            marks[rank.head as usize].rank = index as u32 + 1;
        }
        for head in &proof.fuel {
            marks.get_mut(*head as usize).ok_or(malformed(*head, ProofError::Point))?.fuel = true;
        }
        let states = proof.states() as u64;
        Ok(Self {
            program,
            proof,
            usage: Usage::new(program),
            waiting: alloc::vec![(Box::new(program.entry()), 0)],
            reached: proof.points.iter().map(|point| alloc::vec![false; point.states.len()]).collect(),
            pending: Vec::new(),
            fuel: BTreeSet::new(),
            steps: 0,
            limit: STEPS_AT_LEAST + STEPS * (marks.len() as u64 + states),
            most_waiting: 0,
            #[cfg(feature = "oracle")]
            seen: None,
            marks,
        })
    }

    fn run(&mut self) -> Result<(), CheckError> {
        loop {
            if let Some((state, slot)) = self.waiting.pop() {
                self.follow(state, slot, false)?;
            } else if let Some((point, index)) = self.pending.pop() {
                let point = &self.proof.points[point as usize];
                let state = point.states[index as usize]
                    .state()
                    .map_err(|error| CheckError { slot: point.slot, reason: CheckReason::Proof(error) })?;
                self.follow(Box::new(state), point.slot, true)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Walks until the program ends or a point of the proof is reached; other ways of branches wait.
    fn follow(&mut self, mut state: Box<State>, mut slot: u32, mut stated: bool) -> Result<(), CheckError> {
        loop {
            let at = |reason| CheckError { slot, reason };
            let mark = self.marks.get(slot as usize).ok_or(at(CheckReason::Unsafe(Reason::FallsOut)))?;
            if mark.point != 0 && !stated {
                return if self.arrive(&state, mark.point - 1) {
                    Ok(())
                } else {
                    Err(at(CheckReason::NotIncluded))
                };
            }
            stated = false;
            self.steps += 1;
            if self.steps > self.limit {
                return Err(at(CheckReason::Budget { limit: self.limit }));
            }
            let operation = self.program.code.get(slot).ok_or(at(CheckReason::Unsafe(Reason::FallsOut)))?;
            #[cfg(feature = "oracle")]
            if let Some(seen) = self.seen.as_mut().and_then(|seen| seen.get_mut(slot as usize)) {
                seen.push((*state).clone());
            }
            let next = step(self.program, &mut self.usage, &mut state, slot, operation)
                .map_err(|reason| at(CheckReason::Unsafe(reason)))?;
            slot = match next {
                Next::Stop => return Ok(()),
                Next::One(edge) => {
                    self.pass(&mut state, slot, edge).map_err(at)?;
                    edge.to
                }
                Next::Two(first, second, mut other) => {
                    self.pass(&mut state, slot, first).map_err(at)?;
                    self.pass(&mut other, slot, second).map_err(at)?;
                    if self.waiting.len() >= MAX_WAITING {
                        return Err(at(CheckReason::Budget { limit: MAX_WAITING as u64 }));
                    }
                    // The way that ends sooner goes first, so that few states wait.
                    let (now, later) = if self.ends_soon(first.to) {
                        ((state, first.to), (other, second.to))
                    } else {
                        ((other, second.to), (state, first.to))
                    };
                    self.waiting.push(later);
                    self.most_waiting = self.most_waiting.max(self.waiting.len());
                    state = now.0;
                    now.1
                }
            };
        }
    }

    /// Whether straight code from `slot` soon reaches an exit, a jump or a point of the proof.
    fn ends_soon(&self, slot: u32) -> bool {
        for slot in slot..slot.saturating_add(NEAR) {
            match self.program.code.get(slot) {
                Some(Operation::Exit | Operation::Jump { .. }) => return true,
                Some(Operation::JumpIf { .. }) => return false,
                _ => {}
            }
            if self.marks.get(slot as usize).is_none_or(|mark| mark.point != 0) {
                return true;
            }
        }
        false
    }

    /// Whether a point's facts cover `state`; if so, they are walked from, too.
    fn arrive(&mut self, state: &State, point: u32) -> bool {
        let facts = &self.proof.points[point as usize].states;
        let reached = &mut self.reached[point as usize];
        for (index, facts) in facts.iter().enumerate() {
            self.steps += 1;
            if facts.include(state) {
                if !reached[index] {
                    reached[index] = true;
                    self.pending.push((point, index as u32));
                }
                return true;
            }
        }
        false
    }

    /// Takes the edge from `from`: every pass of a loop's head has to bring the loop nearer to its end.
    fn pass(&mut self, state: &mut State, from: u32, edge: Edge) -> Result<(), CheckReason> {
        let mark = self.marks.get(edge.to as usize).ok_or(CheckReason::Unsafe(Reason::FallsOut))?;
        if edge.way == Way::Fall && mark.boundary {
            return Err(CheckReason::Unsafe(Reason::FallsOut));
        }
        let back = edge.way == Way::Jump && edge.to <= from;
        if mark.fuel {
            if back {
                leave_inner(state, edge.to);
                self.fuel.insert(from);
            }
            return Ok(());
        }
        let rank = mark.rank.checked_sub(1).map(|index| &self.proof.ranks[index as usize]);
        pass_head(state, edge.to, back, rank)
    }

    fn finish(self) -> Checked {
        let usage = self.usage;
        Checked {
            stack_bytes: usage.stack_bytes(self.program),
            call_depth: usage.call_depth,
            fuel: self.fuel.into_iter().collect(),
            helpers: usage.helpers,
            maps: usage.maps,
            statistics: Statistics {
                instructions: self.steps,
                states: self.proof.states() as u64,
                waiting: self.most_waiting as u64,
            },
            frame_bytes: usage.frame_bytes,
        }
    }
}

/// Going back to `head` begins all loops behind it anew.
pub(crate) fn leave_inner(state: &mut State, head: u32) {
    if state.frame().heads.iter().any(|active| active.slot > head) {
        state.frame_mut().heads.retain(|active| active.slot <= head);
    }
}

/// Passes the head of a loop, by a backward jump (`back`) or from before it.
///
/// Why this makes loops end: an endless run passes some lowest head in some frame endlessly often and no lower one.
/// From then on that head stays active, and once a state of the proof lies between two passes it is carried. Each
/// further pass then moves the same counter in the same direction within bounds, which cannot go on.
///
/// # Errors
///
/// [`CheckReason::Endless`] if the loop makes no progress, or leaves its bounds.
pub(crate) fn pass_head(
    state: &mut State,
    head: u32,
    back: bool,
    rank: Option<&Rank>,
) -> Result<(), CheckReason> {
    if back {
        leave_inner(state, head);
    } else if rank.is_none() {
        return Ok(());
    }
    let active = state.frame().heads.iter().find(|active| active.slot == head).copied();
    let counter = rank.map(|rank| (rank, state.at(rank.location)));
    if back && active.is_some_and(|active| active.carried) {
        let progresses = counter.as_ref().is_some_and(|(rank, value)| {
            let progress = value.as_ref().and_then(|value| {
                value
                    .progress
                    .iter()
                    .flatten()
                    .find(|progress| progress.head == head && progress.origin == rank.location)
            });
            progress.is_some_and(|progress| if rank.up { progress.min >= 1 } else { progress.max <= -1 })
        });
        if !progresses {
            return Err(CheckReason::Endless);
        }
    }
    if let Some((rank, value)) = &counter {
        let bounds = value.as_ref().and_then(|value| match &value.content {
            Content::Scalar(scalar) => Some((scalar.smin(), scalar.smax())),
            Content::Pointer(pointer) if !pointer.nullable => pointer.offsets(0),
            Content::Pointer(_) | Content::Unusable => None,
        });
        if !bounds.is_some_and(|(min, max)| min >= rank.min && max <= rank.max) {
            return Err(CheckReason::Endless);
        }
        state.forget_progress(head);
        state.change_at(rank.location, &mut |value| value.begin(head, rank.location));
    }
    if active.is_none() {
        state.frame_mut().heads.push(Head { slot: head, carried: false });
    }
    Ok(())
}
