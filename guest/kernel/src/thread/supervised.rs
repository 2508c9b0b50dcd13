//! Supervised threads: kernel threads that run loaded code, with a budget, and whose end is reported instead of
//! being the end of the guest.
//!
//! Such a thread is either *in a domain* (loaded code runs: it can be ended at any instruction) or in the host on
//! the domain's behalf, in a gate (kernel code runs, which may hold locks: its end waits until it leaves the
//! gate, its waits are given up meanwhile). `uio_isolation` tells the two apart to the instruction.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use uio_isolation::gate::{self, GateContext, Settled};
use uio_isolation::pkru::Pkru;
use uio_protocol::fault::{Cause, FaultReport, Outcome};
use uio_protocol::inspect::{ExtensionId, Registers, ThreadId};
use uio_protocol::limits::RUNS_MAX;

use super::ring3::{self, Ring3};
use super::{Priority, State, Thread, scheduler};
use crate::arch::cpu;
use crate::arch::traps::{TrapFrame, yield_interrupt};
use crate::mm::layout::KEY_KERNEL;
use crate::mm::stacks::Stack;
use crate::mm::{self, OutOfMemory};
use crate::sync::{InterruptLock, InterruptsOff};
use crate::time::{self, timer};

/// Pages of the kernel stack of a supervised thread: gates run on it, nested up to
/// `uio_protocol::limits::GATE_DEPTH_MAX` deep, some 2 KiB each.
const STACK_PAGES: u64 = 24;
/// How long a thread that is to be ended may go on running in a gate.
const GATE_GRACE_NS: u64 = 1_000_000_000;

/// What a supervised thread has beside an ordinary one.
pub(crate) struct Supervised {
    pub(crate) extension: Option<ExtensionId>,
    pub(crate) context: Box<GateContext>,
    pub(crate) ring3: Ring3,
    budget_ms: u32,
    /// Why it is to be ended, and since when it has been asked to leave its gate.
    ending: Option<(Cause, u64)>,
}

impl Supervised {
    /// When the timer has to look at it, if it goes on running from `now` on.
    pub(crate) fn deadline(&self, used_ns: u64, now: u64) -> u64 {
        match &self.ending {
            Some((_, since)) => since + GATE_GRACE_NS,
            None if self.budget_ms == 0 => timer::NEVER,
            None => now + (u64::from(self.budget_ms) * 1_000_000).saturating_sub(used_ns),
        }
    }

    /// Whether the code with this context is loaded code. The context was settled.
    fn in_domain(&self, frame: &TrapFrame) -> bool {
        frame.is_ring3() || self.context.in_domain()
    }
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
    let mut frame = TrapFrame::start(run_job as *const () as u64, stack.top(), job as usize as u64);
    frame.rsi = argument;
    let supervised = Box::new(Supervised {
        extension,
        context: Box::new(GateContext::new()),
        ring3: Ring3::default(),
        budget_ms,
        ending: None,
    });
    Ok(scheduler::add(name, Priority::Extension, frame, Some(stack), Some(supervised)))
}

/// First function of every supervised thread.
#[expect(improper_ctypes_definitions, reason = "the pointer comes from `spawn`, which has the same type")]
extern "C" fn run_job(job: fn(u64) -> i64, argument: u64) {
    let value = job(argument);
    leave(Outcome::Returned(value));
}

/// Marks a thread as ended. If it was told to end before, that is why. To be [`announce`]d outside the scheduler.
fn retire(thread: &mut Thread, mut outcome: Outcome) -> Ended {
    let ending = thread.supervised.as_mut().and_then(|supervised| supervised.ending.take());
    if let (Outcome::Ended(report), Some((cause, _))) = (&mut outcome, ending) {
        report.cause = cause;
    }
    let cpu_time_ns = thread.cpu_time_ns();
    thread.state = State::Exited;
    Ended { id: thread.id, outcome, cpu_time_ns }
}

/// Queues the news of a thread's end. Interrupts are off until that thread has left the CPU.
fn announce(ended: Ended) {
    let watcher = ENDED.with(|queue| {
        queue.ended.push_back(ended);
        queue.watcher
    });
    if let Some(watcher) = watcher {
        watcher();
    }
}

/// Ends the running thread, from its own code.
fn leave(outcome: Outcome) -> ! {
    let _off = InterruptsOff::new();
    announce(scheduler::with_current(|thread| retire(thread, outcome)));
    yield_interrupt();
    unreachable!("an ended thread was resumed");
}

/// Whether the running thread is supervised and to be ended.
#[must_use]
pub fn is_ending() -> bool {
    scheduler::with_current(|thread| {
        thread.supervised.as_ref().is_some_and(|supervised| supervised.ending.is_some())
    })
}

/// Whether the running thread is supervised.
pub(crate) fn is_current() -> bool {
    scheduler::with_current(|thread| thread.supervised.is_some())
}

/// Makes the thread's gate context, or none, the one that gates and trap exits go by.
pub(crate) fn publish(thread: &Thread) {
    let context = thread.supervised.as_ref().map(|supervised| &*supervised.context);
    // SAFETY: the context is boxed in the thread that runs next and lives as long as it; the scheduler
    // publishes another one before it drops the thread.
    unsafe { gate::set_current(context) };
}

/// Brings the running thread's gate context and the interrupted code in step, before anything looks at either.
/// Returns false if the code had more rights than it was entitled to.
pub(crate) fn settle(frame: &mut TrapFrame) -> bool {
    if frame.is_ring3() {
        return true;
    }
    let Some(context) = gate::current() else {
        return true;
    };
    let saved = Pkru::from_bits(frame.key_rights as u32);
    // SAFETY: the published context belongs to the running thread, see `publish`.
    let settled = gate::settle(cpu::backend(), unsafe { &*context }, frame.rip, saved);
    match settled {
        Settled::Resume { rip } => {
            frame.rip = rip;
            true
        }
        Settled::Tampered => false,
    }
}

/// Whether interrupted code of the running thread is loaded code. It was settled.
pub(crate) fn is_domain_code(frame: &TrapFrame) -> bool {
    scheduler::with_current(|thread| {
        thread.supervised.as_ref().is_some_and(|supervised| supervised.in_domain(frame))
    })
}

/// A report on code that was stopped with these registers.
fn report(cause: Cause, registers: Registers) -> Outcome {
    let stack = mm::copy_stack(registers.rsp);
    Outcome::Ended(Box::new(FaultReport { extension: None, cause, registers, stack, gate: None }))
}

/// Ends the running supervised thread, whose context is `frame`, and puts the next thread's there.
pub(crate) fn end_in_trap(frame: &mut TrapFrame, cause: Cause) {
    // A fault inside a gate is shown at the call that led there: that is what its author can change.
    let registers = scheduler::with_current(|thread| {
        let supervised = thread.supervised.as_ref()?;
        if supervised.in_domain(frame) { None } else { caller(supervised) }
    });
    let outcome = report(cause, registers.unwrap_or_else(|| frame.registers()));
    announce(scheduler::with_current(|thread| retire(thread, outcome)));
    scheduler::switch(frame);
}

/// Registers with which loaded code called the gate that is being served.
fn caller(supervised: &Supervised) -> Option<Registers> {
    if let Some(frame) = supervised.ring3.caller() {
        return Some(frame.registers());
    }
    let call = supervised.context.call()?;
    // SAFETY: the call lies on the thread's kernel stack and stays until the gate is left; the thread is the running
    // one, or it is stopped.
    let call = unsafe { call.as_ref() };
    let [rdi, rsi, rdx, rcx, r8, r9] = call.args;
    Some(Registers {
        rdi,
        rsi,
        rdx,
        rcx,
        r8,
        r9,
        rax: call.gate_index,
        rip: call.return_address,
        rsp: call.domain_rsp,
        rbp: call.domain_rbp,
        rflags: call.rflags,
        ..Registers::default()
    })
}

/// Ends the running supervised thread from inside a gate.
///
/// # Panics
///
/// If the running thread is not supervised: that is a bug in the kernel.
pub fn end_current(cause: Cause) -> ! {
    let registers =
        scheduler::with_current(|thread| thread.supervised.as_ref().map(|supervised| caller(supervised)));
    let registers = registers.expect("only supervised threads end otherwise than by returning");
    leave(report(cause, registers.unwrap_or_default()));
}

/// Ends a supervised thread: at once if it is in a domain, else when it leaves its gate.
pub fn end(id: ThreadId, cause: Cause) {
    let stopped = scheduler::with_thread(id, |thread| {
        if matches!(thread.state, State::Exited | State::Running) {
            return None;
        }
        let supervised = thread.supervised.as_mut()?;
        if supervised.in_domain(&thread.frame) {
            return Some(thread.frame.registers());
        }
        request(supervised, cause.clone());
        None
    })
    .flatten();
    match stopped {
        Some(registers) => {
            let outcome = report(cause, registers);
            let ended = scheduler::with_thread(id, |thread| retire(thread, outcome));
            scheduler::remove_ended(id);
            if let Some(ended) = ended {
                announce(ended);
            }
        }
        // It may be waiting in a gate: the wait looks whether it is to be given up.
        None => scheduler::wake(id),
    }
}

/// Asks a thread that is in a gate to end when it leaves it. The first reason stays.
fn request(supervised: &mut Supervised, cause: Cause) {
    supervised.context.request_kill();
    supervised.ending.get_or_insert((cause, time::now_ns()));
}

/// The timer went off: ends the running thread if its budget is used up.
pub(crate) fn check_budget(frame: &mut TrapFrame) {
    let now = time::now_ns();
    let cause = scheduler::with_current(|thread| {
        let used = thread.cpu_time_ns();
        let supervised = thread.supervised.as_mut()?;
        let budget_ms = supervised.budget_ms;
        let spent = budget_ms != 0 && used >= u64::from(budget_ms) * 1_000_000;
        let overstayed = supervised.ending.as_ref().is_some_and(|(_, since)| now >= since + GATE_GRACE_NS);
        let cause = Cause::Budget { budget_ms };
        if overstayed || spent && supervised.in_domain(frame) {
            return Some(cause);
        }
        if spent {
            request(supervised, cause);
        }
        None
    });
    if let Some(cause) = cause {
        end_in_trap(frame, cause);
    }
}

/// A non-maskable interrupt: the watchdog of the machine's owner saw no sign of life. Loaded code that runs with
/// interrupts off is ended; anything else goes on.
pub(crate) fn check_interrupts_off(frame: &mut TrapFrame) {
    let in_domain = scheduler::try_with_current(|thread| {
        thread.supervised.as_ref().is_some_and(|supervised| supervised.in_domain(frame))
    });
    if in_domain == Some(true) && frame.rflags & TrapFrame::INTERRUPT_FLAG == 0 {
        end_in_trap(frame, Cause::InterruptsOff);
    }
}

/// A gate, or the end of a domain's run, with interrupts off: no code of the host may run so.
pub fn check_interrupts() {
    if !cpu::interrupts_enabled() {
        x86_64::instructions::interrupts::enable();
        end_current(Cause::InterruptsOff);
    }
}

/// A gate call from ring 3, or the return of code that ran there.
pub(crate) fn ring3_gate(frame: &mut TrapFrame) {
    if !ring3::gate(frame) {
        end_in_trap(frame, Cause::Exception(uio_protocol::fault::Exception::GeneralProtection(0)));
    }
}
