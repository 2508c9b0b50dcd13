//! How many guests run at a time: an emulated guest wants a core for itself.

use std::fs::File;
use std::thread;
use std::time::Duration;

use crate::artifacts::scratch;

/// How often a taken slot is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// The right to run one guest, until dropped.
pub struct Slot {
    _lock: File,
}

impl Slot {
    /// Waits for a free slot. Slots are file locks, so that they also hold between test programs that run at the same time.
    ///
    /// # Panics
    ///
    /// If the lock files cannot be made.
    #[must_use]
    pub fn take() -> Self {
        let slots = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let folder = scratch();
        loop {
            for slot in 0..slots {
                let file = File::create(folder.join(format!("slot-{slot}"))).expect("a lock file");
                if file.try_lock().is_ok() {
                    return Self { _lock: file };
                }
            }
            thread::sleep(POLL);
        }
    }
}
