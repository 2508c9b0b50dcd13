//! Output and ends of runs, kept until whoever started the run takes them.
//!
//! What is kept is bounded by the credit of the session: credit goes back only as output is taken.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uio_protocol::fault::Outcome;
use uio_protocol::programs::TestRun;
use uio_protocol::rpc::RunId;

use super::{Client, ClientError};
use crate::lock;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The value or the fault.
    pub outcome: Outcome,
    /// CPU time used, in nanoseconds.
    pub cpu_time_ns: u64,
    /// Output bytes lost because this side was too slow.
    pub dropped_bytes: u64,
}

/// What a run said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// It printed.
    Output(Vec<u8>),
    /// It was an eBPF program, and this came of it.
    Tested(TestRun),
    /// It ended; nothing follows.
    Ended(RunEnd),
}

#[derive(Default)]
pub(crate) struct Runs {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queues {
    waiting: HashMap<RunId, VecDeque<(RunEvent, u32)>>,
    /// Runs that a reply named and that have not ended.
    started: HashSet<RunId>,
    /// Events of runs that no reply named: constructors, `init`, `exit`.
    unnamed: Vec<(RunEvent, u32)>,
    /// Runs that nobody listens to any more, until their end passes by.
    abandoned: Vec<RunId>,
    closed: bool,
}

impl Runs {
    /// A reply has named this run; what it says is for whoever listens to it.
    pub(crate) fn started(&self, run: RunId) {
        lock(&self.queues).started.insert(run);
    }

    /// Keeps an event until it is taken; `false` if nobody will, so that its credit is due at once.
    pub(crate) fn push(&self, run: RunId, event: RunEvent, frame_bytes: u32) -> bool {
        let mut queues = lock(&self.queues);
        if let Some(index) = queues.abandoned.iter().position(|&abandoned| abandoned == run) {
            if matches!(event, RunEvent::Ended(_)) {
                queues.abandoned.swap_remove(index);
            }
            return false;
        }
        if !queues.started.contains(&run) {
            queues.unnamed.push((event, frame_bytes));
            return true;
        }
        if matches!(event, RunEvent::Ended(_)) {
            queues.started.remove(&run);
        }
        queues.waiting.entry(run).or_default().push_back((event, frame_bytes));
        drop(queues);
        self.arrived.notify_all();
        true
    }

    pub(crate) fn close(&self) {
        lock(&self.queues).closed = true;
        self.arrived.notify_all();
    }
}

/// The events of one run, in order.
pub struct RunStream<'client> {
    client: &'client Client,
    run: RunId,
    ended: bool,
}

impl Client {
    /// Listens to a run that this session started.
    #[must_use]
    pub fn run_events(&self, run: RunId) -> RunStream<'_> {
        RunStream { client: self, run, ended: false }
    }

    /// Takes what constructors, `init`, `exit` and destructors have printed so far. They run before the
    /// reply to the load or unload, so after it their output is complete.
    #[must_use]
    pub fn take_unnamed_output(&self) -> Vec<u8> {
        let events = std::mem::take(&mut lock(&self.shared.runs.queues).unnamed);
        self.shared.take(events.iter().map(|(_, bytes)| bytes).sum());
        let outputs = events.into_iter().filter_map(|(event, _)| match event {
            RunEvent::Output(bytes) => Some(bytes),
            RunEvent::Tested(_) | RunEvent::Ended(_) => None,
        });
        outputs.flatten().collect()
    }
}

impl RunStream<'_> {
    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The next event, or `None` after `timeout` without one.
    ///
    /// # Errors
    ///
    /// [`ClientError::Closed`] when the guest is gone.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<RunEvent>, ClientError> {
        let shared = &self.client.shared;
        let deadline = Instant::now() + timeout;
        let mut queues = lock(&shared.runs.queues);
        loop {
            if let Some((event, frame_bytes)) =
                queues.waiting.get_mut(&self.run).and_then(VecDeque::pop_front)
            {
                if matches!(event, RunEvent::Ended(_)) {
                    queues.waiting.remove(&self.run);
                    self.ended = true;
                }
                drop(queues);
                shared.take(frame_bytes);
                return Ok(Some(event));
            }
            if queues.closed {
                return Err(ClientError::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            queues = shared.runs.arrived.wait_timeout(queues, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for RunStream<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let shared = &self.client.shared;
        let mut queues = lock(&shared.runs.queues);
        let left = queues.waiting.remove(&self.run).unwrap_or_default();
        if !left.iter().any(|(event, _)| matches!(event, RunEvent::Ended(_))) {
            queues.abandoned.push(self.run);
        }
        drop(queues);
        shared.take(left.iter().map(|(_, bytes)| bytes).sum());
    }
}
