//! What the guest sends unasked. Events cost credit, which the shell gives back as it reads. Without
//! credit, output waits in a buffer and then the run that prints does, as at a pipe; log lines wait in the log
//! until it overwrites them, which is counted; [`Event::Exited`] is kept until it can be sent. So a
//! slow shell never makes the guest wait.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::fault::Outcome;
use crate::inspect::LogLine;
use crate::programs::TestRun;
use crate::rpc::RunId;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A run of this session printed. Constructors, `init`, `exit` and destructors print under a run
    /// number that no reply named, before the reply to the load or unload.
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
        /// Output bytes that were dropped. Zero for runs that a request started: they wait instead.
        dropped_bytes: u64,
    },
    /// New lines of the log, for sessions that follow it.
    Log(Vec<LogLine>),
    /// Log lines were overwritten before they could be sent, since the last event.
    LogDropped {
        /// How many.
        lines: u64,
    },
    /// A run of an eBPF program of this session has returned; its [`Event::Exited`] follows.
    Tested {
        /// The run.
        run: RunId,
        /// How it went.
        test: TestRun,
    },
}
