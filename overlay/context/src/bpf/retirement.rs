//! What was taken out of maps while programs may have been running that had found it there.
#![expect(unsafe_code, reason = "vouches that no program runs")]

use alloc::sync::Arc;
use alloc::vec::Vec;

use uio_bpf::map::{Map, Retired};
use uio_bpf::program::Program as Runnable;

use super::program::Program;

/// Programs and maps that wait for the runs that may use them.
#[derive(Default)]
pub(crate) struct Retirement {
    pub(crate) programs: Vec<(Retired<Runnable>, Option<Arc<Program>>)>,
    pub(crate) maps: Vec<Retired<Map>>,
}

impl Retirement {
    /// Drops all of it. Called on the overlay thread when no program runs.
    pub(crate) fn release(&mut self) {
        for (retired, program) in self.programs.drain(..) {
            // SAFETY: no run is under way, and new ones begin on this thread, after this.
            drop(unsafe { retired.release() });
            drop(program);
        }
        for retired in self.maps.drain(..) {
            // SAFETY: as above.
            drop(unsafe { retired.release() });
        }
    }
}
