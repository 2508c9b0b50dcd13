//! What the guest sends unasked. Events cost credit; without credit they are dropped and counted,
//! so a slow shell never makes the guest wait. [`Event::Exited`] is kept until it can be sent.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::fault::Outcome;
use crate::inspect::LogLine;
use crate::rpc::RunId;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A run of this session printed.
    Output {
        /// The run.
        run: RunId,
        /// What it printed; need not be UTF-8.
        bytes: Vec<u8>,
    },
    /// A run of this session ended. Nothing more comes from it.
    Exited {
        /// The run.
        run: RunId,
        /// How.
        outcome: Outcome,
        /// CPU time it used, in nanoseconds.
        cpu_time_ns: u64,
        /// Output bytes that were dropped for lack of credit.
        dropped_bytes: u64,
    },
    /// New lines of the log, for sessions that follow it.
    Log(Vec<LogLine>),
    /// Log lines were dropped for lack of credit since the last event.
    LogDropped {
        /// How many.
        lines: u64,
    },
}
