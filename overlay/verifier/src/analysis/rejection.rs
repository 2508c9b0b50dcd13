//! Rejections and their text.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::check::CheckReason;
use crate::reason::Reason;

/// A branch that was taken, or not, on the way to an unsafe instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The jump's slot.
    pub slot: u32,
    /// Whether it jumped.
    pub taken: bool,
}

/// Why a program was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// What the check would say, too.
    Check(CheckReason),
    /// The analysis ran into [`super::Options::max_steps`].
    Steps {
        /// The limit.
        limit: u64,
    },
    /// A loop has no proven bound and [`super::Options::fuel`] is off.
    Unbounded,
    /// One instruction reads different fields of the context on different paths, so that it cannot be rewritten.
    MixedContext,
}

/// Where, why and on which path a program is unsafe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The instruction.
    pub slot: u32,
    /// Why.
    pub reason: RejectionReason,
    /// Branches on the path that leads there, first one first.
    pub path: Vec<Step>,
    /// The state before the instruction, for people.
    pub state: String,
    /// What would help, if something is known to.
    pub suggestion: Option<String>,
}

/// A line of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// The line's text; empty if unknown.
    pub text: String,
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(reason) => write!(out, "{reason}"),
            Self::Steps { limit } => write!(out, "no proof was found within {limit} steps"),
            Self::Unbounded => out.write_str("this loop has no bound that could be proven"),
            Self::MixedContext => out.write_str("reads different fields of the context on different paths"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "instruction {}: {}", self.slot, self.reason)
    }
}

impl core::error::Error for Rejection {}

impl Rejection {
    pub(crate) fn new(slot: u32, reason: RejectionReason) -> Self {
        Self { slot, reason, path: Vec::new(), state: String::new(), suggestion: None }
    }

    /// Notes what usually helps.
    pub(crate) fn suggest(&mut self) {
        let text = match &self.reason {
            RejectionReason::Check(CheckReason::Unsafe(reason)) => match reason {
                Reason::PacketBounds { .. } => {
                    "compare the pointer plus the size of the access with data_end before this access, and use the same pointer afterwards"
                }
                Reason::MaybeNull { .. } => "test the result against NULL before using it",
                Reason::OutOfBounds { .. } => {
                    "bound the index before the access, by a comparison or a mask with a power of two minus one"
                }
                Reason::PointerRange { .. } => "bound the number that is added to the pointer first",
                Reason::UninitialisedStack { .. } => {
                    "initialise the whole variable, padding included: `struct key key = {}` or memset"
                }
                Reason::Uninitialised { register: 1..=5 } => {
                    "calls overwrite r1 to r5, and some helpers make packet pointers stale: load them from the context again"
                }
                Reason::Uninitialised { .. } => "give the variable a value on every path that leads here",
                Reason::Reference { .. } => "submit or discard the record on every path, errors included",
                Reason::Leak { .. } => "store or return a number instead of an address",
                Reason::CallDepth { .. } => "inline some of the functions (`static __always_inline`)",
                Reason::ReadOnly { .. } => "use a variable of your own for the result",
                _ => return,
            },
            RejectionReason::Unbounded => {
                "give the loop a constant bound, or count in a variable that is compared with a bounded number"
            }
            RejectionReason::Steps { .. } => {
                "simplify the program: fewer branches inside of loops, smaller functions"
            }
            RejectionReason::MixedContext => "read the context's field in one place",
            RejectionReason::Check(_) => return,
        };
        self.suggestion = Some(text.into());
    }

    /// The rejection as text of several lines; `source` gives the line that an instruction came from.
    #[must_use]
    pub fn render(&self, program: &str, source: &dyn Fn(u32) -> Option<SourceLine>) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text, program, source);
        text
    }

    fn write(
        &self,
        out: &mut String,
        program: &str,
        source: &dyn Fn(u32) -> Option<SourceLine>,
    ) -> fmt::Result {
        writeln!(out, "error: {program}: {}", self.reason)?;
        match source(self.slot) {
            Some(line) => {
                write!(out, "  --> {}:{}", line.file, line.line)?;
                if line.column > 0 {
                    write!(out, ":{}", line.column)?;
                }
                writeln!(out, " (instruction {})", self.slot)?;
                if !line.text.is_empty() {
                    writeln!(out, "   | {}", line.text.trim_end())?;
                }
            }
            None => writeln!(out, "  --> instruction {}", self.slot)?,
        }
        if !self.state.is_empty() {
            writeln!(out, "   = state: {}", self.state)?;
        }
        if !self.path.is_empty() {
            writeln!(out, "   = path:")?;
            for step in &self.path {
                let way = if step.taken { "jumps" } else { "does not jump" };
                write!(out, "     {:>5} {way}", step.slot)?;
                if let Some(line) = source(step.slot) {
                    write!(out, "   {}:{}  {}", line.file, line.line, line.text.trim())?;
                }
                writeln!(out)?;
            }
        }
        if let Some(suggestion) = &self.suggestion {
            writeln!(out, "   = help: {suggestion}")?;
        }
        Ok(())
    }
}
