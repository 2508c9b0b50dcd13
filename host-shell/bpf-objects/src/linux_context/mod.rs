//! Linux's context of packet programs, and ours.
//!
//! Programs for `xdp` are compiled against Linux's `struct xdp_md`, six fields of 32 bits of which the first three
//! stand for pointers. [`convert`] rewrites their loads into loads of our [`PacketContext`], one instruction for one.
//! What it produces is verified like any other program, so nothing rests on it.

mod find;

use core::mem::offset_of;

use uio_bpf::context::{FieldKind, PacketContext};
use uio_bpf::instruction::{Operation, Size, decode};
use uio_protocol::bpf::ProgramImage;

pub use find::{Access, find_accesses};

use crate::ParsedObject;
use crate::section::ContextLayout;
use crate::slot::with_offset;

/// Why a program's context accesses cannot be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("program `{program}`, instruction {slot}: {reason}")]
pub struct ContextError {
    /// The program.
    pub program: String,
    /// The instruction.
    pub slot: u32,
    /// What is wrong, with the offending values.
    pub reason: String,
}

/// A field of `struct xdp_md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinuxField {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the start. Each has 4 bytes.
    pub offset: u16,
    /// What a load of it becomes.
    pub becomes: Translation,
}

/// What a load from Linux's context becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// A load from ours.
    Field {
        /// Bytes from the start.
        offset: u16,
        /// Width of the access.
        size: Size,
        /// What the field holds.
        kind: FieldKind,
    },
    /// The number 0: there is no such thing here.
    Zero,
}

/// Bytes of each field.
const LINUX_FIELD_BYTES: u16 = 4;

const fn pointer(name: &'static str, offset: u16, ours: usize, kind: FieldKind) -> LinuxField {
    LinuxField { name, offset, becomes: Translation::Field { offset: ours as u16, size: Size::B8, kind } }
}

const fn number(name: &'static str, offset: u16, ours: usize) -> LinuxField {
    let kind = FieldKind::Scalar;
    LinuxField { name, offset, becomes: Translation::Field { offset: ours as u16, size: Size::B4, kind } }
}

/// All fields of `struct xdp_md` (Linux, include/uapi/linux/bpf.h), ascending.
pub const XDP_FIELDS: [LinuxField; 6] = [
    pointer("data", 0, offset_of!(PacketContext, data), FieldKind::PacketStart),
    pointer("data_end", 4, offset_of!(PacketContext, data_end), FieldKind::PacketEnd),
    pointer("data_meta", 8, offset_of!(PacketContext, data_meta), FieldKind::PacketMeta),
    number("ingress_ifindex", 12, offset_of!(PacketContext, port)),
    number("rx_queue_index", 16, offset_of!(PacketContext, queue)),
    LinuxField { name: "egress_ifindex", offset: 20, becomes: Translation::Zero },
];

/// What a load of `size` at `offset` of `struct xdp_md` becomes. Pointers are read whole; numbers may be read in part.
#[must_use]
pub fn translate(offset: i64, size: Size) -> Option<Translation> {
    let bytes = i64::from(size.bytes());
    let field = XDP_FIELDS.iter().find(|field| {
        let start = i64::from(field.offset);
        (start..start + i64::from(LINUX_FIELD_BYTES)).contains(&offset)
    })?;
    let inside = offset - i64::from(field.offset);
    if inside + bytes > i64::from(LINUX_FIELD_BYTES) || inside % bytes != 0 {
        return None;
    }
    match field.becomes {
        Translation::Zero => Some(Translation::Zero),
        Translation::Field { offset, size: whole @ Size::B8, kind } => (bytes
            == i64::from(LINUX_FIELD_BYTES))
        .then_some(Translation::Field { offset, size: whole, kind }),
        Translation::Field { offset, kind, .. } => {
            Some(Translation::Field { offset: offset + inside as u16, size, kind })
        }
    }
}

/// Rewrites one load whose base register holds the context's address plus `base_offset` bytes.
///
/// # Errors
///
/// A sentence if it is no load of a field.
pub fn rewrite(slot: u64, base_offset: i64) -> Result<u64, String> {
    let operation = decode(&[slot]).ok().and_then(|decoded| decoded.get(0));
    let Some(Operation::Load { size, signed, destination, offset, .. }) = operation else {
        return Err("the context is accessed by something that is no load".into());
    };
    let from = base_offset + i64::from(offset);
    let translation = if signed { None } else { translate(from, size) };
    let translation = translation.ok_or_else(|| {
        let fields: Vec<&str> = XDP_FIELDS.iter().map(|field| field.name).collect();
        format!(
            "reads {} bytes at offset {from} of struct xdp_md, which has {} of 4 bytes each",
            size.bytes(),
            fields.join(", ")
        )
    })?;
    match translation {
        // 32-bit move of an immediate, which fills the register.
        Translation::Zero => Ok(0xb4 | (destination.index() as u64) << 8),
        Translation::Field { offset, size, .. } => {
            let code = match size {
                Size::B1 => 0x71,
                Size::B2 => 0x69,
                Size::B4 => 0x61,
                Size::B8 => 0x79,
            };
            let distance = i16::try_from(i64::from(offset) - base_offset)
                .map_err(|_| format!("{base_offset} bytes from the context are too far"))?;
            Ok(with_offset(slot, distance) & !0xff | code)
        }
    }
}

/// Rewrites the loads at `accesses`.
///
/// # Errors
///
/// [`ContextError`] for the first that reads no field.
pub fn rewrite_program(program: &mut ProgramImage, accesses: &[Access]) -> Result<(), ContextError> {
    for access in accesses {
        let error = |reason| ContextError { program: program.name.clone(), slot: access.slot, reason };
        let slot = program.slots.get(access.slot as usize).copied();
        let rewritten = slot.ok_or_else(|| "no such instruction".to_string());
        let rewritten = rewritten.and_then(|slot| rewrite(slot, access.base_offset)).map_err(error)?;
        program.slots[access.slot as usize] = rewritten;
    }
    Ok(())
}

/// Rewrites all programs of an object that were compiled for Linux's layout, and notes that they now expect ours.
///
/// # Errors
///
/// [`ContextError`] for the first load that reads no field, or whose base is the context on some ways to it only.
pub fn convert(object: &mut ParsedObject) -> Result<(), ContextError> {
    for (program, source) in object.image.programs.iter_mut().zip(&mut object.source.programs) {
        if source.layout == ContextLayout::LinuxXdp {
            let accesses = find_accesses(program)?;
            rewrite_program(program, &accesses)?;
            source.layout = ContextLayout::Native;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_goes_to_its_place() {
        let field = |offset, size, kind| Some(Translation::Field { offset, size, kind });
        assert_eq!(translate(0, Size::B4), field(0, Size::B8, FieldKind::PacketStart));
        assert_eq!(translate(4, Size::B4), field(8, Size::B8, FieldKind::PacketEnd));
        assert_eq!(translate(8, Size::B4), field(24, Size::B8, FieldKind::PacketMeta));
        assert_eq!(translate(12, Size::B4), field(16, Size::B4, FieldKind::Scalar));
        assert_eq!(translate(16, Size::B4), field(20, Size::B4, FieldKind::Scalar));
        assert_eq!(translate(18, Size::B2), field(22, Size::B2, FieldKind::Scalar));
        assert_eq!(translate(15, Size::B1), field(19, Size::B1, FieldKind::Scalar));
        assert_eq!(translate(20, Size::B4), Some(Translation::Zero));
        for (offset, size) in [
            (0, Size::B8),
            (0, Size::B2),
            (2, Size::B4),
            (13, Size::B2),
            (24, Size::B4),
            (-4, Size::B4),
            (14, Size::B4),
        ] {
            assert_eq!(translate(offset, size), None, "{offset} {size:?}");
        }
    }

    #[test]
    fn loads_keep_their_registers() {
        // r2 = *(u32 *)(r1 + 4) becomes r2 = *(u64 *)(r1 + 8).
        assert_eq!(rewrite(0x0000_0000_0004_1261, 0), Ok(0x0000_0000_0008_1279));
        // The same by a base 4 bytes in front.
        assert_eq!(rewrite(0x0000_0000_0008_1261, -4), Ok(0x0000_0000_000c_1279));
        // w3 = *(u32 *)(r6 + 20) becomes w3 = 0.
        assert_eq!(rewrite(0x0000_0000_0014_6361, 0), Ok(0x0000_0000_0000_03b4));
        assert!(rewrite(0x0000_0000_0000_0095, 0).is_err());
        assert!(rewrite(0x0000_0000_0018_1261, 0).unwrap_err().contains("offset 24"));
        // Sign-extending.
        assert!(rewrite(0x0000_0000_000c_1281, 0).is_err());
    }
}
