//! eBPF programs and maps of the guest: loading, running for tests, showing, removing.
//!
//! Safety rests on the check of `uio-verifier`: nothing runs that it did not accept, whoever signed it. What is here
//! brings programs, maps and helpers together and takes them apart again.

mod admission;
pub(crate) mod code;
mod helpers;
mod load;
mod map_requests;
mod maps;
mod program;
mod requests;
mod retirement;
mod run;
mod services;
pub(crate) mod test;

use alloc::sync::Arc;

use uio_bpf::map::{Map, Retired};
use uio_bpf::program::Program as Runnable;
use uio_protocol::programs::ProgramId;

use crate::table::Table;
use admission::Admission;
use maps::Maps;
use program::Program;
use retirement::Retirement;
use services::GuestServices;

/// What is loaded. Empty, and without memory of its own, until the first load.
#[derive(Default)]
pub(crate) struct Bpf {
    programs: Table<ProgramId, Arc<Program>>,
    maps: Maps,
    last_program: u32,
    retired: Retirement,
    /// Made at the first load.
    services: Option<&'static GuestServices>,
    /// Read at the first load.
    admission: Option<Admission>,
}

impl Bpf {
    /// Keeps what was taken out of a program array until no run may be in it.
    fn retire_program(&mut self, retired: Retired<Runnable>, program: Option<Arc<Program>>) {
        self.retired.programs.push((retired, program));
    }

    /// Keeps a map that was taken out of another until no run may use it.
    fn retire_map(&mut self, retired: Retired<Map>) {
        self.retired.maps.push(retired);
    }

    /// Runs that have ended may have been the last users of maps. `quiet`: no program runs.
    pub(crate) fn tidy(&mut self, quiet: bool) {
        if quiet {
            self.retired.release();
        }
        self.maps.sweep();
    }
}
