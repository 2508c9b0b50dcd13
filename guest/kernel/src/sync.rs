//! Mutual exclusion on one preemptive CPU: sections with interrupts off for short things, blocking mutexes
//! (`thread::mutex`) for the rest.

use core::cell::{Cell, UnsafeCell};

use x86_64::instructions::interrupts;

/// Interrupts are off while this lives; afterwards they are as before, and a thread that became ready with a
/// higher priority runs at once.
#[derive(Debug)]
pub struct InterruptsOff {
    were_on: bool,
}

impl InterruptsOff {
    /// Turns interrupts off.
    #[must_use]
    pub fn new() -> Self {
        let were_on = interrupts::are_enabled();
        interrupts::disable();
        Self { were_on }
    }
}

impl Default for InterruptsOff {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        if self.were_on {
            interrupts::enable();
            crate::thread::scheduler::yield_if_due();
        }
    }
}

/// Data that threads and interrupt handlers share, reached with interrupts off.
#[derive(Debug)]
pub struct InterruptLock<T> {
    held: Cell<bool>,
    data: UnsafeCell<T>,
}

// SAFETY: there is one CPU and `with` runs with interrupts off, so nobody else runs meanwhile; `held` turns a
// nested use, the only way left to a second reference, into a panic.
unsafe impl<T: Send> Sync for InterruptLock<T> {}

impl<T> InterruptLock<T> {
    /// Wraps `data`.
    pub const fn new(data: T) -> Self {
        Self { held: Cell::new(false), data: UnsafeCell::new(data) }
    }

    /// Calls `body` with the data.
    ///
    /// # Panics
    ///
    /// If `body` reaches this lock again: that is a bug in the kernel.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        let _off = InterruptsOff::new();
        assert!(!self.held.replace(true), "interrupt lock taken twice");
        // SAFETY: `held` was false, so no reference exists; interrupts are off until it is false again.
        let result = body(unsafe { &mut *self.data.get() });
        self.held.set(false);
        result
    }

    /// As [`Self::with`], for paths that may interrupt a holder (panic, NMI): `None` if it is held.
    pub fn try_with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _off = InterruptsOff::new();
        if self.held.replace(true) {
            return None;
        }
        // SAFETY: as in `with`.
        let result = body(unsafe { &mut *self.data.get() });
        self.held.set(false);
        Some(result)
    }
}

#[cfg(not(test))]
mod critical {
    use x86_64::instructions::interrupts;

    struct SingleCpu;
    critical_section::set_impl!(SingleCpu);

    // SAFETY: one CPU, so code with interrupts off excludes everything else; nesting restores the outermost state.
    unsafe impl critical_section::Impl for SingleCpu {
        unsafe fn acquire() -> bool {
            let were_on = interrupts::are_enabled();
            interrupts::disable();
            were_on
        }

        unsafe fn release(were_on: bool) {
            if were_on {
                interrupts::enable();
                crate::thread::scheduler::yield_if_due();
            }
        }
    }
}
