//! The claims of a proof beside a contained run.

use uio_bpf::instruction::Register;
use uio_verifier::{Claims, Concrete};

use crate::run::{Watch, Watched};

/// Compares every instruction's state with the claims.
pub(super) struct Witness<'a> {
    pub(super) claims: &'a Claims,
    /// Instructions compared.
    pub(super) compared: u64,
}

impl Watch for Witness<'_> {
    fn instruction(&mut self, watched: &Watched<'_>) -> Result<(), String> {
        self.compared += 1;
        self.claims.admit(watched.slot(), &Seen(watched))
    }
}

/// Counts instructions.
pub(super) struct Counter(pub(super) u64);

impl Watch for Counter {
    fn instruction(&mut self, _: &Watched<'_>) -> Result<(), String> {
        self.0 += 1;
        Ok(())
    }
}

struct Seen<'a>(&'a Watched<'a>);

impl Concrete for Seen<'_> {
    fn depth(&self) -> usize {
        self.0.depth()
    }

    fn register(&self, index: u8) -> u64 {
        Register::new(index).map_or(0, |register| self.0.register(register))
    }

    fn frame(&self, depth: usize) -> u64 {
        self.0.frame(depth)
    }

    fn stack_word(&self, address: u64) -> Option<(u64, u8)> {
        self.0.stack_word(address)
    }

    fn context(&self) -> u64 {
        self.0.context()
    }

    fn packet(&self) -> (u64, u64, u64) {
        self.0.packet()
    }

    fn map(&self, index: u32) -> Option<u64> {
        self.0.map(index)
    }

    fn map_values(&self, index: u32) -> Vec<u64> {
        self.0.map_values(index)
    }

    fn records(&self) -> Vec<(u64, u64)> {
        self.0.records()
    }
}
