//! A guest of a few instructions that shows whether an accelerator really runs ring-0 code.
//!
//! It is a PVH ELF: entered in 32-bit protected mode, it goes to 64-bit mode, computes with SSE,
//! asks CPUID for protection keys (leaf 7, ECX bit 3), and writes the answer to QEMU's debug-exit port.
//! Some machines have a `/dev/kvm` that fails each of these steps.

/// Where the image is loaded.
const LOAD_ADDRESS: u32 = 0x10_0000;
const PAGE: usize = 0x1000;
/// Pages: code, descriptor table, three levels of page table.
const PAGES: usize = 5;
const LONG_MODE_OFFSET: usize = 0x100;

/// 32-bit part, at [`LOAD_ADDRESS`].
#[rustfmt::skip]
const ENTER_LONG_MODE: &[u8] = &[
    0x0f, 0x20, 0xe0,                         // mov eax, cr4
    0x0d, 0x20, 0x06, 0x00, 0x00,             // or eax, PAE | OSFXSR | OSXMMEXCPT
    0x0f, 0x22, 0xe0,                         // mov cr4, eax
    0xb8, 0x00, 0x20, 0x10, 0x00,             // mov eax, 0x102000 (top page table)
    0x0f, 0x22, 0xd8,                         // mov cr3, eax
    0xb9, 0x80, 0x00, 0x00, 0xc0,             // mov ecx, IA32_EFER
    0x0f, 0x32,                               // rdmsr
    0x0d, 0x00, 0x01, 0x00, 0x00,             // or eax, LME
    0x0f, 0x30,                               // wrmsr
    0x0f, 0x20, 0xc0,                         // mov eax, cr0
    0x83, 0xe0, 0xfb,                         // and eax, ~EM
    0x0d, 0x02, 0x00, 0x00, 0x80,             // or eax, PG | MP
    0x0f, 0x22, 0xc0,                         // mov cr0, eax
    0x0f, 0x01, 0x15, 0x18, 0x10, 0x10, 0x00, // lgdt [0x101018]
    0xea, 0x00, 0x01, 0x10, 0x00, 0x08, 0x00, // jmp 8:0x100100
];

/// 64-bit part, at [`LONG_MODE_OFFSET`].
#[rustfmt::skip]
const REPORT: &[u8] = &[
    0xb8, 0x01, 0x00, 0x00, 0x00,             // mov eax, 1
    0x66, 0x0f, 0x6e, 0xc0,                   // movd xmm0, eax
    0x66, 0x0f, 0xfe, 0xc0,                   // paddd xmm0, xmm0
    0x66, 0x41, 0x0f, 0x7e, 0xc0,             // movd r8d, xmm0 (now 2)
    0xb8, 0x07, 0x00, 0x00, 0x00,             // mov eax, 7
    0x31, 0xc9,                               // xor ecx, ecx
    0x0f, 0xa2,                               // cpuid
    0xc1, 0xe9, 0x03,                         // shr ecx, 3
    0x83, 0xe1, 0x01,                         // and ecx, 1 (PKU)
    0x42, 0x8d, 0x04, 0xc1,                   // lea eax, [rcx + r8 * 8]
    0xba, 0xf4, 0x00, 0x00, 0x00,             // mov edx, 0xf4
    0xef,                                     // out dx, eax
    0xf4,                                     // hlt
];

/// What the guest writes: 16 from SSE, plus 1 with protection keys. QEMU's exit status is `2n + 1`.
const WORKS: i32 = 16;

/// What the probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// Runs 64-bit code with SSE, and has protection keys.
    WorksWithPku,
    /// Runs, but hides protection keys.
    WorksWithoutPku,
}

/// Reads QEMU's exit status.
#[must_use]
pub fn result(status: i32) -> Option<ProbeResult> {
    match status {
        status if status == 2 * WORKS + 1 => Some(ProbeResult::WorksWithoutPku),
        status if status == 2 * (WORKS + 1) + 1 => Some(ProbeResult::WorksWithPku),
        _ => None,
    }
}

/// The ELF file.
#[must_use]
pub fn image() -> Vec<u8> {
    let mut memory = vec![0; PAGES * PAGE];
    put(&mut memory, 0, ENTER_LONG_MODE);
    put(&mut memory, LONG_MODE_OFFSET, REPORT);
    // Descriptor 1: 64-bit code, present. Its table's limit and address follow at 0x18.
    put(&mut memory, PAGE + 8, &0x0020_9a00_0000_0000_u64.to_le_bytes());
    put(&mut memory, PAGE + 0x18, &15_u16.to_le_bytes());
    put(&mut memory, PAGE + 0x1a, &(LOAD_ADDRESS + PAGE as u32).to_le_bytes());
    // Page tables that map the first 2 MiB to itself: present, writable; the last one a large page.
    put(&mut memory, 2 * PAGE, &0x10_3003_u64.to_le_bytes());
    put(&mut memory, 3 * PAGE, &0x10_4003_u64.to_le_bytes());
    put(&mut memory, 4 * PAGE, &0x83_u64.to_le_bytes());
    elf(&memory)
}

fn put(memory: &mut [u8], offset: usize, bytes: &[u8]) {
    memory[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// An ELF64 executable with one loaded segment and the PVH note (name `Xen`, type 18).
fn elf(memory: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    let note_offset = HEADER + 2 * PROGRAM_HEADER;
    let mut note = Vec::new();
    for word in [4_u32, 8, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(u64::from(LOAD_ADDRESS).to_le_bytes());

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    for long in [u64::from(LOAD_ADDRESS), HEADER, 0] {
        file.extend(long.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // (type, flags, offset, address, bytes, alignment)
    let segments = [
        (1_u32, 7_u32, PAGE as u64, u64::from(LOAD_ADDRESS), memory.len() as u64, PAGE as u64),
        (4, 4, note_offset, 0, note.len() as u64, 4),
    ];
    for (kind, flags, offset, address, bytes, alignment) in segments {
        file.extend(kind.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for long in [offset, address, address, bytes, bytes, alignment] {
            file.extend(long.to_le_bytes());
        }
    }
    file.extend(note);
    file.resize(PAGE, 0);
    file.extend(memory);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_an_elf_with_its_parts_where_the_code_expects_them() {
        let image = image();
        assert_eq!(image.len(), (1 + PAGES) * PAGE);
        assert_eq!(&image[..4], b"\x7fELF");
        assert!(ENTER_LONG_MODE.len() <= LONG_MODE_OFFSET);
        assert_eq!(image[PAGE + LONG_MODE_OFFSET], REPORT[0]);
    }

    #[test]
    fn statuses() {
        assert_eq!(result(33), Some(ProbeResult::WorksWithoutPku));
        assert_eq!(result(35), Some(ProbeResult::WorksWithPku));
        assert_eq!(result(0), None);
        assert_eq!(result(1), None);
    }
}
