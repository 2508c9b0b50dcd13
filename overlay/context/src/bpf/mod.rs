//! eBPF programs and maps of the guest: loading, running for tests, showing, removing.
//!
//! Safety rests on the check of `uio-verifier`: nothing runs that it did not accept, whoever signed it. What is here
//! brings programs, maps and helpers together and takes them apart again.

pub(crate) mod code;
mod helpers;
mod load;
mod map_requests;
mod maps;
mod program;
mod requests;
mod run;
mod services;
pub(crate) mod test;

use alloc::sync::Arc;

use uio_protocol::programs::ProgramId;

use crate::table::Table;
use admission::Admission;
use maps::Maps;
use program::Program;
use services::GuestServices;

mod admission;

/// What is loaded. Empty, and without memory of its own, until the first load.
#[derive(Default)]
pub(crate) struct Bpf {
    programs: Table<ProgramId, Arc<Program>>,
    maps: Maps,
    last_program: u32,
    /// Made at the first load.
    services: Option<&'static GuestServices>,
    /// Read at the first load.
    admission: Option<Admission>,
}

impl Bpf {
    /// Drops maps whose last user has gone.
    pub(crate) fn tidy(&mut self) {
        self.maps.sweep();
    }
}
