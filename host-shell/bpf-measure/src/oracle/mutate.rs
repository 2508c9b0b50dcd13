//! Programs made from others: compiled ones, changed in a place or two.

use uio_protocol::bpf::ObjectImage;

use super::source::Source;

/// `object` with program number `index` only, changed in one to four places. The result may be no program at all.
#[must_use]
pub fn mutated(object: &ObjectImage, index: usize, source: &mut impl Source) -> ObjectImage {
    let mut object = object.clone();
    let mut program = object.programs.swap_remove(index);
    let slots = &mut program.slots;
    for _ in 0..source.pick(&[1, 1, 2, 4]) {
        let place = source.below(slots.len());
        match source.below(8) {
            // An immediate, an offset, a register, an opcode, one bit of anything.
            0 => {
                let delta = source.pick(&[1u64, u64::from(u32::MAX), 8, 0x8000_0000]) << 32;
                slots[place] = slots[place].wrapping_add(delta);
            }
            1 => slots[place] ^= (source.pick(&[1u64, 2, 8, 0xffff]) & 0xffff) << 16,
            2 => slots[place] ^= 1 << (8 + source.below(8)),
            3 => slots[place] = slots[place] & !0xff | u64::from(source.next() as u8),
            4 => slots[place] ^= 1 << source.below(64),
            // Width: ALU32 and ALU64, jumps of both widths.
            5 => slots[place] ^= 3,
            // An instruction again, or two the other way round.
            6 => {
                let other = source.below(slots.len());
                slots[place] = slots[other];
            }
            _ => {
                let other = source.below(slots.len());
                slots.swap(place, other);
            }
        }
    }
    object.programs = vec![program];
    object
}
