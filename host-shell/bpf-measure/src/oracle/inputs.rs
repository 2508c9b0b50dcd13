//! What generated programs are called with.

use uio_protocol::bpf::ProgramKind;

use super::source::Source;
use crate::run::Input;

/// Words at which arithmetic and comparisons go wrong.
const WORDS: [u64; 18] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
    u64::MAX - 1,
];

/// Bytes of the longest generated packet.
const PACKET_BYTES_MAX: usize = 96;

/// An input for programs of `kind`.
pub fn input(kind: ProgramKind, source: &mut impl Source) -> Input {
    let length = match kind {
        ProgramKind::Packet if source.chance(80) => 64,
        ProgramKind::Packet => source.below(PACKET_BYTES_MAX + 1),
        ProgramKind::Raw { memory_bytes } => memory_bytes as usize,
        ProgramKind::Tracing => size_of::<uio_bpf::context::TracingContext>(),
        ProgramKind::Timer => size_of::<uio_bpf::context::TimerContext>(),
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        let word = if source.chance(50) { source.pick(&WORDS) } else { source.next() };
        let taken = source.pick(&[1, 4, 8]);
        bytes.extend_from_slice(&word.to_le_bytes()[..taken]);
    }
    bytes.truncate(length);
    let meta_bytes = if kind == ProgramKind::Packet && source.chance(10) { 4.min(length) } else { 0 };
    Input { bytes, meta_bytes, port: source.pick(&WORDS) as u32, queue: source.pick(&WORDS) as u32 }
}
