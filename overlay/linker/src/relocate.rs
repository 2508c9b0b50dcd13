//! Computes and writes one relocated field.

use uio_protocol::image::{ExtensionImage, Relocation, RelocationKind};

use crate::plan::in_text;

/// Addend of a displacement that ends its instruction: the processor counts from the next one.
pub(crate) const END_OF_INSTRUCTION: i64 = -4;

/// The values that formulas are made of; letters as in the psABI, table 4.9. All arithmetic is modulo
/// 2^64, as the processor's is.
pub(crate) struct Terms {
    /// S: the symbol.
    pub(crate) symbol: u64,
    /// A.
    pub(crate) addend: i64,
    /// P: the field.
    pub(crate) place: u64,
    /// GOT: start of the global offset table.
    pub(crate) got: u64,
    /// G + GOT: the symbol's entry in it, if it has one.
    pub(crate) got_entry: u64,
    /// Size of the symbol.
    pub(crate) size: u32,
}

/// How a value is cut to the width of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Signed,
    Unsigned,
    /// Fits read either way.
    Either,
}

/// The value of the field.
pub(crate) fn value(kind: RelocationKind, terms: &Terms) -> u64 {
    let base = match kind {
        RelocationKind::Abs64
        | RelocationKind::Abs32
        | RelocationKind::Abs32Signed
        | RelocationKind::Abs16
        | RelocationKind::Abs8 => terms.symbol,
        RelocationKind::Pc64
        | RelocationKind::Pc32
        | RelocationKind::Pc16
        | RelocationKind::Pc8
        | RelocationKind::Plt32 => terms.symbol.wrapping_sub(terms.place),
        RelocationKind::GotPcRel
        | RelocationKind::GotPcRelX
        | RelocationKind::RexGotPcRelX
        | RelocationKind::GotPcRel64 => terms.got_entry.wrapping_sub(terms.place),
        RelocationKind::GotOff64 | RelocationKind::PltOff64 => terms.symbol.wrapping_sub(terms.got),
        RelocationKind::GotPc32 | RelocationKind::GotPc64 => terms.got.wrapping_sub(terms.place),
        RelocationKind::Got32 | RelocationKind::Got64 => terms.got_entry.wrapping_sub(terms.got),
        RelocationKind::Size32 | RelocationKind::Size64 => u64::from(terms.size),
    };
    base.wrapping_add_signed(terms.addend)
}

/// Writes `value` into `field`, which has the width of `kind`; `false` and nothing written if it does not fit.
pub(crate) fn write(kind: RelocationKind, value: u64, field: &mut [u8]) -> bool {
    let bits = u32::from(kind.width_bytes()) * 8;
    if !fits(value, bits, fit(kind)) || field.len() != usize::from(kind.width_bytes()) {
        return false;
    }
    field.copy_from_slice(&value.to_le_bytes()[..field.len()]);
    true
}

/// Whether a 32-bit displacement can hold `value`.
pub(crate) fn fits_displacement(value: u64) -> bool {
    fits(value, 32, Fit::Signed)
}

fn fit(kind: RelocationKind) -> Fit {
    match kind {
        RelocationKind::Abs32 | RelocationKind::Size32 => Fit::Unsigned,
        RelocationKind::Abs16 | RelocationKind::Abs8 => Fit::Either,
        _ => Fit::Signed,
    }
}

fn fits(value: u64, bits: u32, fit: Fit) -> bool {
    if bits >= 64 {
        return true;
    }
    let signed = {
        // The sign bit and all above it are equal.
        let top = value.cast_signed() >> (bits - 1);
        top == 0 || top == -1
    };
    let unsigned = value >> bits == 0;
    match fit {
        Fit::Signed => signed,
        Fit::Unsigned => unsigned,
        Fit::Either => signed || unsigned,
    }
}

/// Whether a relocation may go to a veneer in place of its symbol: `PLT32`, which says so, and `PC32` in a call
/// or jump (`e8`, `e9`, `0f 80` to `0f 8f`). A ModRM byte of a RIP-relative operand is none of these.
pub(crate) fn is_branch(image: &ExtensionImage, relocation: &Relocation) -> bool {
    match relocation.kind {
        RelocationKind::Plt32 => true,
        RelocationKind::Pc32 => {
            if !in_text(image, relocation.section) || relocation.addend != END_OF_INSTRUCTION {
                return false;
            }
            let bytes = &image.sections[usize::from(relocation.section)].bytes;
            let before = &bytes[..relocation.offset as usize];
            matches!(before, [.., 0xe8 | 0xe9] | [.., 0x0f, 0x80..=0x8f])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_every_width() {
        let cases: [(RelocationKind, &[u64], &[u64]); 8] = [
            (RelocationKind::Abs32, &[0, 0xffff_ffff], &[0x1_0000_0000, u64::MAX]),
            (
                RelocationKind::Abs32Signed,
                &[0, 0x7fff_ffff, 0xffff_ffff_8000_0000, u64::MAX],
                &[0x8000_0000, 0xffff_ffff_7fff_ffff],
            ),
            (RelocationKind::Abs16, &[0xffff, 0xffff_ffff_ffff_8000], &[0x1_0000, 0xffff_ffff_ffff_7fff]),
            (RelocationKind::Abs8, &[0xff, 0xffff_ffff_ffff_ff80], &[0x100, 0xffff_ffff_ffff_ff7f]),
            (RelocationKind::Pc16, &[0x7fff, 0xffff_ffff_ffff_8000], &[0x8000, 0xffff]),
            (RelocationKind::Pc8, &[0x7f, 0xffff_ffff_ffff_ff80], &[0x80, 0xff]),
            (RelocationKind::Pc32, &[0x7fff_ffff, 0xffff_ffff_8000_0000], &[0x8000_0000, 1 << 63]),
            (RelocationKind::Abs64, &[0, u64::MAX, 1 << 63], &[]),
        ];
        for (kind, good, bad) in cases {
            let width = usize::from(kind.width_bytes());
            for value in good {
                let mut field = [0xa5; 8];
                assert!(write(kind, *value, &mut field[..width]), "{kind:?} {value:#x}");
                assert_eq!(field[..width], value.to_le_bytes()[..width]);
                assert!(field[width..].iter().all(|byte| *byte == 0xa5));
            }
            for value in bad {
                let mut field = [0xa5; 8];
                assert!(!write(kind, *value, &mut field[..width]), "{kind:?} {value:#x}");
                assert_eq!(field, [0xa5; 8]);
            }
        }
    }

    #[test]
    fn formulas_follow_the_psabi() {
        let terms =
            Terms { symbol: 0x5000, addend: -4, place: 0x1000, got: 0x9000, got_entry: 0x9010, size: 0x20 };
        let expected = [
            (RelocationKind::Abs64, 0x5000 - 4),
            (RelocationKind::Abs32, 0x5000 - 4),
            (RelocationKind::Abs32Signed, 0x5000 - 4),
            (RelocationKind::Abs16, 0x5000 - 4),
            (RelocationKind::Abs8, 0x5000 - 4),
            (RelocationKind::Pc64, 0x4000 - 4),
            (RelocationKind::Pc32, 0x4000 - 4),
            (RelocationKind::Pc16, 0x4000 - 4),
            (RelocationKind::Pc8, 0x4000 - 4),
            (RelocationKind::Plt32, 0x4000 - 4),
            (RelocationKind::GotPcRel, 0x8010 - 4),
            (RelocationKind::GotPcRelX, 0x8010 - 4),
            (RelocationKind::RexGotPcRelX, 0x8010 - 4),
            (RelocationKind::GotPcRel64, 0x8010 - 4),
            (RelocationKind::GotOff64, -0x4000 - 4),
            (RelocationKind::PltOff64, -0x4000 - 4),
            (RelocationKind::GotPc32, 0x8000 - 4),
            (RelocationKind::GotPc64, 0x8000 - 4),
            (RelocationKind::Got32, 0x10 - 4),
            (RelocationKind::Got64, 0x10 - 4),
            (RelocationKind::Size32, 0x20 - 4),
            (RelocationKind::Size64, 0x20 - 4),
        ];
        for (kind, expected) in expected {
            assert_eq!(value(kind, &terms).cast_signed(), expected, "{kind:?}");
        }
    }
}
