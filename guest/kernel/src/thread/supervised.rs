//! Supervised threads: kernel threads that run loaded code, with a budget, and whose end is reported instead of
//! being the end of the guest.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use uio_protocol::fault::{Cause, FaultReport, Outcome};
use uio_protocol::inspect::{ExtensionId, Registers, ThreadId};
use uio_protocol::limits::{RUNS_MAX, STACK_SNAPSHOT_BYTES_MAX};

use super::{Priority, State, Thread, scheduler};
use crate::arch::traps::{TrapFrame, yield_interrupt};
use crate::mm::layout::KEY_KERNEL;
use crate::mm::stacks::Stack;
use crate::mm::{self, OutOfMemory};
use crate::sync::{InterruptLock, InterruptsOff};
use crate::time::{self, timer};

/// Pages of the kernel stack of a supervised thread: gates run on it, nested up to
/// `uio_protocol::limits::GATE_DEPTH_MAX` deep.
const STACK_PAGES: u64 = 16;
/// How long a thread that is to be ended may stay in a gate.
const GATE_GRACE_NS: u64 = 1_000_000_000;

/// What a supervised thread has beside an ordinary one.
pub(crate) struct Supervised {
    pub(crate) extension: Option<ExtensionId>,
    budget_ms: u32,
    /// Why it is to be ended, and since when it has been asked to leave its gate.
    ending: Option<(Cause, u64)>,
}

/// A supervised thread that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The thread.
    pub id: ThreadId,
    /// How.
    pub outcome: Outcome,
    /// CPU time used, in nanoseconds.
    pub cpu_time_ns: u64,
}

struct EndedQueue {
    ended: VecDeque<Ended>,
    watcher: Option<fn()>,
}

static ENDED: InterruptLock<EndedQueue> =
    InterruptLock::new(EndedQueue { ended: VecDeque::new(), watcher: None });

/// Calls `watcher`, from interrupt context too, whenever a supervised thread has ended.
pub fn watch_ended(watcher: fn()) {
    ENDED.with(|queue| queue.watcher = Some(watcher));
}

/// The next supervised thread that has ended.
#[must_use]
pub fn take_ended() -> Option<Ended> {
    ENDED.with(|queue| queue.ended.pop_front())
}

/// Starts `job(argument)` on a supervised thread. `budget_ms` bounds its CPU time; 0 does not.
///
/// # Errors
///
/// [`OutOfMemory`] if there is none for its stack.
pub fn spawn(
    name: &str,
    job: fn(u64) -> i64,
    argument: u64,
    budget_ms: u32,
    extension: Option<ExtensionId>,
) -> Result<ThreadId, OutOfMemory> {
    ENDED.with(|queue| queue.ended.reserve(RUNS_MAX));
    let stack = Stack::new(STACK_PAGES, KEY_KERNEL, name)?;
    let mut frame = TrapFrame::start(run_job as *const () as u64, stack.top(), job as *const () as u64);
    frame.rsi = argument;
    let supervised = Box::new(Supervised { extension, budget_ms, ending: None });
    Ok(scheduler::add(name, Priority::Extension, frame, Some(stack), Some(supervised)))
}

/// First function of every supervised thread.
extern "C" fn run_job(job: fn(u64) -> i64, argument: u64) {
    let value = job(argument);
    let _off = InterruptsOff::new();
    scheduler::with_thread(scheduler::current(), |thread| retire(thread, Outcome::Returned(value)));
    yield_interrupt();
    unreachable!("an ended thread was resumed");
}

/// Marks a thread as ended and queues the news.
fn retire(thread: &mut Thread, outcome: Outcome) {
    let ended = Ended { id: thread.id, outcome, cpu_time_ns: thread.cpu_time_ns() };
    thread.state = State::Exited;
    let watcher = ENDED.with(|queue| {
        queue.ended.push_back(ended);
        queue.watcher
    });
    if let Some(watcher) = watcher {
        watcher();
    }
}

/// Whether the running thread is supervised and to be ended.
#[must_use]
pub fn is_ending() -> bool {
    scheduler::with_thread(scheduler::current(), |thread| {
        thread.supervised.as_ref().is_some_and(|supervised| supervised.ending.is_some())
    })
    .unwrap_or(false)
}

/// Whether the running thread is supervised.
pub(crate) fn is_current() -> bool {
    scheduler::with_thread(scheduler::current(), |thread| thread.supervised.is_some()).unwrap_or(false)
}

/// A report on code that was stopped with these registers.
fn report(cause: Cause, registers: Registers) -> Outcome {
    let mut stack = Vec::new();
    let mut chunk = [0; 256];
    // As far up as memory is mapped; an `rsp` that points nowhere gives none.
    while stack.len() < STACK_SNAPSHOT_BYTES_MAX {
        let at = registers.rsp.wrapping_add(stack.len() as u64);
        if mm::read(at, &mut chunk).is_ok() {
            stack.extend_from_slice(&chunk);
        } else if mm::read(at, &mut chunk[..8]).is_ok() {
            stack.extend_from_slice(&chunk[..8]);
        } else {
            break;
        }
    }
    Outcome::Ended(Box::new(FaultReport { extension: None, cause, registers, stack, gate: None }))
}

/// Ends the running supervised thread, whose context is `frame`, and puts the next thread's there.
pub(crate) fn end_in_trap(frame: &mut TrapFrame, cause: Cause) {
    let outcome = report(cause, frame.registers());
    scheduler::with_thread(scheduler::current(), |thread| retire(thread, outcome));
    scheduler::switch(frame);
}
