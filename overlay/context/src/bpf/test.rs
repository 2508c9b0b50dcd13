//! What a test run gives a program to work on, and what came of it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::mem::offset_of;

use uio_bpf::context::{PacketContext, TimerContext, TracingContext};
use uio_bpf::invocation::Stopped;
use uio_protocol::bpf::ProgramKind;
use uio_protocol::error::RpcError;
use uio_protocol::fault::Outcome;
use uio_protocol::limits::{BPF_TEST_BYTES_MAX, BPF_TEST_REPEAT_MAX};
use uio_protocol::programs::{ProgramError, StopReason, TestRun};

use super::program::Program;
use super::services::GuestServices;
use crate::upload::limit;

/// Room in front of a packet's data, as XDP gives it (`XDP_PACKET_HEADROOM`).
const HEADROOM_BYTES: usize = 256;

/// Room behind a packet's data.
const TAILROOM_BYTES: usize = 320;

/// Bytes of the packet when none are given: the smallest Ethernet frame.
const PACKET_BYTES_DEFAULT: usize = 64;

/// Port by which test packets come in.
const TEST_PORT: u32 = 0;

/// Words of the largest context.
const CONTEXT_WORDS: usize = size_of::<TracingContext>() / size_of::<u64>();
const _: () = assert!(size_of::<PacketContext>() <= CONTEXT_WORDS * 8);
const _: () = assert!(size_of::<TimerContext>() <= CONTEXT_WORDS * 8);

/// A program and its data, for the thread that runs it. Nothing in it is read elsewhere while that thread lives, and the
/// program writes it through the addresses that it was given.
pub(crate) struct Test {
    pub(crate) program: Arc<Program>,
    pub(crate) services: &'static GuestServices,
    /// Packet with its room, or raw memory; empty for kinds that have a context only.
    memory: Box<[Cell<u8>]>,
    /// What R1 points to, for kinds with a context.
    context: Box<[Cell<u64>; CONTEXT_WORDS]>,
    /// What the context is before each run.
    fresh: [u64; CONTEXT_WORDS],
    pub(crate) repeat: u32,
    /// What the last run returned.
    pub(crate) value: Cell<u64>,
    pub(crate) runs: Cell<u32>,
    pub(crate) duration_ns: Cell<u64>,
    pub(crate) stopped: Cell<Option<Stopped>>,
}

impl Test {
    /// Lays `data` out for a program.
    pub(crate) fn new(
        program: Arc<Program>,
        services: &'static GuestServices,
        data: &[u8],
        repeat: u32,
    ) -> Result<Self, RpcError> {
        limit("bytes of test data", BPF_TEST_BYTES_MAX, data.len())?;
        limit("runs of a test", BPF_TEST_REPEAT_MAX as usize, repeat as usize)?;
        let most = match program.kind() {
            ProgramKind::Packet => BPF_TEST_BYTES_MAX,
            ProgramKind::Tracing => size_of::<TracingContext>(),
            ProgramKind::Timer => size_of::<TimerContext>(),
            ProgramKind::Raw { memory_bytes } => memory_bytes as usize,
        };
        if data.len() > most {
            let bytes = data.len() as u32;
            let error = ProgramError::BadTestData { bytes, least: 0, most: most as u32 };
            return Err(RpcError::Program(error));
        }
        let mut fresh = [0; CONTEXT_WORDS];
        let memory = match program.kind() {
            ProgramKind::Packet => {
                let blank = [0; PACKET_BYTES_DEFAULT];
                let data = if data.is_empty() { &blank[..] } else { data };
                let memory = cells([&[0; HEADROOM_BYTES][..], data, &[0; TAILROOM_BYTES]].concat());
                let head = memory.as_ptr().addr() as u64;
                let start = head + HEADROOM_BYTES as u64;
                let mut set = |offset: usize, value: u64| fresh[offset / size_of::<u64>()] = value;
                set(offset_of!(PacketContext, data), start);
                set(offset_of!(PacketContext, data_end), start + data.len() as u64);
                // The queue, in the upper half, is 0.
                set(offset_of!(PacketContext, port), u64::from(TEST_PORT));
                set(offset_of!(PacketContext, data_meta), start);
                set(offset_of!(PacketContext, head), head);
                set(offset_of!(PacketContext, tail), head + memory.len() as u64);
                memory
            }
            ProgramKind::Tracing | ProgramKind::Timer => {
                for (word, bytes) in fresh.iter_mut().zip(data.chunks(size_of::<u64>())) {
                    let mut whole = [0; size_of::<u64>()];
                    whole[..bytes.len()].copy_from_slice(bytes);
                    *word = u64::from_le_bytes(whole);
                }
                cells(Vec::new())
            }
            ProgramKind::Raw { memory_bytes } => {
                let mut memory = vec![0; memory_bytes as usize];
                memory[..data.len()].copy_from_slice(data);
                cells(memory)
            }
        };
        memory.as_ptr().expose_provenance();
        let context = Box::new(fresh.map(Cell::new));
        context.as_ptr().expose_provenance();
        Ok(Self {
            program,
            services,
            memory,
            context,
            fresh,
            repeat: repeat.max(1),
            value: Cell::new(0),
            runs: Cell::new(0),
            duration_ns: Cell::new(0),
            stopped: Cell::new(None),
        })
    }

    /// Puts the context back as it is before a run. The packet's bytes stay as the last run left them.
    #[inline]
    pub(crate) fn reset(&self) {
        for (word, fresh) in self.context.iter().zip(self.fresh) {
            word.set(fresh);
        }
    }

    /// R1 and R2 at the start.
    pub(crate) fn arguments(&self) -> (u64, u64) {
        match self.program.kind() {
            ProgramKind::Raw { memory_bytes } => {
                (self.memory.as_ptr().addr() as u64, u64::from(memory_bytes))
            }
            ProgramKind::Packet | ProgramKind::Tracing | ProgramKind::Timer => {
                (self.context.as_ptr().addr() as u64, 0)
            }
        }
    }

    /// Counts it, and says what came of it if its thread returned. That thread has ended.
    pub(crate) fn finish(&self, outcome: &Outcome, faulted: bool) -> Option<TestRun> {
        let fault = faulted || self.stopped.get().is_some();
        self.program.counters.end(self.runs.get(), self.duration_ns.get(), fault);
        matches!(outcome, Outcome::Returned(_)).then(|| self.result())
    }

    fn result(&self) -> TestRun {
        TestRun {
            value: self.value.get(),
            data: self.data(),
            runs: self.runs.get(),
            duration_ns: self.duration_ns.get(),
            stopped: self.stopped.get().map(stop_reason),
        }
    }

    fn data(&self) -> Vec<u8> {
        let bytes: Vec<u8> = match self.program.kind() {
            ProgramKind::Packet => {
                let word = |offset: usize| self.context[offset / size_of::<u64>()].get();
                let head = self.memory.as_ptr().addr() as u64;
                let place = |address: u64| address.checked_sub(head).map(|offset| offset as usize);
                let start = place(word(offset_of!(PacketContext, data)));
                let end = place(word(offset_of!(PacketContext, data_end)));
                let data = start.zip(end).and_then(|(start, end)| self.memory.get(start..end));
                data.unwrap_or_default().iter().map(Cell::get).collect()
            }
            ProgramKind::Raw { .. } => self.memory.iter().map(Cell::get).collect(),
            ProgramKind::Tracing => self.context_bytes(size_of::<TracingContext>()),
            ProgramKind::Timer => self.context_bytes(size_of::<TimerContext>()),
        };
        bytes
    }

    fn context_bytes(&self, bytes: usize) -> Vec<u8> {
        self.context.iter().flat_map(|word| word.get().to_le_bytes()).take(bytes).collect()
    }
}

fn cells(bytes: Vec<u8>) -> Box<[Cell<u8>]> {
    bytes.into_iter().map(Cell::new).collect()
}

fn stop_reason(stopped: Stopped) -> StopReason {
    match stopped {
        Stopped::Fuel => StopReason::Fuel,
        Stopped::Callee => StopReason::Callee,
        Stopped::Depth => StopReason::Depth,
        Stopped::End => StopReason::End,
        Stopped::Refused => StopReason::Refused,
    }
}
