//! Byte sequences that compiled code must not hold at any offset: whoever jumps into the middle of an instruction must
//! not find one that changes what the protection keys allow.

/// Bytes looked at together before any of them is looked at closely.
const BLOCK_BYTES: usize = 128;
const ESCAPE: u8 = 0x0f;

/// Whether `code` holds `wrpkru` (0F 01 EF), `xrstor` (0F AE /5), `xrstors` (0F C7 /3), `wrmsr` (0F 30) or `wrmsrns`
/// (0F 01 C6) at any offset.
#[must_use]
pub fn holds_forbidden(code: &[u8]) -> bool {
    find_forbidden(code, 0).is_some()
}

/// Offset of the first forbidden sequence that starts at `from` or after it.
pub(super) fn find_forbidden(code: &[u8], from: usize) -> Option<usize> {
    let mut start = from;
    while let Some(rest) = code.get(start..).filter(|rest| !rest.is_empty()) {
        let next = code.get(start + 1..).unwrap_or(&[]);
        let (block, next) = (&rest[..rest.len().min(BLOCK_BYTES)], &next[..next.len().min(BLOCK_BYTES)]);
        // Without a branch inside, so that many bytes are compared at once.
        let mut suspicious = false;
        for (first, second) in block.iter().zip(next) {
            suspicious |= (*first == ESCAPE) & is_suspicious(*second);
        }
        if suspicious {
            for offset in start..start + block.len() {
                if code.get(offset..).is_some_and(starts_forbidden) {
                    return Some(offset);
                }
            }
        }
        start += block.len();
    }
    None
}

const fn is_suspicious(second: u8) -> bool {
    (second == 0x30) | (second == 0x01) | (second == 0xae) | (second == 0xc7)
}

const fn starts_forbidden(code: &[u8]) -> bool {
    match *code {
        [ESCAPE, 0x30, ..] | [ESCAPE, 0x01, 0xef | 0xc6, ..] => true,
        [ESCAPE, 0xae, third, ..] => third >> 3 & 7 == 5,
        [ESCAPE, 0xc7, third, ..] => third >> 3 & 7 == 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_sequences_at_every_place_of_a_block() {
        for sequence in [
            &[0x0f, 0x30][..],
            &[0x0f, 0x01, 0xef],
            &[0x0f, 0xae, 0x2f],
            &[0x0f, 0xc7, 0x1f],
            &[0x0f, 0x01, 0xc6],
        ] {
            for place in 0..300 {
                let mut code = [0x0f_u8; 310];
                code[place..place + sequence.len()].copy_from_slice(sequence);
                assert_eq!(find_forbidden(&code, 0), Some(place), "{sequence:x?} at {place}");
                assert_eq!(find_forbidden(&code, place + 1), None);
                assert!(holds_forbidden(&code[..place + sequence.len()]));
                assert!(!holds_forbidden(&code[..place + sequence.len() - 1]));
            }
        }
    }

    #[test]
    fn passes_neighbours() {
        for code in [
            &[0x0f, 0x01, 0xee][..],
            &[0x0f, 0xae, 0xf0],
            &[0x0f, 0xc7, 0x0f],
            &[0x0f, 0x31],
            &[0x0f],
            &[0x30, 0x0f],
            &[],
        ] {
            assert!(!holds_forbidden(code), "{code:x?}");
        }
    }
}
