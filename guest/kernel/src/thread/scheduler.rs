//! The scheduler: always the ready thread of the highest priority, in turns among equals.
//!
//! A switch happens only on the way out of a trap: the context of the old thread is copied from the trap's stack
//! into the thread, the new one's in its place. Tickless: the timer is armed for the next wake-up, the end
//! of a turn if somebody equal waits, and the end of a budget.
//!
//! The application comes before the overlay and the overlay before extensions, so neither a flood on the console nor
//! a loop in an extension slows the application. A busy application does not shut the others out either: the overlay,
//! when something arrives for it, and whoever has been ready for [`STARVATION_NS`], gets a short turn; such turns
//! together take a tenth of the CPU at most.

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
/// A turn out of order: enough for most requests of a shell, short for whoever is held up.
const BOOST_NS: u64 = 500_000;
/// The least that such a turn counts for, however short it was: it costs two switches.
const BOOST_LEAST_NS: u64 = 30_000;
/// So many times as long as such a turn took must have passed since it began before the next one begins.
const BOOST_REST: u64 = 10;

pub(crate) struct Scheduler {
    threads: BTreeMap<ThreadId, Box<Thread>>,
    ready: [VecDeque<ThreadId>; PRIORITIES],
    next_id: u32,
    root: Root,
    /// End of the current thread's turn.
    slice_end: u64,
    boost: Boost,
}

/// Turns out of order.
struct Boost {
    /// When the current one began.
    start: u64,
    /// End of the current one, 0 if there is none; nobody but a driver comes before.
    end: u64,
    /// Before this there is no next one.
    next: u64,
}

impl Boost {
    fn begin(&mut self, now: u64) {
        (self.start, self.end) = (now, now + BOOST_NS);
    }

    /// Ends the current one, if there is one.
    fn finish(&mut self, now: u64) {
        if self.end != 0 {
            let used = now.saturating_sub(self.start).max(BOOST_LEAST_NS);
            (self.end, self.next) = (0, self.start + used * BOOST_REST);
        }
    }
}

static SCHEDULER: InterruptLock<Scheduler> = InterruptLock::new(Scheduler {
    threads: BTreeMap::new(),
    ready: [const { VecDeque::new() }; PRIORITIES],
    next_id: 0,
    root: Root::Kernel,
    slice_end: 0,
    boost: Boost { start: 0, end: 0, next: 0 },
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
        starves_at: 0,
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
            starves_at: 0,
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
        let running = self.threads.get(&current()).map_or(Priority::Idle, |thread| thread.priority);
        // The overlay is woken by what arrives for it. It need not starve first: one request costs little.
        let at_once = priority == Priority::Overlay && running < Priority::Driver;
        self.enqueue(id, priority, if at_once { now } else { now + STARVATION_NS });
        if priority > running || self.starving(now, running as usize).0.is_some() {
            DUE.store(true, Ordering::Relaxed);
        } else {
            // The turn of the running thread has to end some time now.
            self.arm(now);
        }
    }

    fn enqueue(&mut self, id: ThreadId, priority: Priority, starves_at: u64) {
        self.ready[priority as usize].push_back(id);
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.starves_at = starves_at;
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
            thread.starves_at = now + STARVATION_NS;
            self.ready[thread.priority as usize].push_back(thread.id);
        }
    }

    /// The priority below `top` whose first ready thread is to get a turn out of order, if any, and when the next one
    /// will be.
    fn starving(&self, now: u64, top: usize) -> (Option<usize>, u64) {
        let waiting = (Priority::Extension as usize..top).filter_map(|priority| {
            let thread = self.threads.get(self.ready[priority].front()?)?;
            Some((thread.starves_at, priority))
        });
        // The one that has waited longest: none of them can keep another from its turn.
        match waiting.min() {
            None => (None, timer::NEVER),
            Some((at, priority)) if at.max(self.boost.next) <= now => (Some(priority), now),
            Some((at, _)) => (None, at.max(self.boost.next)),
        }
    }

    fn switch(&mut self, frame: &mut TrapFrame) -> Option<Box<Thread>> {
        DUE.store(false, Ordering::Relaxed);
        let now = time::now_ns();
        self.wake_sleepers(now);
        let old_id = current();
        let highest = (0..PRIORITIES).rev().find(|priority| !self.ready[*priority].is_empty());
        let driver = highest == Some(Priority::Driver as usize);
        let running = self.threads.get(&old_id).filter(|old| old.state == State::Running);
        let top = highest.max(running.map(|old| old.priority as usize)).unwrap_or(0);
        let expired = self.boost.end != 0 && now >= self.boost.end;
        if running.is_none() || driver || expired {
            self.boost.finish(now);
        }
        let boosted = self.boost.end != 0;
        let starving = self.starving(now, top).0.filter(|_| !driver);
        let old = self.threads.get_mut(&old_id)?;
        if old.state == State::Running {
            let stays = match highest {
                None => true,
                Some(_) if boosted => true,
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
                // One whose turn out of order was too short has the next one.
                self.enqueue(old_id, priority, if expired { now } else { now + STARVATION_NS });
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
        if starving.is_some() {
            self.boost.begin(now);
        }
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
            deadline = deadline.min(self.starving(now, thread.priority as usize).1);
            if self.boost.end > now {
                deadline = self.boost.end;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_out_of_order_take_a_tenth_at_most() {
        let mut boost = Boost { start: 0, end: 0, next: 0 };
        let mut now = 0;
        let mut taken = 0;
        for round in 0..1000 {
            now = boost.next.max(now);
            boost.begin(now);
            let used = [BOOST_NS, BOOST_NS / 3, BOOST_LEAST_NS, 1][round % 4];
            boost.finish(now + used);
            assert_eq!(boost.end, 0);
            taken += used;
            boost.finish(now + 10 * used);
            assert!(boost.next >= now + BOOST_LEAST_NS * BOOST_REST, "it ended once");
        }
        assert!(taken * BOOST_REST <= boost.next, "{taken} of {}", boost.next);
    }
}
