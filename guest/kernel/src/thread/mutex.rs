//! A blocking mutex, as `lock_api` wants it.

use core::sync::atomic::{AtomicBool, Ordering};

use super::wait::WaitQueue;
use crate::time::timer::NEVER;

/// The lock behind [`Mutex`].
#[derive(Debug)]
pub struct RawMutex {
    held: AtomicBool,
    waiting: WaitQueue,
}

/// A mutex whose waiters sleep.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

// SAFETY: `held` goes from false to true in one step, so there is one holder at a time.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self { held: AtomicBool::new(false), waiting: WaitQueue::new("mutex") };

    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        // A thread that is to be ended gets `None` before its turn; the holder is bounded, so it tries again.
        while self.waiting.wait_until(NEVER, || self.try_lock().then_some(())).is_none() {
            super::scheduler::yield_now();
        }
    }

    fn try_lock(&self) -> bool {
        !self.held.swap(true, Ordering::Acquire)
    }

    unsafe fn unlock(&self) {
        self.held.store(false, Ordering::Release);
        // All, because one of them may be a thread that is being ended: its wake must not be the only one.
        self.waiting.wake_all();
    }
}
