//! Functions that the tests run in domains, and probes of the processor's state.
//!
//! They lie in the test program's text: keys do not check instruction fetches.

use std::arch::global_asm;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        unsafe extern "C" { $($(#[$doc])* static $name: u8;)* }
        /// Addresses of the functions.
        pub mod at {
            $($(#[$doc])* pub fn $name() -> u64 { (&raw const super::$name).addr() as u64 })*
        }
    };
}

functions! {
    /// (a0..a5) → a0 + 2 a1 + 3 a2 + 4 a3 + 5 a4 + 6 a5
    dom_weighted_sum,
    /// (address, value): stores and returns 1
    dom_store,
    /// (address): loads
    dom_load,
    /// (stub): calls it with 11, 22, 33, 44, 55, 66 and returns what it returned
    dom_call_six,
    /// (stub, a, b, c): calls it with a, b, c
    dom_call_three,
    /// (stub, own address, child, child's address argument, child's value): calls the stub with (child, address, value), then
    /// stores the result at its own address and returns it
    dom_nest,
    /// (self, stub): calls the stub with (self, stub)
    dom_recurse,
    /// (stub): calls it, and returns the or of every register that has to be zero afterwards
    dom_scrubbed,
    /// (): the or of every register that has to be zero at the start
    dom_clean_start,
    /// (stub): calls it with a value in each callee-saved register, and returns how many changed
    dom_callee_saved,
    /// (): changes every register, MXCSR, the x87 control word, DF; leaves an x87 exception pending
    dom_clobber,
    /// (stub, mxcsr): calls it with that MXCSR and DF set, and returns the MXCSR found afterwards
    dom_hostile_state,
    /// (target, eax, other registers' value, rsp): jumps
    dom_jump,
    /// (victim): where jumps land: stores the key-0 address and address 0 + 1 there
    dom_landing,
    /// (stub, rsp): calls the stub with that stack pointer
    dom_wild_stack,
    /// (function, value): calls it
    dom_call_function,
    /// (): loads from address 0 with alignment checks on
    dom_alignment_check,
}

unsafe extern "C" {
    fn probe_callee_saved(function: extern "C" fn() -> u64) -> u64;
    fn probe_dirty() -> u64;
    fn probe_flags() -> u64;
}

/// Calls `function` with a value in each callee-saved register; how many changed, in bits 32 and up, and its result's low half.
pub fn callee_saved_across(function: extern "C" fn() -> u64) -> u64 {
    // SAFETY: keeps the calling convention.
    unsafe { probe_callee_saved(function) }
}

/// Leaves values in every register that a callee may change.
pub fn dirty_registers() -> u64 {
    // SAFETY: keeps the calling convention.
    unsafe { probe_dirty() }
}

pub fn flags() -> u64 {
    // SAFETY: reads.
    unsafe { probe_flags() }
}

pub fn mxcsr() -> u32 {
    let mut value = 0_u32;
    // SAFETY: stores four bytes there.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value) };
    value
}

pub fn x87_control() -> u16 {
    let mut value = 0_u16;
    // SAFETY: stores two bytes there.
    unsafe { std::arch::asm!("fnstcw [{}]", in(reg) &raw mut value) };
    value
}

global_asm!(
    "
.macro FUNCTION name
    .globl \\name
    .hidden \\name
    .p2align 4
\\name:
.endm
.macro EXPECT register value
    cmp \\register, \\value
    setne cl
    movzx ecx, cl
    add eax, ecx
.endm

.pushsection .text.uio_tests,\"ax\",@progbits
FUNCTION dom_weighted_sum
    lea rax, [rdi + 2*rsi]
    lea rdx, [rdx + 2*rdx]
    add rax, rdx
    lea rax, [rax + 4*rcx]
    lea r8, [r8 + 4*r8]
    add rax, r8
    imul r9, r9, 6
    add rax, r9
    ret

FUNCTION dom_store
    mov qword ptr [rdi], rsi
    mov eax, 1
    ret

FUNCTION dom_load
    mov rax, qword ptr [rdi]
    ret

FUNCTION dom_call_six
    sub rsp, 8
    mov rax, rdi
    mov edi, 11
    mov esi, 22
    mov edx, 33
    mov ecx, 44
    mov r8d, 55
    mov r9d, 66
    call rax
    add rsp, 8
    ret

FUNCTION dom_call_three
    sub rsp, 8
    mov rax, rdi
    mov rdi, rsi
    mov rsi, rdx
    mov rdx, rcx
    call rax
    add rsp, 8
    ret

FUNCTION dom_nest
    push rbx
    mov rbx, rsi
    mov rax, rdi
    mov rdi, rdx
    mov rsi, rcx
    mov rdx, r8
    call rax
    mov qword ptr [rbx], rax
    pop rbx
    ret

FUNCTION dom_recurse
    sub rsp, 8
    call rsi
    add rsp, 8
    ret

FUNCTION dom_scrubbed
    sub rsp, 8
    call rdi
    mov eax, 0
    jmp 2f
FUNCTION dom_clean_start
    sub rsp, 8
    xor eax, eax
    or rax, rbx
    or rax, rbp
    or rax, r12
    or rax, r13
    or rax, r14
    or rax, r15
    /* r11 holds the entry point, which the callee knows */
    xor r11d, r11d
2:  or rax, rcx
    or rax, rdx
    or rax, rsi
    or rax, rdi
    or rax, r8
    or rax, r9
    or rax, r10
    or rax, r11
    .irp number,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movq rcx, xmm\\number
    or rax, rcx
    punpckhqdq xmm\\number, xmm\\number
    movq rcx, xmm\\number
    or rax, rcx
    .endr
    add rsp, 8
    ret

FUNCTION dom_callee_saved
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov rax, rdi
    mov rbx, 0x1001
    mov rbp, 0x1002
    mov r12, 0x1003
    mov r13, 0x1004
    mov r14, 0x1005
    mov r15, 0x1006
    call rax
    xor eax, eax
    EXPECT rbx 0x1001
    EXPECT rbp 0x1002
    EXPECT r12 0x1003
    EXPECT r13 0x1004
    EXPECT r14 0x1005
    EXPECT r15 0x1006
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

FUNCTION dom_clobber
    sub rsp, 24
    /* divide by zero unmasked, then one: pending until the next waiting x87 instruction */
    mov word ptr [rsp], 0x007b
    fldcw word ptr [rsp]
    fld1
    fldz
    fdivp
    mov dword ptr [rsp], 0x7f80
    ldmxcsr dword ptr [rsp]
    add rsp, 24
    std
    mov rbx, -1
    mov rbp, -1
    mov r12, -1
    mov r13, -1
    mov r14, -1
    mov r15, -1
    mov rcx, -1
    mov rdx, -1
    mov eax, 0x5a
    ret

FUNCTION dom_hostile_state
    sub rsp, 24
    mov dword ptr [rsp], esi
    ldmxcsr dword ptr [rsp]
    std
    call rdi
    stmxcsr dword ptr [rsp]
    mov eax, dword ptr [rsp]
    mov dword ptr [rsp], 0x1f80
    ldmxcsr dword ptr [rsp]
    add rsp, 24
    ret

FUNCTION dom_jump
    mov rax, rdi
    mov rsp, rcx
    mov rdi, rdx
    mov rbx, rdx
    mov rbp, rdx
    mov r8, rdx
    mov r9, rdx
    mov r10, rcx
    mov r11, rax
    mov r12, rdx
    mov r13, rdx
    mov r14, rdx
    mov r15, rdx
    mov eax, esi
    mov rsi, rdx
    /* wrpkru wants these zero; wrmsr takes its register's number */
    xor edx, edx
    mov ecx, dword ptr [rip + jump_ecx]
    jmp r11

FUNCTION dom_landing
    /* the victim's address was left in its own slot of the stack page */
    mov rdi, qword ptr [rip + victim_address]
    mov rsi, 0x6b6f
    mov qword ptr [rdi], rsi
    mov rsp, qword ptr [rip + landing_stack]
    mov eax, 0x4c
    ret

FUNCTION dom_wild_stack
    mov rsp, rsi
    jmp rdi

FUNCTION dom_alignment_check
    pushfq
    or qword ptr [rsp], 1 << 18
    popfq
    xor eax, eax
    mov rax, [rax]
    ud2

FUNCTION dom_call_function
    sub rsp, 8
    mov rax, rdi
    mov rdi, rsi
    call rax
    add rsp, 8
    ret

FUNCTION probe_callee_saved
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    mov rbx, 0x2001
    mov rbp, 0x2002
    mov r12, 0x2003
    mov r13, 0x2004
    mov r14, 0x2005
    mov r15, 0x2006
    call rdi
    mov r8d, eax
    xor eax, eax
    EXPECT rbx 0x2001
    EXPECT rbp 0x2002
    EXPECT r12 0x2003
    EXPECT r13 0x2004
    EXPECT r14 0x2005
    EXPECT r15 0x2006
    shl rax, 32
    or rax, r8
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

FUNCTION probe_dirty
    mov rax, 0x7777
    mov rcx, -1
    mov rdx, -1
    mov rsi, -1
    mov rdi, -1
    mov r8, -1
    mov r9, -1
    mov r10, -1
    mov r11, -1
    .irp number,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    pcmpeqd xmm\\number, xmm\\number
    .endr
    ret

FUNCTION probe_flags
    pushfq
    pop rax
    ret
.popsection

.pushsection .data.uio_tests,\"aw\",@progbits
    .p2align 3
    .globl victim_address
    .hidden victim_address
victim_address: .quad 0
    .globl landing_stack
    .hidden landing_stack
landing_stack: .quad 0
    .globl jump_ecx
    .hidden jump_ecx
jump_ecx: .quad 0
.popsection
.purgem FUNCTION
.purgem EXPECT
"
);

unsafe extern "C" {
    static mut victim_address: u64;
    static mut landing_stack: u64;
    static mut jump_ecx: u64;
}

/// Prepares `dom_jump` and `dom_landing`: what they try to overwrite, a stack from which to return from the domain,
/// and the `ecx` to jump with.
pub fn prepare_jump(victim: u64, stack: u64, ecx: u32) {
    // SAFETY: tests run one at a time; the assembly reads these.
    unsafe {
        victim_address = victim;
        landing_stack = stack;
        jump_ecx = u64::from(ecx);
    }
}
