//! What a program of each kind is called with: the memory behind R1.
//!
//! Programs are compiled against Linux's layouts where Linux has them; the host rewrites their context accesses
//! to these layouts, and the guest checks and runs only the rewritten form. So nothing translates at run time.

use uio_protocol::bpf::ProgramKind;

/// Context of [`ProgramKind::Packet`]. The first 24 bytes are those that MorphOS's tenants see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketContext {
    /// Address of the first byte of the packet.
    pub data: u64,
    /// One past its last byte.
    pub data_end: u64,
    /// Port or interface it came in by.
    pub port: u32,
    /// Queue it came in by.
    pub queue: u32,
    /// Address of metadata in front of the packet; equals `data` without any.
    pub data_meta: u64,
    /// Lowest address that `data` may be moved to.
    pub head: u64,
    /// One past the highest address that `data_end` may be moved to.
    pub tail: u64,
}

/// Context of [`ProgramKind::Tracing`]: registers in the order of Linux's `struct pt_regs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "registers by their names")]
#[repr(C)]
pub struct TracingContext {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Context of [`ProgramKind::Timer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TimerContext {
    /// When it was due, nanoseconds since boot.
    pub due_ns: u64,
    /// Calls that were missed since the last one.
    pub missed: u64,
}

/// What a field of a context holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A number; may be read in whole or in part.
    Scalar,
    /// Packet start: reading all 8 bytes gives a packet pointer.
    PacketStart,
    /// Packet end.
    PacketEnd,
    /// Start of the metadata in front of the packet.
    PacketMeta,
    /// Not for programs.
    Hidden,
}

/// A field of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start.
    pub offset: u16,
    /// Size in bytes.
    pub bytes: u16,
    /// What it holds.
    pub kind: FieldKind,
}

/// Fields of a context, ascending. No program writes its context. [`ProgramKind::Raw`] has none: R1 is plain
/// writable memory.
#[must_use]
pub const fn fields(kind: ProgramKind) -> &'static [Field] {
    match kind {
        ProgramKind::Packet => &PACKET,
        ProgramKind::Tracing => &TRACING,
        ProgramKind::Timer => &TIMER,
        ProgramKind::Raw { .. } => &[],
    }
}

const fn field(offset: usize, bytes: usize, kind: FieldKind) -> Field {
    Field { offset: offset as u16, bytes: bytes as u16, kind }
}

static PACKET: [Field; 7] = [
    field(core::mem::offset_of!(PacketContext, data), 8, FieldKind::PacketStart),
    field(core::mem::offset_of!(PacketContext, data_end), 8, FieldKind::PacketEnd),
    field(core::mem::offset_of!(PacketContext, port), 4, FieldKind::Scalar),
    field(core::mem::offset_of!(PacketContext, queue), 4, FieldKind::Scalar),
    field(core::mem::offset_of!(PacketContext, data_meta), 8, FieldKind::PacketMeta),
    field(core::mem::offset_of!(PacketContext, head), 8, FieldKind::Hidden),
    field(core::mem::offset_of!(PacketContext, tail), 8, FieldKind::Hidden),
];
static TRACING: [Field; 1] = [field(0, size_of::<TracingContext>(), FieldKind::Scalar)];
static TIMER: [Field; 1] = [field(0, size_of::<TimerContext>(), FieldKind::Scalar)];
