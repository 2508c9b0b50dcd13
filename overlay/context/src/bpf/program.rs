//! A loaded program: what runs, what the guest keeps to show of it, and its counters.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uio_bpf::program::Program as Runnable;
use uio_protocol::GuestAddress;
use uio_protocol::bpf::ProgramKind;
use uio_protocol::programs::{Engine, ProgramId, ProgramInfo, ProgramPart, SignedInfo};

use super::code::CodePages;
use super::maps::MapSlot;

/// A program that passed the check and can run.
pub(crate) struct Program {
    // First, so that nothing can run when the code goes.
    pub(crate) runnable: Arc<Runnable>,
    pub(crate) code: Option<CodePages>,
    /// Where the code of each slot starts.
    pub(crate) offsets: Vec<u32>,
    pub(crate) id: ProgramId,
    pub(crate) name: String,
    pub(crate) object: String,
    pub(crate) target: String,
    pub(crate) digest: [u8; 32],
    pub(crate) signed: Option<SignedInfo>,
    /// Slots as they were checked.
    pub(crate) slots: Vec<u64>,
    pub(crate) proof: Vec<u8>,
    pub(crate) maps: Vec<Arc<MapSlot>>,
    pub(crate) loaded_ns: u64,
    pub(crate) counters: Counters,
}

/// Runs of a program.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) running: AtomicU32,
    pub(crate) runs: AtomicU64,
    pub(crate) time_ns: AtomicU64,
    pub(crate) faults: AtomicU32,
}

impl Counters {
    /// A thread starts to run the program.
    pub(crate) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// That thread has ended.
    pub(crate) fn end(&self, runs: u32, time_ns: u64, fault: bool) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.runs.fetch_add(u64::from(runs), Ordering::Relaxed);
        self.time_ns.fetch_add(time_ns, Ordering::Relaxed);
        self.faults.fetch_add(u32::from(fault), Ordering::Relaxed);
    }
}

impl Program {
    pub(crate) fn kind(&self) -> ProgramKind {
        self.runnable.executable().kind()
    }

    pub(crate) fn info(&self) -> ProgramInfo {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let held = (self.slots.len() * 8 + self.offsets.len() * 4 + self.proof.len()) as u64;
        ProgramInfo {
            id: self.id,
            name: self.name.clone(),
            object: self.object.clone(),
            digest: self.digest,
            kind: self.kind(),
            target: self.target.clone(),
            engine: if self.code.is_some() { Engine::Jit } else { Engine::Interpreter },
            signed: self.signed.clone(),
            slots: self.slots.len() as u32,
            proof_bytes: self.proof.len() as u32,
            code: self.code.as_ref().map_or(GuestAddress(0), CodePages::start),
            code_bytes: self.code.as_ref().map_or(0, CodePages::bytes),
            fuel: self.runnable.executable().has_fuelled(),
            memory_bytes: held + self.code.as_ref().map_or(0, CodePages::memory_bytes),
            maps: self.maps.iter().map(|map| map.id).collect(),
            loaded_ns: self.loaded_ns,
            running: self.counters.running.load(Ordering::Relaxed),
            run_count: load(&self.counters.runs),
            run_time_ns: load(&self.counters.time_ns),
            faults: self.counters.faults.load(Ordering::Relaxed),
        }
    }

    /// Bytes of a part from `offset` on, as many as fit `max`.
    pub(crate) fn dump(&self, part: ProgramPart, offset: u32, max: usize) -> Vec<u8> {
        let offset = offset as usize;
        match part {
            ProgramPart::Instructions => {
                // Whole slots, so that pieces fit together.
                let slots = self.slots.iter().skip(offset / 8).take(max / 8);
                slots.flat_map(|slot| slot.to_le_bytes()).collect()
            }
            ProgramPart::CodeOffsets => {
                let offsets = self.offsets.iter().skip(offset / 4).take(max / 4);
                offsets.flat_map(|start| start.to_le_bytes()).collect()
            }
            ProgramPart::Proof => self.proof.iter().skip(offset).take(max).copied().collect(),
            ProgramPart::Code => {
                let Some(code) = &self.code else { return Vec::new() };
                let mut bytes = alloc::vec![0; max];
                let count = code.read(offset as u32, &mut bytes);
                bytes.truncate(count);
                bytes
            }
        }
    }
}
