//! Time and the calling thread.

use core::time::Duration;

use crate::raw;

/// Time since boot; never goes back.
#[must_use]
pub fn time() -> Duration {
    // SAFETY: takes and touches nothing.
    Duration::from_nanos(unsafe { raw::uio_time_ns() })
}

/// Sleeps for at least that long.
pub fn sleep(duration: Duration) {
    // SAFETY: takes a number.
    unsafe { raw::uio_sleep_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)) }
}

/// Lets other threads run.
pub fn yield_now() {
    // SAFETY: takes and touches nothing.
    unsafe { raw::uio_yield() }
}

/// Number of the calling thread, as `threads` shows it.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: takes and touches nothing.
    unsafe { raw::uio_thread_id() }
}
