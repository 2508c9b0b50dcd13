//! Threads: preemptive, with priorities; one CPU.

pub mod faults;
pub mod mutex;
#[cfg(feature = "overlay")]
pub mod ring3;
pub mod scheduler;
#[cfg(feature = "overlay")]
pub mod supervised;
pub mod wait;

use alloc::boxed::Box;
use alloc::string::String;

use uio_protocol::inspect::{ThreadId, ThreadInfo, ThreadState};

use crate::arch::traps::TrapFrame;
use crate::mm::paging::Root;
use crate::mm::stacks::Stack;
use crate::mm::{OutOfMemory, PAGE_BYTES};
use crate::time;

/// Who runs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// The idle thread only.
    Idle = 0,
    /// Extensions.
    Extension = 1,
    /// The overlay.
    Overlay = 2,
    /// The application.
    Application = 3,
    /// Device work.
    Driver = 4,
}

pub(crate) const PRIORITIES: usize = 5;

/// Pages of a stack unless its creator says otherwise.
pub const STACK_PAGES: u64 = 16;

/// What threads that run loaded code have beside others.
#[cfg(feature = "overlay")]
pub(crate) type Supervision = Option<Box<supervised::Supervised>>;
/// Without the overlay nothing is loaded.
#[cfg(not(feature = "overlay"))]
pub(crate) type Supervision = Option<core::convert::Infallible>;

/// Whether the running thread is to be ended: it gives up its waits.
fn is_ending() -> bool {
    #[cfg(feature = "overlay")]
    return supervised::is_ending();
    #[cfg(not(feature = "overlay"))]
    false
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Running,
    /// Until [`Thread::wake_at`] or a wake.
    Waiting(&'static str),
    Exited,
}

/// A thread. Owned by the scheduler.
pub(crate) struct Thread {
    pub(crate) id: ThreadId,
    pub(crate) name: String,
    pub(crate) priority: Priority,
    pub(crate) state: State,
    /// Context while it does not run.
    pub(crate) frame: TrapFrame,
    pub(crate) stack: Option<Stack>,
    pub(crate) root: Root,
    /// CPU time in cycles up to the last switch away.
    pub(crate) cycles: u64,
    /// When it last got the CPU.
    pub(crate) since: u64,
    /// From when on it may get a turn out of order while it waits for the CPU, time since boot in nanoseconds.
    pub(crate) starves_at: u64,
    /// End of its wait, or `timer::NEVER`.
    pub(crate) wake_at: u64,
    /// An unpark came since the last park.
    pub(crate) unparked: bool,
    /// Present in threads that run loaded code.
    pub(crate) supervised: Supervision,
}

impl Thread {
    /// CPU time used, the current turn included.
    pub(crate) fn cpu_time_ns(&self) -> u64 {
        let turn = if self.state == State::Running {
            crate::arch::cpu::cycles().saturating_sub(self.since)
        } else {
            0
        };
        time::clock::cycles_to_ns(self.cycles + turn)
    }

    #[cfg(feature = "overlay")]
    fn extension(&self) -> Option<uio_protocol::inspect::ExtensionId> {
        self.supervised.as_ref().and_then(|supervised| supervised.extension)
    }

    #[cfg(not(feature = "overlay"))]
    fn extension(&self) -> Option<uio_protocol::inspect::ExtensionId> {
        None
    }

    /// As the shell shows it.
    pub(crate) fn info(&self) -> ThreadInfo {
        let state = match self.state {
            State::Ready => ThreadState::Ready,
            State::Running => ThreadState::Running,
            State::Waiting("sleep") => ThreadState::Sleeping { until_ns: self.wake_at },
            State::Waiting(reason) => ThreadState::Waiting { reason: reason.into() },
            State::Exited => ThreadState::Exited,
        };
        ThreadInfo {
            id: self.id,
            name: self.name.clone(),
            state,
            priority: self.priority as u8,
            cpu_time_ns: self.cpu_time_ns(),
            stack_bytes: self.stack.as_ref().map_or(0, |stack| stack.bytes() as u32),
            stack_margin_bytes: self.stack.as_ref().map_or(0, |stack| stack.margin_bytes() as u32),
            extension: self.extension(),
        }
    }
}

/// Starts a thread that runs `body` and ends when it returns.
///
/// # Errors
///
/// [`OutOfMemory`] if there is none for its stack.
pub fn spawn(
    name: &str,
    priority: Priority,
    body: impl FnOnce() + Send + 'static,
) -> Result<ThreadId, OutOfMemory> {
    spawn_with(name, priority, STACK_PAGES, crate::mm::layout::KEY_KERNEL, Box::new(Box::new(body)))
}

/// As [`spawn`], with a stack of `pages` pages of protection key `key`.
///
/// # Errors
///
/// As [`spawn`].
pub fn spawn_with(
    name: &str,
    priority: Priority,
    pages: u64,
    key: u8,
    body: Box<Box<dyn FnOnce() + Send>>,
) -> Result<ThreadId, OutOfMemory> {
    let stack = Stack::new(pages, key, name)?;
    let frame = TrapFrame::start(run_body as *const () as u64, stack.top(), Box::into_raw(body) as u64);
    Ok(scheduler::add(name, priority, frame, Some(stack), None))
}

/// First function of every thread.
extern "C" fn run_body(body: *mut Box<dyn FnOnce() + Send>) {
    // SAFETY: `spawn_with` made the pointer from a box and passes it on exactly once.
    let body = unsafe { Box::from_raw(body) };
    body();
    scheduler::exit();
}

/// Sleeps. Returns early only if the thread is to be ended.
pub fn sleep_ns(duration_ns: u64) {
    sleep_until_ns(time::now_ns().saturating_add(duration_ns));
}

/// Sleeps until a time since boot.
pub fn sleep_until_ns(deadline_ns: u64) {
    while time::now_ns() < deadline_ns && !is_ending() {
        scheduler::wait("sleep", deadline_ns);
    }
}

const _: () = assert!(STACK_PAGES * PAGE_BYTES <= crate::mm::stacks::STACK_BYTES_MAX);
