//! Programs compiled against Linux's `struct xdp_md`.

use alloc::vec::Vec;
use core::mem::offset_of;

use uio_bpf::context::{Field, FieldKind, PacketContext};

/// Linux's `struct xdp_md`, with what its fields become here: offset in ours and size.
pub(super) static XDP: [Field; 5] = [
    Field { offset: 0, bytes: 4, kind: FieldKind::PacketStart },
    Field { offset: 4, bytes: 4, kind: FieldKind::PacketEnd },
    Field { offset: 8, bytes: 4, kind: FieldKind::PacketMeta },
    Field { offset: 12, bytes: 4, kind: FieldKind::Scalar },
    Field { offset: 16, bytes: 4, kind: FieldKind::Scalar },
];

/// Opcode of an 8-byte load.
const LOAD_8: u64 = 0x79;

/// Native offset and whether 8 bytes are loaded, of an access at an offset of `struct xdp_md`.
fn native(offset: u32) -> Option<(u32, bool)> {
    let field = XDP.iter().rfind(|field| u32::from(field.offset) <= offset)?;
    let inside = offset - u32::from(field.offset);
    let (start, wide) = match field.offset {
        0 => (offset_of!(PacketContext, data), true),
        4 => (offset_of!(PacketContext, data_end), true),
        8 => (offset_of!(PacketContext, data_meta), true),
        12 => (offset_of!(PacketContext, port), false),
        _ => (offset_of!(PacketContext, queue), false),
    };
    (!wide || inside == 0).then_some((start as u32 + inside, wide))
}

/// Rewrites the loads at the slots in `accesses` (slot, offset in `struct xdp_md`, base's distance from the context's
/// start) to the native layout. Gives the native offsets by slot, or the slot that cannot be rewritten.
pub(super) fn rewrite(slots: &mut [u64], accesses: &[(u32, u32, i64)]) -> Result<Vec<(u32, u32)>, u32> {
    let mut done = Vec::with_capacity(accesses.len());
    for (slot, offset, base) in accesses {
        let (native, wide) = native(*offset).ok_or(*slot)?;
        let field = i16::try_from(i64::from(native) - base).map_err(|_| *slot)?;
        let word = slots.get_mut(*slot as usize).ok_or(*slot)?;
        *word = *word & !0xffff_0000 | u64::from(field as u16) << 16;
        if wide {
            *word = *word & !0xff | LOAD_8;
        }
        done.push((*slot, native));
    }
    Ok(done)
}
