//! A machine for tests: the kernel's traits in a Linux process.
//!
//! One processor, as in the guest, without preemption: a thread runs until it waits in a call of the
//! platform or ends. The thread of the test is the overlay thread. Loaded code really runs, behind the
//! real gates, without protection keys; their numbers are kept in the books only.

pub(crate) mod bpf;
mod machine;
mod memory;
mod shell;

pub(crate) use machine::{IMAGE_NAME, Machine, build_id};
pub(crate) use shell::{Shell, compile, image, run_request};

use std::sync::{Mutex, MutexGuard, PoisonError};

use uio_overlay::{Export, Overlay};

/// The overlay registers itself for the whole process, so tests that have one run one after the other.
static ONE_MACHINE: Mutex<()> = Mutex::new(());

/// Boots a machine and gives its shells to `test`.
pub(crate) fn with_machine(exports: &'static [Export], test: impl FnOnce(&mut Shell)) {
    let _one: MutexGuard<'_, ()> = ONE_MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = Machine::boot();
    let overlay = Overlay::new(machine, exports);
    let mut shell = Shell::new(machine, overlay);
    test(&mut shell);
    machine.halt();
}
