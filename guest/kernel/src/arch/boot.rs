//! From the PVH entry (32-bit protected mode, paging off) to [`crate::start::kernel_main`] in the top 2 GiB.
//!
//! PVH: Xen `docs/misc/pvh.pandoc`. The note of type 18 (`XEN_ELFNOTE_PHYS32_ENTRY`) names the entry; `ebx`
//! holds the physical address of `hvm_start_info`.
//!
//! The page tables here are provisional: the first 4 GiB at their own address (start information and the
//! initrd may lie anywhere there) and the first GiB at the kernel's base. `mm` replaces them.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start
    .popsection

    .pushsection .boot, "aw", @progbits
    .balign 4096
boot_pml4:
    .quad boot_pdpt_low + 3
    .fill 510, 8, 0
    .quad boot_pdpt_high + 3
boot_pdpt_low:
    .quad boot_directories + 3
    .quad boot_directories + 0x1003
    .quad boot_directories + 0x2003
    .quad boot_directories + 0x3003
    .fill 508, 8, 0
boot_pdpt_high:
    .fill 510, 8, 0
    .quad boot_directories + 3
    .quad 0
boot_directories:
    .set page, 0
    .rept 2048
    .quad page * 0x200000 + 0x83
    .set page, page + 1
    .endr
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

    .code32
    .global pvh_start
pvh_start:
    cld
    mov esi, ebx
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    lea eax, boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0xfffffffb
    or eax, 0x80010003
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    // A far jump to 64-bit code: selector and offset pushed, because the assembler's direct form differs between tools.
    push 0x08
    lea eax, boot_long_mode
    push eax
    retf

    .code64
boot_long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    movabs rsp, offset {stack} + {stack_bytes}
    mov edi, esi
    xor ebp, ebp
    movabs rax, offset {main}
    call rax
    ud2
    .popsection
    "#,
    stack = sym BOOT_STACK,
    stack_bytes = const BOOT_STACK_BYTES,
    main = sym crate::start::kernel_main,
);

/// The boot code becomes the first thread and keeps this stack.
const BOOT_STACK_BYTES: usize = 64 * 1024;

#[repr(C, align(4096))]
struct BootStack(core::cell::UnsafeCell<[u8; BOOT_STACK_BYTES]>);

// SAFETY: only the boot code and the thread that it becomes use the stack, through `rsp`.
unsafe impl Sync for BootStack {}

static BOOT_STACK: BootStack = BootStack(core::cell::UnsafeCell::new([0; BOOT_STACK_BYTES]));
