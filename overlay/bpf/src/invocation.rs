//! What one run of a program knows beside its registers.

use core::cell::Cell;
use core::fmt;

use uio_protocol::bpf::ProgramKind;

use crate::services::Services;

/// Handed to every helper as its sixth argument, and to compiled code, which reads and writes some of its fields.
#[repr(C)]
pub struct Invocation<'a> {
    /// Address of the context: what R1 holds at the start, and again after a tail call.
    pub context: u64,
    /// What R2 holds at the start: the size of a raw program's memory.
    pub context_bytes: u64,
    /// Passes left over those back edges that have no ranking argument. The run ends when it would go below zero.
    pub fuel: Cell<i64>,
    /// Machine stack pointer to which compiled code goes back when it stops early.
    pub(crate) unwind: Cell<u64>,
    /// A [`Stopped`] by number, 0 while running.
    pub(crate) stopped: Cell<u32>,
    /// Tail calls so far.
    pub(crate) tail_calls: Cell<u32>,
    /// The machine.
    pub services: &'a dyn Services,
    /// What kind of program runs.
    pub kind: ProgramKind,
}

/// Passes over marked back edges that a run gets if nobody says otherwise: some milliseconds.
pub const DEFAULT_FUEL: i64 = 1 << 20;

/// Tail calls in one run, as in Linux (`MAX_TAIL_CALL_CNT`).
pub const TAIL_CALLS_MAX: u32 = 33;

impl<'a> Invocation<'a> {
    /// A run of a program of `kind` whose R1 is `context` and, for raw programs, whose R2 is `context_bytes`.
    #[must_use]
    pub fn new(kind: ProgramKind, context: u64, context_bytes: u64, services: &'a dyn Services) -> Self {
        Self {
            context,
            context_bytes,
            fuel: Cell::new(DEFAULT_FUEL),
            unwind: Cell::new(0),
            stopped: Cell::new(0),
            tail_calls: Cell::new(0),
            services,
            kind,
        }
    }

    /// Makes it ready for another run with the same context.
    pub fn again(&self) {
        self.fuel.set(DEFAULT_FUEL);
        self.stopped.set(0);
        self.tail_calls.set(0);
    }

    /// Counts a tail call; false when there have been [`TAIL_CALLS_MAX`].
    pub(crate) fn count_tail_call(&self) -> bool {
        let count = self.tail_calls.get();
        self.tail_calls.set(count + 1);
        count < TAIL_CALLS_MAX
    }
}

/// Why a run ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stopped {
    /// [`Invocation::fuel`] ran out.
    Fuel = 1,
    /// A call through a register that holds no function of the program.
    Callee = 2,
    /// More frames than [`crate::program::FRAMES_MAX`].
    Depth = 3,
    /// Ran past the last instruction of a function.
    End = 4,
    /// The observer refused the instruction or access.
    Refused = 5,
}

impl Stopped {
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Fuel),
            2 => Some(Self::Callee),
            3 => Some(Self::Depth),
            4 => Some(Self::End),
            5 => Some(Self::Refused),
            _ => None,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fuel => "ran out of fuel in a loop without a proven bound",
            Self::Callee => "called through a register that holds no function of the program",
            Self::Depth => "called functions too deeply",
            Self::End => "ran past the end of a function",
            Self::Refused => "was stopped by its observer",
        })
    }
}

impl core::error::Error for Stopped {}
