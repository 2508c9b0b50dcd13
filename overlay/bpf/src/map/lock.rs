//! One updater at a time, without waiting.

use core::sync::atomic::{AtomicBool, Ordering};

use super::AccessError;

/// Serialises changes of one map.
///
/// Nobody waits for it: whoever finds it taken has interrupted its holder, on this one processor, and could wait
/// for ever. It gets [`AccessError::Busy`], as on Linux. Lookups do not take it.
pub(super) struct TryLock(AtomicBool);

/// Held until dropped.
pub(super) struct Held<'a>(&'a AtomicBool);

impl TryLock {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn try_lock(&self) -> Result<Held<'_>, AccessError> {
        if self.0.swap(true, Ordering::Acquire) { Err(AccessError::Busy) } else { Ok(Held(&self.0)) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
