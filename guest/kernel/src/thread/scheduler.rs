//! The scheduler: always the ready thread of the highest priority, in turns among equals.
//!
//! A switch happens only on the way out of a trap: the context of the old thread is copied from the trap's stack
//! into the thread, the new one's in its place. Tickless: the timer is armed for the next wake-up, the end
//! of a turn if somebody equal waits, and the end of a budget.
//!
//! The application comes before the overlay and the overlay before extensions, so neither a flood on the console nor
//! a loop in an extension slows the application. A busy application does not shut the overlay out either: who has
//! been ready for [`STARVATION_NS`] gets one short turn.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use uio_protocol::inspect::{ThreadId, ThreadInfo};

use super::{PRIORITIES, Priority, State, Supervision, Thread};
use crate::arch::cpu;
use crate::arch::traps::{TrapFrame, yield_interrupt};
use crate::mm::paging::{self, Root};
use crate::mm::stacks::Stack;
use crate::sync::{InterruptLock, InterruptsOff};
use crate::time::{self, timer};

/// A turn among threads of one priority.
const SLICE_NS: u64 = 4_000_000;
/// How long a ready thread may be passed over by others of higher priority.
const STARVATION_NS: u64 = 10_000_000;
/// The turn it then gets: a tenth of the CPU at most goes to the starved.
const STARVATION_SLICE_NS: u64 = 1_000_000;

pub(crate) struct Scheduler {
    threads: BTreeMap<ThreadId, Box<Thread>>,
    ready: [VecDeque<ThreadId>; PRIORITIES],
    next_id: u32,
    root: Root,
    /// End of the current thread's turn.
    slice_end: u64,
    /// End of the turn of a thread that had starved; nobody but a driver comes before.
    boost_end: u64,
}

static SCHEDULER: InterruptLock<Scheduler> = InterruptLock::new(Scheduler {
    threads: BTreeMap::new(),
    ready: [const { VecDeque::new() }; PRIORITIES],
    next_id: 0,
    root: Root::Kernel,
    slice_end: 0,
    boost_end: 0,
});

/// The running thread.
static CURRENT: AtomicU32 = AtomicU32::new(0);
/// A thread of higher priority than the running one is ready.
static DUE: AtomicBool = AtomicBool::new(false);
/// Threads are switched from now on.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The running thread.
#[must_use]
pub fn current() -> ThreadId {
    ThreadId(CURRENT.load(Ordering::Relaxed))
}

/// Calls `body` with the scheduler's view of a thread.
pub(crate) fn with_thread<R>(id: ThreadId, body: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    SCHEDULER.with(|scheduler| scheduler.threads.get_mut(&id).map(|thread| body(thread)))
}

/// Calls `body` with the scheduler's view of the running thread.
///
/// # Panics
///
/// Before the scheduler has started.
pub(crate) fn with_current<R>(body: impl FnOnce(&mut Thread) -> R) -> R {
    SCHEDULER
        .with(|scheduler| body(scheduler.threads.get_mut(&current()).expect("the running thread exists")))
}

#[cfg(feature = "overlay")]
/// As [`with_current`], for an NMI, which may have interrupted the scheduler: `None` then.
pub(crate) fn try_with_current<R>(body: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    SCHEDULER.try_with(|scheduler| scheduler.threads.get_mut(&current()).map(|thread| body(thread))).flatten()
}

#[cfg(feature = "overlay")]
/// Drops a thread that has ended while it was not running.
pub(crate) fn remove_ended(id: ThreadId) {
    let ended = SCHEDULER.with(|scheduler| {
        for queue in &mut scheduler.ready {
            queue.retain(|other| *other != id);
        }
        scheduler.threads.remove(&id)
    });
    drop(ended);
}

/// All threads.
#[must_use]
pub fn list() -> Vec<ThreadInfo> {
    SCHEDULER.with(|scheduler| scheduler.threads.values().map(|thread| thread.info()).collect())
}

/// Makes the boot code a thread and starts switching. Called once; interrupts go on.
pub(crate) fn start() {
    let boot = Thread {
        id: ThreadId(0),
        name: "boot".to_string(),
        priority: Priority::Application,
        state: State::Running,
        frame: TrapFrame::start(0, 8, 0),
        stack: None,
        root: Root::Kernel,
        cycles: 0,
        since: cpu::cycles(),
        ready_since: 0,
        wake_at: timer::NEVER,
        unparked: false,
        supervised: Supervision::default(),
    };
    SCHEDULER.with(|scheduler| {
        scheduler.threads.insert(boot.id, Box::new(boot));
        scheduler.next_id = 1;
    });
    STARTED.store(true, Ordering::Relaxed);
    super::spawn_with("idle", Priority::Idle, 2, 0, Box::new(Box::new(idle)))
        .expect("no memory for the idle thread");
    x86_64::instructions::interrupts::enable();
}

fn idle() {
    loop {
        x86_64::instructions::interrupts::enable_and_hlt();
    }
}

/// Adds a ready thread.
pub(crate) fn add(
    name: &str,
    priority: Priority,
    frame: TrapFrame,
    stack: Option<Stack>,
    supervised: Supervision,
) -> ThreadId {
    SCHEDULER.with(|scheduler| {
        let id = ThreadId(scheduler.next_id);
        scheduler.next_id += 1;
        let thread = Thread {
            id,
            name: name.to_string(),
            priority,
            state: State::Ready,
            frame,
            stack,
            root: Root::Kernel,
            cycles: 0,
            since: 0,
            ready_since: 0,
            wake_at: timer::NEVER,
            unparked: false,
            supervised,
        };
        scheduler.threads.insert(id, Box::new(thread));
        scheduler.make_ready(id, priority);
        id
    })
}

/// Ends the running thread.
pub(crate) fn exit() -> ! {
    let _off = InterruptsOff::new();
    with_thread(current(), |thread| thread.state = State::Exited);
    yield_interrupt();
    unreachable!("an ended thread was resumed");
}

/// Gives others of the same priority a turn.
pub fn yield_now() {
    SCHEDULER.with(|scheduler| scheduler.slice_end = 0);
    yield_interrupt();
}

/// Whether a thread other than the running one and the idle one could run.
pub(crate) fn somebody_is_ready() -> bool {
    SCHEDULER.with(|scheduler| {
        scheduler.ready[Priority::Extension as usize..].iter().any(|queue| !queue.is_empty())
    })
}

/// Waits until somebody wakes this thread or `deadline_ns` comes; `reason` is what `threads` shows. A wake that
/// comes before the call is lost: callers turn interrupts off, look, and then wait.
pub(crate) fn wait(reason: &'static str, deadline_ns: u64) {
    let _off = InterruptsOff::new();
    with_thread(current(), |thread| {
        thread.state = State::Waiting(reason);
        thread.wake_at = deadline_ns;
    });
    yield_interrupt();
}

/// Makes a waiting thread ready. Callable from interrupt handlers.
pub(crate) fn wake(id: ThreadId) {
    SCHEDULER.with(|scheduler| {
        if let Some(thread) = scheduler.threads.get_mut(&id)
            && let State::Waiting(_) = thread.state
        {
            thread.state = State::Ready;
            thread.wake_at = timer::NEVER;
            let priority = thread.priority;
            scheduler.make_ready(id, priority);
        }
    });
}

/// Switches if a thread of higher priority became ready. Interrupts are on.
pub(crate) fn yield_if_due() {
    if DUE.load(Ordering::Relaxed) && STARTED.load(Ordering::Relaxed) {
        yield_interrupt();
    }
}

/// The yield interrupt.
pub(crate) fn reschedule(frame: &mut TrapFrame) {
    switch(frame);
}

/// The timer interrupt.
pub(crate) fn timer(frame: &mut TrapFrame) {
    timer::fired();
    #[cfg(feature = "overlay")]
    super::supervised::check_budget(frame);
    switch(frame);
}

/// The end of a device interrupt.
pub(crate) fn after_interrupt(frame: &mut TrapFrame) {
    if DUE.load(Ordering::Relaxed) {
        switch(frame);
    }
}

/// Picks the next thread and puts its context in `frame`. Interrupts are off, on a trap's stack.
pub(crate) fn switch(frame: &mut TrapFrame) {
    if !STARTED.load(Ordering::Relaxed) {
        return;
    }
    let ended = SCHEDULER.with(|scheduler| scheduler.switch(frame));
    // Frees the stack, which nobody is on: this is a trap's stack.
    drop(ended);
}

impl Scheduler {
    fn make_ready(&mut self, id: ThreadId, priority: Priority) {
        let now = time::now_ns();
        self.enqueue(id, priority, now);
        let running = self.threads.get(&current()).map_or(Priority::Idle, |thread| thread.priority);
        if priority > running {
            DUE.store(true, Ordering::Relaxed);
        } else {
            // The turn of the running thread has to end some time now.
            self.arm(now);
        }
    }

    fn enqueue(&mut self, id: ThreadId, priority: Priority, now: u64) {
        self.ready[priority as usize].push_back(id);
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.ready_since = now;
        }
    }

    fn wake_sleepers(&mut self, now: u64) {
        // Few threads, so a scan is cheaper than a heap that has to be kept in step with early wakes.
        let due = self
            .threads
            .values_mut()
            .filter(|thread| matches!(thread.state, State::Waiting(_)) && thread.wake_at <= now);
        for thread in due {
            thread.state = State::Ready;
            thread.wake_at = timer::NEVER;
            thread.ready_since = now;
            self.ready[thread.priority as usize].push_back(thread.id);
        }
    }

    /// The ready thread that has been passed over for too long, if any, and when the next one will have been.
    fn starving(&self, now: u64) -> (Option<usize>, u64) {
        let mut next = timer::NEVER;
        for priority in Priority::Extension as usize..PRIORITIES {
            let front = self.ready[priority].front().and_then(|id| self.threads.get(id));
            if let Some(thread) = front {
                let limit = thread.ready_since + STARVATION_NS;
                if limit <= now {
                    return (Some(priority), now);
                }
                next = next.min(limit);
            }
        }
        (None, next)
    }

    fn switch(&mut self, frame: &mut TrapFrame) -> Option<Box<Thread>> {
        DUE.store(false, Ordering::Relaxed);
        let now = time::now_ns();
        self.wake_sleepers(now);
        let old_id = current();
        let highest = (0..PRIORITIES).rev().find(|priority| !self.ready[*priority].is_empty());
        let driver = highest == Some(Priority::Driver as usize);
        let starving = self.starving(now).0.filter(|_| !driver);
        let old = self.threads.get_mut(&old_id)?;
        if old.state == State::Running {
            let stays = match highest {
                None => true,
                Some(_) if now < self.boost_end && !driver => true,
                Some(_) if starving.is_some() => false,
                Some(highest) if highest < old.priority as usize => true,
                Some(highest) => highest == old.priority as usize && now < self.slice_end,
            };
            if stays {
                self.arm(now);
                return None;
            }
        }
        let cycles = cpu::cycles();
        old.cycles += cycles - old.since;
        old.frame = *frame;
        let mut ended = None;
        match old.state {
            State::Running => {
                old.state = State::Ready;
                let priority = old.priority;
                self.enqueue(old_id, priority, now);
            }
            State::Exited => ended = self.threads.remove(&old_id),
            State::Ready | State::Waiting(_) => {}
        }
        let highest = (0..PRIORITIES).rev().find(|priority| !self.ready[*priority].is_empty());
        // The idle thread never waits, so there is always one.
        let id = self.ready[starving.or(highest)?].pop_front()?;
        let thread = self.threads.get_mut(&id)?;
        thread.state = State::Running;
        thread.since = cycles;
        *frame = thread.frame;
        CURRENT.store(id.0, Ordering::Relaxed);
        #[cfg(feature = "overlay")]
        super::supervised::publish(thread);
        if thread.root != self.root {
            self.root = thread.root;
            paging::switch(thread.root);
        }
        self.slice_end = now + SLICE_NS;
        self.boost_end = if starving.is_some() { now + STARVATION_SLICE_NS } else { 0 };
        self.arm(now);
        ended
    }

    /// Arms the timer for whatever comes first.
    fn arm(&self, now: u64) {
        let mut deadline = timer::NEVER;
        for thread in self.threads.values() {
            deadline = deadline.min(thread.wake_at);
        }
        if let Some(thread) = self.threads.get(&current())
            && thread.priority != Priority::Idle
        {
            if !self.ready[thread.priority as usize].is_empty() {
                deadline = deadline.min(self.slice_end);
            }
            deadline = deadline.min(self.starving(now).1);
            if self.boost_end > now {
                deadline = self.boost_end;
            }
            #[cfg(feature = "overlay")]
            if let Some(supervised) = &thread.supervised {
                deadline = deadline.min(supervised.deadline(thread.cpu_time_ns(), now));
            }
        }
        timer::arm(deadline.max(now));
    }
}

/// Makes a parked thread return from [`park`], now or when it next parks.
pub fn unpark(id: ThreadId) {
    with_thread(id, |thread| thread.unparked = true);
    wake(id);
}

/// Waits for [`unpark`]; several since the last return count as one. Also returns once the running thread is to be
/// ended.
pub fn park(reason: &'static str) {
    let _off = InterruptsOff::new();
    if !with_current(|thread| core::mem::take(&mut thread.unparked)) && !super::is_ending() {
        wait(reason, timer::NEVER);
        with_current(|thread| thread.unparked = false);
    }
}

/// Puts the running thread's root in step after it changed.
#[cfg(feature = "overlay")]
pub(crate) fn set_root(root: Root) {
    SCHEDULER.with(|scheduler| {
        if let Some(thread) = scheduler.threads.get_mut(&current()) {
            thread.root = root;
        }
        if scheduler.root != root {
            scheduler.root = root;
            paging::switch(root);
        }
    });
}
