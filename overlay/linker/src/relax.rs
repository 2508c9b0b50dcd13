//! Replaces a load from the global offset table by the address itself (psABI B.2), where it is in
//! reach: same length, same registers, one memory access less.

use crate::relocate::{END_OF_INSTRUCTION, fits_displacement};

/// Opcodes and ModRM bytes of the instructions that can be replaced, and their replacements.
const MOV_LOAD: u8 = 0x8b;
const LEA: u8 = 0x8d;
const GROUP_5: u8 = 0xff;
const CALL_INDIRECT: u8 = 0x15;
const JMP_INDIRECT: u8 = 0x25;
const CALL: u8 = 0xe8;
const JMP: u8 = 0xe9;
const NOP: u8 = 0x90;
/// An address-size prefix, which does nothing before a near call and fills the sixth byte.
const ADDRESS_SIZE: u8 = 0x67;
/// Bits of a ModRM byte that say "RIP-relative" when equal to [`MODRM_RIP`]; the others name the register.
const MODRM_MASK: u8 = 0xc7;
const MODRM_RIP: u8 = 0x05;

/// Rewrites the instruction whose displacement is at `field` of the section's bytes `code`, so that it
/// uses the address `symbol` directly. `place` is the address of the field.
///
/// Returns `false`, and changes nothing, if the instruction is not one that can be replaced, or the symbol is
/// out of reach.
pub(crate) fn relax(code: &mut [u8], field: usize, symbol: u64, place: u64, addend: i64) -> bool {
    if addend != END_OF_INSTRUCTION {
        return false;
    }
    let Some(instruction) = field.checked_sub(2).and_then(|start| code.get_mut(start..field + 4)) else {
        return false;
    };
    let displacement = symbol.wrapping_sub(place).wrapping_add_signed(addend);
    // `jmp` is one byte shorter than what it replaces, so its displacement counts from one byte before.
    let (opcode, displacement) = match (instruction[0], instruction[1]) {
        (MOV_LOAD, modrm) if modrm & MODRM_MASK == MODRM_RIP => ([LEA, modrm], displacement),
        (GROUP_5, CALL_INDIRECT) => ([ADDRESS_SIZE, CALL], displacement),
        (GROUP_5, JMP_INDIRECT) => ([JMP, NOP], displacement.wrapping_add(1)),
        _ => return false,
    };
    if !fits_displacement(displacement) {
        return false;
    }
    let [a, b, c, d, ..] = displacement.to_le_bytes();
    let relaxed = if opcode[0] == JMP { [JMP, a, b, c, d, NOP] } else { [opcode[0], opcode[1], a, b, c, d] };
    instruction.copy_from_slice(&relaxed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: u64 = 0x10_0003;
    const SYMBOL: u64 = 0x20_0000;

    fn relaxed(code: &[u8], field: usize) -> Option<alloc::vec::Vec<u8>> {
        let mut bytes = code.to_vec();
        relax(&mut bytes, field, SYMBOL, PLACE, -4).then_some(bytes)
    }

    #[test]
    fn load_becomes_lea() {
        // mov rax, [rip + 0]
        let bytes = relaxed(&[0x48, 0x8b, 0x05, 0, 0, 0, 0], 3).unwrap();
        assert_eq!(bytes, [0x48, 0x8d, 0x05, 0xf9, 0xff, 0x0f, 0]);
        assert_eq!(PLACE + 4 + 0x0f_fff9, SYMBOL);
    }

    #[test]
    fn indirect_calls_and_jumps_become_direct() {
        assert_eq!(relaxed(&[0, 0xff, 0x15, 0, 0, 0, 0], 3).unwrap(), [0, 0x67, 0xe8, 0xf9, 0xff, 0x0f, 0]);
        // The next instruction of the shorter jump begins at PLACE + 3.
        assert_eq!(relaxed(&[0, 0xff, 0x25, 0, 0, 0, 0], 3).unwrap(), [0, 0xe9, 0xfa, 0xff, 0x0f, 0, 0x90]);
    }

    #[test]
    fn others_are_left_alone() {
        assert_eq!(relaxed(&[0x48, 0x03, 0x05, 0, 0, 0, 0], 3), None, "add");
        assert_eq!(relaxed(&[0x48, 0x8b, 0x40, 0, 0, 0, 0], 3), None, "not RIP-relative");
        assert_eq!(relaxed(&[0x8b, 0, 0, 0, 0], 1), None, "before the section");
        assert_eq!(relaxed(&[0x48, 0x8b, 0x05, 0, 0], 3), None, "behind the section");
        let mut bytes = [0x48, 0x8b, 0x05, 0, 0, 0, 0];
        assert!(!relax(&mut bytes, 3, 1 << 40, PLACE, -4), "out of reach");
        assert!(!relax(&mut bytes, 3, SYMBOL, PLACE, 0), "displacement is not last");
        assert_eq!(bytes, [0x48, 0x8b, 0x05, 0, 0, 0, 0]);
    }
}
