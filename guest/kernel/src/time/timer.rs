//! The one-shot timer: armed for the next thing that is due, and not at all if nothing is.

use core::sync::atomic::{AtomicU64, Ordering};

use super::clock;
use crate::arch::apic;

/// No deadline.
pub const NEVER: u64 = u64::MAX;

/// What the timer is armed for, time since boot; [`NEVER`] if it is not.
static ARMED: AtomicU64 = AtomicU64::new(NEVER);

/// Arms the timer for `deadline_ns` (time since boot), or disarms it for [`NEVER`]. Interrupts are off.
pub(crate) fn arm(deadline_ns: u64) {
    if ARMED.swap(deadline_ns, Ordering::Relaxed) == deadline_ns {
        return;
    }
    if deadline_ns == NEVER {
        apic::arm_timer(0);
    } else {
        // A deadline beyond the counter's reach fires early, and the scheduler arms it again.
        apic::arm_timer(clock::timer_ticks(deadline_ns.saturating_sub(clock::now_ns())));
    }
}

/// Notes that the timer has fired.
pub(crate) fn fired() {
    ARMED.store(NEVER, Ordering::Relaxed);
}
