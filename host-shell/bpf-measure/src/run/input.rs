//! What a program is called with, and what it leaves.

use std::mem::offset_of;
use std::ops::Range;

use uio_bpf::context::{PacketContext, TimerContext, TracingContext};
use uio_protocol::bpf::ProgramKind;

use super::buffer::Buffer;

/// What a program of any kind is called with. Parts that its kind does not have are not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The packet; or the raw program's memory, cut or filled up with zeros; or the context of other kinds, likewise.
    pub bytes: Vec<u8>,
    /// How many of [`Self::bytes`] are metadata in front of the packet.
    pub meta_bytes: usize,
    /// Port that the packet came in by.
    pub port: u32,
    /// Queue that it came in by.
    pub queue: u32,
}

/// Bytes in front of and behind packets into which helpers may move their ends.
pub(crate) const ROOM_BYTES: usize = 64;

/// An input in memory, ready for one run.
#[derive(Debug)]
pub struct Memory {
    kind: ProgramKind,
    context: Buffer,
    data: Buffer,
}

/// What a run left of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where the packet starts, from the buffer's start on.
    pub start: u64,
    /// Metadata and packet, or the raw program's memory.
    pub bytes: Vec<u8>,
}

impl Memory {
    /// Lays `input` out for a program of `kind`.
    #[must_use]
    pub fn new(kind: ProgramKind, input: &Input) -> Self {
        let mut context = Buffer::new(size_of::<TracingContext>());
        let data = match kind {
            ProgramKind::Packet => {
                let mut data = Buffer::new(ROOM_BYTES + input.bytes.len() + ROOM_BYTES);
                data.write(ROOM_BYTES, &input.bytes);
                let first = data.address() + ROOM_BYTES as u64;
                let end = first + input.bytes.len() as u64;
                let mut field = |offset: usize, value: u64| context.write(offset, &value.to_le_bytes());
                field(
                    offset_of!(PacketContext, data),
                    first + input.meta_bytes.min(input.bytes.len()) as u64,
                );
                field(offset_of!(PacketContext, data_end), end);
                field(offset_of!(PacketContext, data_meta), first);
                field(offset_of!(PacketContext, head), data.address());
                field(offset_of!(PacketContext, tail), end + ROOM_BYTES as u64);
                context.write(offset_of!(PacketContext, port), &input.port.to_le_bytes());
                context.write(offset_of!(PacketContext, queue), &input.queue.to_le_bytes());
                data
            }
            ProgramKind::Raw { memory_bytes } => {
                let mut data = Buffer::new(memory_bytes as usize);
                data.write(0, &input.bytes);
                data
            }
            ProgramKind::Tracing | ProgramKind::Timer => {
                context.write(0, &input.bytes);
                Buffer::new(0)
            }
        };
        Self { kind, context, data }
    }

    /// Kind of the programs that it is for.
    #[must_use]
    pub const fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// R1 and R2 at the start.
    pub(crate) fn arguments(&self) -> (u64, u64) {
        match self.kind {
            ProgramKind::Raw { memory_bytes: 0 } => (0, 0),
            ProgramKind::Raw { memory_bytes } => (self.data.address(), memory_bytes.into()),
            ProgramKind::Packet | ProgramKind::Tracing | ProgramKind::Timer => (self.context.address(), 0),
        }
    }

    /// The context; nothing for raw programs.
    pub(crate) fn context(&self) -> Range<u64> {
        let bytes = match self.kind {
            ProgramKind::Packet => size_of::<PacketContext>(),
            ProgramKind::Tracing => size_of::<TracingContext>(),
            ProgramKind::Timer => size_of::<TimerContext>(),
            ProgramKind::Raw { .. } => 0,
        };
        self.context.address()..self.context.address() + bytes as u64
    }

    /// First byte, end and first byte of metadata of the packet as they are now; three times 0 without one.
    pub(crate) fn packet(&self) -> (u64, u64, u64) {
        if self.kind != ProgramKind::Packet {
            return (0, 0, 0);
        }
        (
            self.context.word(offset_of!(PacketContext, data)),
            self.context.word(offset_of!(PacketContext, data_end)),
            self.context.word(offset_of!(PacketContext, data_meta)),
        )
    }

    /// What the program may write: the packet with its metadata, or the raw memory.
    pub(crate) fn writable(&self) -> Range<u64> {
        match self.kind {
            ProgramKind::Packet => {
                let (_, end, meta) = self.packet();
                meta..end
            }
            ProgramKind::Raw { memory_bytes } => {
                self.data.address()..self.data.address() + u64::from(memory_bytes)
            }
            ProgramKind::Tracing | ProgramKind::Timer => 0..0,
        }
    }

    /// What is there now, without addresses.
    #[must_use]
    pub fn output(&self) -> Output {
        let writable = self.writable();
        let first = writable.start.saturating_sub(self.data.address()) as usize;
        let bytes = writable.end.saturating_sub(writable.start) as usize;
        let start = self.packet().0.saturating_sub(self.data.address());
        Output { start, bytes: self.data.read(first, bytes) }
    }
}
