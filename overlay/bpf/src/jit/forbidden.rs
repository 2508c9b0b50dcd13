//! Byte sequences that compiled code must not hold at any offset: whoever jumps into the middle of an instruction must
//! not find one that changes what the protection keys allow.

/// Whether `code` holds `wrpkru` (0F 01 EF), `xrstor` (0F AE /5), `xrstors` (0F C7 /3), `wrmsr` (0F 30) or `wrmsrns`
/// (0F 01 C6) at any offset.
#[must_use]
pub fn holds_forbidden(code: &[u8]) -> bool {
    let mut rest = code;
    while let Some(place) = find_escape(rest) {
        rest = &rest[place + 1..];
        let found = match *rest {
            [0x30, ..] | [0x01, 0xef | 0xc6, ..] => true,
            [0xae, third, ..] => third >> 3 & 7 == 5,
            [0xc7, third, ..] => third >> 3 & 7 == 3,
            _ => false,
        };
        if found {
            return true;
        }
    }
    false
}

/// Offset of the first byte 0F: eight bytes a step.
fn find_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte of `word` is zero exactly where the one wanted was; the lowest one found is right, others may not be.
        let word = u64::from_le_bytes(*word) ^ (ONES * 0x0f);
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| *byte == 0x0f).map(|place| words.len() * 8 + place)
}
