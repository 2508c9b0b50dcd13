//! How the run of an extension ended, and the report when it did not end well.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;
use crate::inspect::{ExtensionId, Registers};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The function returned this value (`int` of `main` sign-extended).
    Returned(i64),
    /// The guest ended it.
    Ended(Box<FaultReport>),
}

/// Why and where loaded code was ended. The shell symbolizes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// The extension whose code it was.
    pub extension: Option<ExtensionId>,
    /// Why.
    pub cause: Cause,
    /// Registers at that moment.
    pub registers: Registers,
    /// Stack contents from `registers.rsp` upward; empty where `rsp` points nowhere.
    pub stack: Vec<u8>,
    /// The gate through which the run had left its domain, if it was outside.
    pub gate: Option<String>,
}

/// Why loaded code was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Page fault: nothing is mapped there, or the mapping forbids it.
    Access {
        /// The address.
        address: GuestAddress,
        /// What was tried.
        attempt: Attempt,
        /// What forbade it.
        denial: Denial,
        /// Whose memory it is, as `mem` names it; `None` where nothing is mapped.
        owner: Option<String>,
    },
    /// A processor exception other than a page fault.
    Exception(Exception),
    /// Used up its CPU time.
    Budget {
        /// What it was given, in milliseconds.
        budget_ms: u32,
    },
    /// The shell asked (Ctrl-C, `kill`), or went away.
    Interrupted,
    /// Passed a gate something that the gate's contract forbids.
    Gate {
        /// Index of the argument, from 0; `None` if it is not about one.
        argument: Option<u8>,
        /// What was wrong with it.
        reason: String,
    },
    /// Freed a block that is not allocated: freed twice, or never handed out.
    BadFree {
        /// The address passed.
        address: GuestAddress,
    },
    /// Nested calls through gates passed [`crate::limits::GATE_DEPTH_MAX`].
    GateDepth,
    /// Ended itself: `uio_abort` or a Rust panic, with its message.
    Abort {
        /// What it said.
        message: String,
    },
    /// Left a gate's or a domain's code by another way than the one meant: the PKRU that was about to be
    /// written is not the domain's.
    GateTampered,
    /// Ran with interrupts off until the watchdog's NMI.
    InterruptsOff,
}

/// What an access tried to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Instruction fetch.
    Execute,
}

/// What forbade an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// No page.
    NotMapped,
    /// The page's permissions.
    Protection,
    /// The page's protection key.
    Key(u8),
    /// The guard page below a stack.
    StackGuard,
    /// A supervisor page, from ring 3.
    Supervisor,
}

/// Processor exceptions that end loaded code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exception {
    /// `#DE`.
    Divide,
    /// `#DB`.
    Debug,
    /// `#BP`.
    Breakpoint,
    /// `#OF`, `#BR`.
    Bounds,
    /// `#UD`.
    InvalidOpcode,
    /// `#SS`.
    Stack,
    /// `#GP`: privileged or unaligned instruction, non-canonical address; with its error code.
    GeneralProtection(u32),
    /// `#MF`.
    X87,
    /// `#AC`.
    Alignment,
    /// `#XM`.
    Simd,
    /// Any other vector.
    Other(u8),
}
