//! Contexts as PREVAIL describes them: a size, and where the pointers into a packet are.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::sync::{Mutex, PoisonError};

use prevail::spec::ebpf_base::EbpfCtxDescriptor;
use uio_bpf::context::{PacketContext, TimerContext, TracingContext};
use uio_protocol::bpf::ProgramKind;

use super::super::ContextLayout;

/// Programs see a `PacketContext` up to the fields that only helpers use.
static PACKET: EbpfCtxDescriptor = EbpfCtxDescriptor {
    size: offset_of!(PacketContext, head) as i32,
    data: offset_of!(PacketContext, data) as i32,
    end: offset_of!(PacketContext, data_end) as i32,
    meta: offset_of!(PacketContext, data_meta) as i32,
};

/// `struct xdp_md`, up to `rx_queue_index`.
static XDP: EbpfCtxDescriptor = EbpfCtxDescriptor { size: 20, data: 0, end: 4, meta: 8 };

static TRACING: EbpfCtxDescriptor = plain(size_of::<TracingContext>() as i32);
static TIMER: EbpfCtxDescriptor = plain(size_of::<TimerContext>() as i32);

const fn plain(size: i32) -> EbpfCtxDescriptor {
    EbpfCtxDescriptor { size, data: -1, end: -1, meta: -1 }
}

/// The context of programs of `kind`, compiled for `layout`.
pub(super) fn descriptor(kind: ProgramKind, layout: ContextLayout) -> &'static EbpfCtxDescriptor {
    match (kind, layout) {
        (ProgramKind::Packet, ContextLayout::Native) => &PACKET,
        (ProgramKind::Packet, ContextLayout::LinuxXdp) => &XDP,
        (ProgramKind::Tracing, _) => &TRACING,
        (ProgramKind::Timer, _) => &TIMER,
        (ProgramKind::Raw { memory_bytes }, _) => memory(memory_bytes),
    }
}

/// A context of this size. PREVAIL wants it to live for ever; one for each size does.
fn memory(bytes: u32) -> &'static EbpfCtxDescriptor {
    static KNOWN: Mutex<BTreeMap<u32, &'static EbpfCtxDescriptor>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(bytes).or_insert_with(|| Box::leak(Box::new(plain(i32::try_from(bytes).unwrap_or(i32::MAX)))))
}
