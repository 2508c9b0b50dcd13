//! Finds byte sequences of forbidden instructions in text, at any alignment.
//!
//! Code is not decoded: a jump may land inside an instruction, so every offset counts. All sequences
//! begin with the byte `0F` and are recognised by at most two bytes after it; prefixes in front change
//! nothing that matters here and are ignored. One pass, at most three bytes looked at per offset.
//!
//! **Scan what is contiguous in memory in one piece**, stubs and padding included: a sequence may
//! straddle two sections that lie next to each other.
//!
//! # Sequences by chance
//!
//! Bytes of immediates, displacements and neighbouring instructions can form a sequence that nobody
//! meant. In uniformly random text, the chance per offset is [`Policy::matches_in_2_24`] / 2²⁴:
//!
//! | policy | 3-byte strings | per MiB of random bytes |
//! |---|---|---|
//! | [`Policy::Ring3`] | 49 | 3.1 |
//! | [`Policy::Ring0`] | 305 | 19 |
//! | [`Policy::Ring0Strict`] | 2,846 | 178 |
//!
//! Compiled code is not random. Counted in November 2026 over 692 MiB of text in the programs and libraries of
//! a Debian 12: 0.06 per MiB under `Ring3` (4 `wrpkru`, 24 `xrstor`, 12 `xrstors`; some are meant, in the dynamic linker and
//! `pkey_set`), 1.5 per MiB under `Ring0` (981 `wrmsr`, none meant). An extension of 64 KiB is thus
//! refused without cause in about 0.4 % and 9 % of cases. The cure is in the build: another register, a split immediate,
//! other padding.
//!
//! # What this does not find
//!
//! Privileged instructions of one byte (`hlt`, `cli`, `sti`, `iret`, `popf`, `in`, `out`) are too
//! common as data to look for, and code reached by jumping out of the scanned text is not in it.
//! Untrusted native code belongs in ring 3.

use core::fmt;
use core::iter::FusedIterator;

/// An instruction that loaded text must not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forbidden {
    /// `wrpkru`, 0F 01 EF: writes PKRU.
    Wrpkru,
    /// `xrstor`, `xrstor64`, 0F AE /5 with a memory operand: loads PKRU from an image of its choice.
    Xrstor,
    /// `xrstors`, 0F C7 /3 with a memory operand: the same, ring 0 only.
    Xrstors,
    /// `wrmsr`, 0F 30: writes IA32_PKRS and any other model-specific register.
    Wrmsr,
    /// `wrmsrns`, `wrmsrlist`, 0F 01 C6: the newer forms of `wrmsr`.
    Wrmsrns,
    /// `mov cr, reg`, 0F 22.
    MovToControl,
    /// `mov dr, reg`, 0F 23.
    MovToDebug,
    /// `clts`, 0F 06.
    Clts,
    /// `sysret`, 0F 07.
    Sysret,
    /// `invd`, 0F 08: drops dirty cache lines.
    Invd,
    /// `wbinvd`, 0F 09.
    Wbinvd,
    /// `sysexit`, 0F 35.
    Sysexit,
    /// `getsec`, 0F 37.
    Getsec,
    /// `rsm`, 0F AA.
    Rsm,
    /// `lldt`, 0F 00 /2.
    Lldt,
    /// `ltr`, 0F 00 /3.
    Ltr,
    /// `lkgs`, 0F 00 /6 (with F2).
    Lkgs,
    /// `lgdt`, 0F 01 /2 with a memory operand.
    Lgdt,
    /// `lidt`, 0F 01 /3 with a memory operand.
    Lidt,
    /// `lmsw`, 0F 01 /6.
    Lmsw,
    /// `invlpg`, 0F 01 /7 with a memory operand.
    Invlpg,
    /// `vmcall`, `vmlaunch`, `vmresume`, `vmxoff`, 0F 01 C1 to C4.
    Vmx,
    /// `clac`, `stac`, `eretu`, `erets`, 0F 01 CA and CB.
    Smap,
    /// `xsetbv`, 0F 01 D1: could take PKRU out of the saved state.
    Xsetbv,
    /// `vmrun` and its relatives, `invlpga`, 0F 01 D8 to DF.
    Svm,
    /// `swapgs`, 0F 01 F8.
    Swapgs,
    /// `wrfsbase`, `wrgsbase`, 0F AE /2 and /3 with a register (and F3).
    WriteSegmentBase,
    /// `invept`, `invvpid`, `invpcid`, 0F 38 80 to 82.
    Invalidate,
    /// `wruss`, 0F 38 F5 (with 66): writes shadow stacks.
    Wruss,
}

impl Forbidden {
    /// The mnemonic; of a group, the best-known one.
    pub const fn mnemonic(self) -> &'static str {
        match self {
            Self::Wrpkru => "wrpkru",
            Self::Xrstor => "xrstor",
            Self::Xrstors => "xrstors",
            Self::Wrmsr => "wrmsr",
            Self::Wrmsrns => "wrmsrns",
            Self::MovToControl => "mov to cr",
            Self::MovToDebug => "mov to dr",
            Self::Clts => "clts",
            Self::Sysret => "sysret",
            Self::Invd => "invd",
            Self::Wbinvd => "wbinvd",
            Self::Sysexit => "sysexit",
            Self::Getsec => "getsec",
            Self::Rsm => "rsm",
            Self::Lldt => "lldt",
            Self::Ltr => "ltr",
            Self::Lkgs => "lkgs",
            Self::Lgdt => "lgdt",
            Self::Lidt => "lidt",
            Self::Lmsw => "lmsw",
            Self::Invlpg => "invlpg",
            Self::Vmx => "vmcall",
            Self::Smap => "stac",
            Self::Xsetbv => "xsetbv",
            Self::Svm => "vmrun",
            Self::Swapgs => "swapgs",
            Self::WriteSegmentBase => "wrgsbase",
            Self::Invalidate => "invpcid",
            Self::Wruss => "wruss",
        }
    }

    /// The mildest policy that forbids it.
    const fn policy(self) -> Policy {
        match self {
            Self::Wrpkru | Self::Xrstor | Self::Xrstors => Policy::Ring3,
            Self::Wrmsr => Policy::Ring0,
            _ => Policy::Ring0Strict,
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.mnemonic())
    }
}

/// Which instructions are forbidden; each level includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// What changes the keys' rights and does not fault in ring 3 (`xrstors` does, but is as rare).
    Ring3,
    /// Also `wrmsr`, which in ring 0 reaches IA32_PKRS.
    Ring0,
    /// Also the other privileged instructions of more than one byte.
    Ring0Strict,
}

impl Policy {
    /// At how many of the 2²⁴ strings of three bytes a finding begins: the false-positive rate in random text.
    pub const fn matches_in_2_24(self) -> u32 {
        // A memory operand has mod 0 to 2: three of four, times eight for r/m, is 24 ModRM bytes.
        const MEMORY: u32 = 24;
        // Two-byte sequences leave the third byte free.
        const FREE: u32 = 256;
        const RING3: u32 = 1 + MEMORY + MEMORY;
        const RING0: u32 = RING3 + FREE;
        // mov cr, mov dr, clts, sysret, invd, wbinvd, sysexit, getsec, rsm
        const TWO_BYTE: u32 = 9 * FREE;
        // lldt, ltr, lkgs: every mod
        const GROUP_6: u32 = 3 * 32;
        // lgdt, lidt, invlpg; lmsw; vmx, smap, svm; wrmsrns, xsetbv, swapgs
        const GROUP_7: u32 = 3 * MEMORY + 32 + (4 + 2 + 8) + 3;
        // wrfsbase, wrgsbase
        const GROUP_15: u32 = 2 * 8;
        // 0F 38 80 to 82, F5
        const MAP_38: u32 = 4;
        match self {
            Self::Ring3 => RING3,
            Self::Ring0 => RING0,
            Self::Ring0Strict => RING0 + TWO_BYTE + GROUP_6 + GROUP_7 + GROUP_15 + MAP_38,
        }
    }
}

/// A forbidden sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Offset in bytes of its `0F`, which prefixes may precede.
    pub offset: usize,
    /// What it decodes to from there.
    pub instruction: Forbidden,
}

/// Every finding in `text`, in order of offset.
pub fn scan(text: &[u8], policy: Policy) -> Scan<'_> {
    Scan { text, policy, next: 0 }
}

/// Iterator over findings, see [`scan`].
#[derive(Clone, Debug)]
pub struct Scan<'text> {
    text: &'text [u8],
    policy: Policy,
    next: usize,
}

impl Iterator for Scan<'_> {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        while let Some(rest) = self.text.get(self.next..) {
            let skipped = rest.iter().position(|&byte| byte == 0x0f)?;
            let offset = self.next + skipped;
            self.next = offset + 1;
            let mut after = rest[skipped + 1..].iter().copied();
            let Some(opcode) = after.next() else { continue };
            if let Some(instruction) = recognise(opcode, after.next())
                && instruction.policy() <= self.policy
            {
                return Some(Finding { offset, instruction });
            }
        }
        None
    }
}

impl FusedIterator for Scan<'_> {}

/// The forbidden instruction that follows the byte `0F`, if any. `third` is absent at the end of the text.
const fn recognise(opcode: u8, third: Option<u8>) -> Option<Forbidden> {
    let found = match opcode {
        0x30 => Forbidden::Wrmsr,
        0x22 => Forbidden::MovToControl,
        0x23 => Forbidden::MovToDebug,
        0x06 => Forbidden::Clts,
        0x07 => Forbidden::Sysret,
        0x08 => Forbidden::Invd,
        0x09 => Forbidden::Wbinvd,
        0x35 => Forbidden::Sysexit,
        0x37 => Forbidden::Getsec,
        0xaa => Forbidden::Rsm,
        _ => {
            let Some(third) = third else { return None };
            let is_memory = third >> 6 != 0b11;
            let extension = third >> 3 & 0b111;
            match (opcode, extension, is_memory) {
                (0x00, 2, _) => Forbidden::Lldt,
                (0x00, 3, _) => Forbidden::Ltr,
                (0x00, 6, _) => Forbidden::Lkgs,
                (0x01, 2, true) => Forbidden::Lgdt,
                (0x01, 3, true) => Forbidden::Lidt,
                (0x01, 6, _) => Forbidden::Lmsw,
                (0x01, 7, true) => Forbidden::Invlpg,
                (0x01, _, false) => match third {
                    0xc1..=0xc4 => Forbidden::Vmx,
                    0xc6 => Forbidden::Wrmsrns,
                    0xca | 0xcb => Forbidden::Smap,
                    0xd1 => Forbidden::Xsetbv,
                    0xd8..=0xdf => Forbidden::Svm,
                    0xef => Forbidden::Wrpkru,
                    0xf8 => Forbidden::Swapgs,
                    _ => return None,
                },
                (0xae, 5, true) => Forbidden::Xrstor,
                (0xae, 2 | 3, false) => Forbidden::WriteSegmentBase,
                (0xc7, 3, true) => Forbidden::Xrstors,
                (0x38, _, _) => match third {
                    0x80..=0x82 => Forbidden::Invalidate,
                    0xf5 => Forbidden::Wruss,
                    _ => return None,
                },
                _ => return None,
            }
        }
    };
    Some(found)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    use super::*;

    fn only(bytes: &[u8], policy: Policy) -> Vec<(usize, Forbidden)> {
        scan(bytes, policy).map(|finding| (finding.offset, finding.instruction)).collect()
    }

    #[test]
    fn finds_what_assemblers_emit() {
        let table: &[(&[u8], Forbidden)] = &[
            (&[0x0f, 0x01, 0xef], Forbidden::Wrpkru),
            (&[0x0f, 0xae, 0x2f], Forbidden::Xrstor), // xrstor [rdi]
            (&[0x48, 0x0f, 0xae, 0x6c, 0x24, 0x40], Forbidden::Xrstor), // xrstor64 [rsp+64]
            (&[0x48, 0x0f, 0xc7, 0x1f], Forbidden::Xrstors), // xrstors64 [rdi]
            (&[0x0f, 0x30], Forbidden::Wrmsr),
            (&[0x0f, 0x01, 0xc6], Forbidden::Wrmsrns),
            (&[0x0f, 0x22, 0xd8], Forbidden::MovToControl), // mov cr3, rax
            (&[0x0f, 0x23, 0xf8], Forbidden::MovToDebug),   // mov dr7, rax
            (&[0x0f, 0x01, 0x17], Forbidden::Lgdt),         // lgdt [rdi]
            (&[0x0f, 0x01, 0x1f], Forbidden::Lidt),         // lidt [rdi]
            (&[0x0f, 0x00, 0xd7], Forbidden::Lldt),         // lldt di
            (&[0x0f, 0x00, 0xdf], Forbidden::Ltr),          // ltr di
            (&[0x0f, 0x01, 0xf7], Forbidden::Lmsw),         // lmsw di
            (&[0x0f, 0x01, 0x3f], Forbidden::Invlpg),       // invlpg [rdi]
            (&[0x0f, 0x01, 0xf8], Forbidden::Swapgs),
            (&[0x48, 0x0f, 0x07], Forbidden::Sysret),
            (&[0x0f, 0x01, 0xd1], Forbidden::Xsetbv),
            (&[0xf3, 0x48, 0x0f, 0xae, 0xdf], Forbidden::WriteSegmentBase), // wrgsbase rdi
            (&[0x66, 0x0f, 0x38, 0x82, 0x3e], Forbidden::Invalidate),       // invpcid rdi, [rsi]
        ];
        for (bytes, expected) in table {
            let found = only(bytes, Policy::Ring0Strict);
            assert_eq!(found.len(), 1, "{bytes:x?}");
            assert_eq!(found[0].1, *expected, "{bytes:x?}");
        }
    }

    #[test]
    fn passes_harmless_neighbours() {
        let table: &[&[u8]] = &[
            &[0x0f, 0x01, 0xee],             // rdpkru
            &[0x0f, 0xae, 0xe8],             // lfence: /5 with a register
            &[0x0f, 0xae, 0x27],             // xsave [rdi]
            &[0x0f, 0xae, 0x17],             // ldmxcsr [rdi]: /2 with memory
            &[0x0f, 0xc7, 0xd8],             // /3 with a register
            &[0x0f, 0xc7, 0x0f],             // cmpxchg8b [rdi]
            &[0x0f, 0x01, 0xd0],             // xgetbv
            &[0x0f, 0x05],                   // syscall
            &[0x0f, 0x1f, 0x44, 0x00, 0x00], // nop
            &[0x0f],
            &[0x0f, 0x01],
            &[],
        ];
        for bytes in table {
            assert_eq!(only(bytes, Policy::Ring0Strict), [], "{bytes:x?}");
        }
    }

    #[test]
    fn policies_include_one_another() {
        let bytes = [0x0f, 0x01, 0xef, 0x0f, 0x30, 0x0f, 0x01, 0xf8];
        assert_eq!(only(&bytes, Policy::Ring3), [(0, Forbidden::Wrpkru)]);
        assert_eq!(only(&bytes, Policy::Ring0), [(0, Forbidden::Wrpkru), (3, Forbidden::Wrmsr)]);
        assert_eq!(only(&bytes, Policy::Ring0Strict).len(), 3);
    }

    #[test]
    fn finds_sequences_inside_immediates_and_overlapping_ones() {
        // mov eax, 0x00ef010f
        assert_eq!(only(&[0xb8, 0x0f, 0x01, 0xef, 0x00], Policy::Ring3), [(1, Forbidden::Wrpkru)]);
        // 0F AE 2F is xrstor; the 0F in the middle of `0F 22 0F 30` starts another.
        let found = only(&[0x0f, 0x22, 0x0f, 0x30], Policy::Ring0Strict);
        assert_eq!(found, [(0, Forbidden::MovToControl), (2, Forbidden::Wrmsr)]);
    }

    #[test]
    fn the_documented_rate_is_the_exact_one() {
        for policy in [Policy::Ring3, Policy::Ring0, Policy::Ring0Strict] {
            let mut matches = 0;
            for bits in 0..1_u32 << 16 {
                let bytes = [0x0f, (bits >> 8) as u8, bits as u8];
                matches += u32::from(scan(&bytes, policy).any(|finding| finding.offset == 0));
            }
            // Strings that do not begin with 0F never match at their first offset.
            assert_eq!(matches, policy.matches_in_2_24(), "{policy:?}");
        }
    }

    /// The same question answered from the manual's notation, one mask-and-value pattern per row,
    /// without structure or speed.
    fn oracle(text: &[u8], policy: Policy) -> Vec<(usize, Forbidden)> {
        use Forbidden as F;
        // Opcode, mask and value of the third byte, whether the operand must be memory.
        const PATTERNS: &[(u8, u8, u8, bool, Forbidden)] = &[
            (0x01, 0xff, 0xef, false, F::Wrpkru),
            (0xae, 0x38, 0x28, true, F::Xrstor),
            (0xc7, 0x38, 0x18, true, F::Xrstors),
            (0x30, 0x00, 0x00, false, F::Wrmsr),
            (0x01, 0xff, 0xc6, false, F::Wrmsrns),
            (0x22, 0x00, 0x00, false, F::MovToControl),
            (0x23, 0x00, 0x00, false, F::MovToDebug),
            (0x06, 0x00, 0x00, false, F::Clts),
            (0x07, 0x00, 0x00, false, F::Sysret),
            (0x08, 0x00, 0x00, false, F::Invd),
            (0x09, 0x00, 0x00, false, F::Wbinvd),
            (0x35, 0x00, 0x00, false, F::Sysexit),
            (0x37, 0x00, 0x00, false, F::Getsec),
            (0xaa, 0x00, 0x00, false, F::Rsm),
            (0x00, 0x38, 0x10, false, F::Lldt),
            (0x00, 0x38, 0x18, false, F::Ltr),
            (0x00, 0x38, 0x30, false, F::Lkgs),
            (0x01, 0x38, 0x10, true, F::Lgdt),
            (0x01, 0x38, 0x18, true, F::Lidt),
            (0x01, 0x38, 0x30, false, F::Lmsw),
            (0x01, 0x38, 0x38, true, F::Invlpg),
            (0x01, 0xff, 0xc1, false, F::Vmx),
            (0x01, 0xff, 0xc2, false, F::Vmx),
            (0x01, 0xff, 0xc3, false, F::Vmx),
            (0x01, 0xff, 0xc4, false, F::Vmx),
            (0x01, 0xfe, 0xca, false, F::Smap),
            (0x01, 0xff, 0xd1, false, F::Xsetbv),
            (0x01, 0xf8, 0xd8, false, F::Svm),
            (0x01, 0xff, 0xf8, false, F::Swapgs),
            (0xae, 0xf8, 0xd0, false, F::WriteSegmentBase),
            (0xae, 0xf8, 0xd8, false, F::WriteSegmentBase),
            (0x38, 0xfe, 0x80, false, F::Invalidate),
            (0x38, 0xff, 0x82, false, F::Invalidate),
            (0x38, 0xff, 0xf5, false, F::Wruss),
        ];
        let mut found = Vec::new();
        for offset in 0..text.len() {
            for &(opcode, mask, value, memory, instruction) in PATTERNS {
                let length = if mask == 0 { 2 } else { 3 };
                let Some(bytes) = text.get(offset..offset + length) else { continue };
                let third = bytes.get(2).copied().unwrap_or(0);
                let matches = bytes[0] == 0x0f
                    && bytes[1] == opcode
                    && third & mask == value
                    && !(memory && third >= 0xc0);
                if matches && instruction.policy() <= policy {
                    found.push((offset, instruction));
                }
            }
        }
        found
    }

    /// Bytes that make sequences likely.
    fn suspicious_byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            3 => Just(0x0f),
            4 => prop::sample::select(vec![0x01_u8, 0xae, 0xc7, 0x30, 0x00, 0x22, 0x38, 0xef, 0x2f, 0x1f, 0xf8, 0x82]),
            3 => any::<u8>(),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(
            text in prop::collection::vec(suspicious_byte(), 0..200),
            policy in prop::sample::select(vec![Policy::Ring3, Policy::Ring0, Policy::Ring0Strict]),
        ) {
            prop_assert_eq!(only(&text, policy), oracle(&text, policy));
        }
    }
}
