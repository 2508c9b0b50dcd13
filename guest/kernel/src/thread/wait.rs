//! Wait queues: threads that wait for a condition which somebody else makes true.

use alloc::collections::VecDeque;

use uio_protocol::inspect::ThreadId;

use super::scheduler;
use crate::sync::{InterruptLock, InterruptsOff};
use crate::time;

/// Threads that wait for one thing.
#[derive(Debug)]
pub struct WaitQueue {
    waiting: InterruptLock<VecDeque<ThreadId>>,
    reason: &'static str,
}

impl WaitQueue {
    /// An empty queue; `reason` is what `threads` shows.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { waiting: InterruptLock::new(VecDeque::new()), reason }
    }

    /// Waits until `condition` gives a value, or `None` once `deadline_ns` (time since boot) has passed, or once the
    /// running thread is to be ended.
    ///
    /// The condition is looked at with interrupts off, so that no wake between the look and the wait is lost.
    pub fn wait_until<T>(&self, deadline_ns: u64, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
        let _off = InterruptsOff::new();
        loop {
            if let Some(value) = condition() {
                return Some(value);
            }
            if time::now_ns() >= deadline_ns || super::is_ending() {
                return None;
            }
            let id = scheduler::current();
            self.waiting.with(|waiting| waiting.push_back(id));
            scheduler::wait(self.reason, deadline_ns);
            self.waiting.with(|waiting| waiting.retain(|other| *other != id));
        }
    }

    /// Makes all waiting threads look at their conditions. Callable from interrupt handlers.
    pub fn wake_all(&self) {
        // No switch before all are awake, and none twice: who looks and waits again is not meant.
        let _off = InterruptsOff::new();
        for _ in 0..self.waiting.with(|waiting| waiting.len()) {
            self.wake_one();
        }
    }

    /// Makes the thread that has waited longest look at its condition.
    pub fn wake_one(&self) {
        if let Some(id) = self.waiting.with(VecDeque::pop_front) {
            scheduler::wake(id);
        }
    }
}
