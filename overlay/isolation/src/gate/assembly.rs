//! The routines, once per backend. [`super`] says what each step defends against.
//!
//! Calling conventions inside: an argument register is loaded from where it was kept only after the
//! last write of the register that rights are in, because that write takes `eax`, `ecx`, `edx`.

use core::arch::global_asm;
use core::mem::offset_of;

use super::context::{GateCall, GateContext};
use super::{CURRENT, GATE_HANDLER, KILLED_HANDLER, TAMPERED_HANDLER};
use crate::backend::IA32_PKRS;

/// Flags that the host must not inherit: TF, DF, NT, AC.
const HOSTILE_FLAGS: u32 = 1 << 8 | 1 << 10 | 1 << 14 | 1 << 18;
/// MXCSR: all exceptions masked, round to nearest, no flush to zero.
static MXCSR_DEFAULT: u32 = 0x1f80;
/// MXCSR without its six sticky status flags.
const MXCSR_CONTROL: u32 = 0xffc0;
/// x87 status word: an unmasked exception is pending.
const X87_PENDING: u32 = 1 << 7;

const _: () = assert!(size_of::<GateCall>() == 96 && offset_of!(GateCall, rflags) == 88);

// Zeroing idioms: cheap at rename, and what the host leaves in these registers stays with the host.
macro_rules! scrub_vectors {
    () => {
        "
    xorps xmm0, xmm0
    xorps xmm1, xmm1
    xorps xmm2, xmm2
    xorps xmm3, xmm3
    xorps xmm4, xmm4
    xorps xmm5, xmm5
    xorps xmm6, xmm6
    xorps xmm7, xmm7
    xorps xmm8, xmm8
    xorps xmm9, xmm9
    xorps xmm10, xmm10
    xorps xmm11, xmm11
    xorps xmm12, xmm12
    xorps xmm13, xmm13
    xorps xmm14, xmm14
    xorps xmm15, xmm15
"
    };
}

// $clear:   write 0 and make sure that it was 0 (clobbers rax, rcx, rdx)
// $write:   write eax (clobbers rcx, rdx); its last instruction is the write
// $verify:  make sure that what was written is what the context says (clobbers r8)
// $narrow:  make sure that what was written allows no more than the context says (clobbers rcx, rdx)
macro_rules! routines {
    ($backend:literal, clear: $clear:literal, write: $write:literal, verify: $verify:literal, narrow: $narrow:literal) => {
        global_asm!(
            concat!("
.pushsection .text.uio_gate,\"ax\",@progbits
.macro UIO_SYMBOL_", $backend, " name
    .globl \\name\\()_", $backend, "
    .hidden \\name\\()_", $backend, "
\\name\\()_", $backend, ":
.endm

/* From a domain, by a stub: eax the gate's index, the call's arguments in their registers. */
    .p2align 6
UIO_SYMBOL_", $backend, " uio_gate_entry
    movq xmm14, qword ptr [rsp]
    movd xmm15, eax
    mov r10, rdx
    lea r11, [rcx] /* a mov would hold the byte of a far return */
", $clear, "
    mov rax, qword ptr [rip + {current}]
    mov rcx, rsp
    mov qword ptr [rax + {entitled}], 0
UIO_SYMBOL_", $backend, " uio_gate_entered
    mov rsp, qword ptr [rax + {host_rsp}]
    pushfq
    sub rsp, {call_below_flags}
    mov qword ptr [rsp], rdi
    mov qword ptr [rsp + 8], rsi
    mov qword ptr [rsp + 16], r10
    mov qword ptr [rsp + 24], r11
    mov qword ptr [rsp + 32], r8
    mov qword ptr [rsp + 40], r9
    movq qword ptr [rsp + {call_return}], xmm14
    mov qword ptr [rsp + {call_rsp}], rcx
    movq qword ptr [rsp + {call_index}], xmm15
    stmxcsr dword ptr [rsp + {call_mxcsr}]
    mov qword ptr [rsp + {call_rbp}], rbp
    mov qword ptr [rax + {call}], rsp
    movd edi, xmm15
    mov rsi, rsp
    mov ecx, dword ptr [rsp + {call_mxcsr}]
    and ecx, {mxcsr_control}
    cmp ecx, {mxcsr_default_value}
    jne 4f
2:  test dword ptr [rsp + {call_flags}], {hostile_flags}
    jnz 5f
3:  call qword ptr [rip + {gate_handler}]
    mov r9, rax
    mov r10, qword ptr [rsp + {call_rsp}]
    mov ecx, dword ptr [rsp + {call_mxcsr}]
    and ecx, {mxcsr_control}
    cmp ecx, {mxcsr_default_value}
    jne 6f
UIO_SYMBOL_", $backend, " uio_gate_leave
    mov r8, qword ptr [rip + {current}]
    cmp dword ptr [r8 + {kill}], 0
    jne uio_gate_killed_", $backend, "
    mov rax, qword ptr [r8 + {frame}]
    mov qword ptr [r8 + {call}], 0
    mov qword ptr [r8 + {entitled}], rax
", $write, "
UIO_SYMBOL_", $backend, " uio_gate_left
", $verify, "
    mov rsp, r10
    mov rax, r9
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor edi, edi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
", scrub_vectors!(), "
    ret
4:  ldmxcsr dword ptr [rip + {mxcsr_default}]
    jmp 2b
5:  pushfq
    and qword ptr [rsp], {harmless_flags}
    popfq
    jmp 3b
6:  ldmxcsr dword ptr [rsp + {call_mxcsr}]
    jmp uio_gate_leave_", $backend, "

/* fn(context rdi, entry rsi, arguments rdx: *const [u64; 6], stack_top rcx, frame r8) -> u64 */
    .p2align 6
UIO_SYMBOL_", $backend, " uio_gate_enter
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push qword ptr [rdi + {host_rsp}]
    push qword ptr [rdi + {frame}]
    push qword ptr [rdi + {call}]
    push qword ptr [rdi + {depth}]
    sub rsp, 8
    stmxcsr dword ptr [rsp]
    fnstcw word ptr [rsp + 4]
    mov qword ptr [rdi + {host_rsp}], rsp
    mov qword ptr [rdi + {frame}], r8
    inc qword ptr [rdi + {depth}]
    mov r13, rsi
    lea r11, [rcx] /* a mov would hold the byte of a far return */
    mov r14, qword ptr [rdx]
    mov rsi, qword ptr [rdx + 8]
    mov rbx, qword ptr [rdx + 16]
    mov r12, qword ptr [rdx + 24]
    mov r15, qword ptr [rdx + 32]
    mov r9, qword ptr [rdx + 40]
UIO_SYMBOL_", $backend, " uio_gate_enter_leave
    mov rdi, qword ptr [rip + {current}]
    cmp dword ptr [rdi + {kill}], 0
    jne uio_gate_killed_", $backend, "
    mov rax, qword ptr [rdi + {frame}]
    mov qword ptr [rdi + {call}], 0
    mov qword ptr [rdi + {entitled}], rax
", $write, "
UIO_SYMBOL_", $backend, " uio_gate_enter_left
", $verify, "
    mov rsp, r11
    mov r11, r13
    mov rdi, r14
    mov rdx, rbx
    mov rcx, r12
    mov r8, r15
    xor eax, eax
    xor ebx, ebx
    xor ebp, ebp
    xor r10d, r10d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
", scrub_vectors!(), "
    call r11
    mov r10, rax
UIO_SYMBOL_", $backend, " uio_gate_unwind
", $clear, "
    mov rdi, qword ptr [rip + {current}]
    mov qword ptr [rdi + {entitled}], 0
UIO_SYMBOL_", $backend, " uio_gate_unwound
    mov rsp, qword ptr [rdi + {host_rsp}]
    pushfq
    pop rcx
    test ecx, {hostile_flags}
    jnz 4f
2:  push rcx
    fnstcw word ptr [rsp]
    movzx ecx, word ptr [rsp]
    add rsp, 8
    cmp cx, word ptr [rsp + 4]
    jne 5f
    fnstsw ax
    test eax, {x87_pending}
    jnz 5f
3:  ldmxcsr dword ptr [rsp]
    add rsp, 8
    pop qword ptr [rdi + {depth}]
    pop qword ptr [rdi + {call}]
    pop qword ptr [rdi + {frame}]
    pop qword ptr [rdi + {host_rsp}]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    mov rax, r10
    ret
4:  and rcx, {harmless_flags}
    push rcx
    popfq
    jmp 2b
5:  fnclex
    fldcw word ptr [rsp + 4]
    jmp 3b

/* A write that was not the one meant. Every right is taken back before host code runs. */
UIO_SYMBOL_", $backend, " uio_gate_tampered
", $clear, "
    mov rdi, qword ptr [rip + {current}]
    mov qword ptr [rdi + {entitled}], 0
UIO_SYMBOL_", $backend, " uio_gate_tampered_host
    mov rsp, qword ptr [rdi + {host_rsp}]
    pushfq
    and qword ptr [rsp], {harmless_flags}
    popfq
    ldmxcsr dword ptr [rip + {mxcsr_default}]
    and rsp, -16
    call qword ptr [rip + {tampered_handler}]
    ud2

uio_gate_killed_", $backend, ":
    mov rdi, qword ptr [rip + {current}]
    and rsp, -16
    call qword ptr [rip + {killed_handler}]
    ud2

/* fn(value edi): see pkru::write. */
UIO_SYMBOL_", $backend, " uio_isolation_write
    mov eax, edi
", $write, "
", $narrow, "
    ret
UIO_SYMBOL_", $backend, " uio_gate_end
    .purgem UIO_SYMBOL_", $backend, "
.popsection
"),
            current = sym CURRENT,
            gate_handler = sym GATE_HANDLER,
            killed_handler = sym KILLED_HANDLER,
            tampered_handler = sym TAMPERED_HANDLER,
            mxcsr_default = sym MXCSR_DEFAULT,
            mxcsr_default_value = const 0x1f80,
            mxcsr_control = const MXCSR_CONTROL,
            x87_pending = const X87_PENDING,
            hostile_flags = const HOSTILE_FLAGS,
            harmless_flags = const !(HOSTILE_FLAGS as i32),
            entitled = const offset_of!(GateContext, entitled),
            frame = const offset_of!(GateContext, frame),
            host_rsp = const offset_of!(GateContext, host_rsp),
            depth = const offset_of!(GateContext, depth),
            call = const offset_of!(GateContext, call),
            kill = const offset_of!(GateContext, kill_pending),
            call_below_flags = const offset_of!(GateCall, rflags),
            call_return = const offset_of!(GateCall, return_address),
            call_rsp = const offset_of!(GateCall, domain_rsp),
            call_index = const offset_of!(GateCall, gate_index),
            call_mxcsr = const offset_of!(GateCall, mxcsr),
            call_rbp = const offset_of!(GateCall, domain_rbp),
            call_flags = const offset_of!(GateCall, rflags),
            pkrs = const IA32_PKRS,
        );
    };
}

// `{pkrs}` and the labels of a backend that has no use for them: an assembler comment names them, since
// every operand of `global_asm!` has to occur.
routines!(
    "none",
    clear: "",
    write: "/* {pkrs} */",
    verify: "",
    narrow: ""
);

routines!(
    "pku",
    clear: "
    xor eax, eax
    xor ecx, ecx
    xor edx, edx
    wrpkru
    test eax, eax
    jnz uio_gate_tampered_pku
",
    write: "
    xor ecx, ecx
    xor edx, edx
    wrpkru /* {pkrs} */
",
    verify: "
    mov r8, qword ptr [rip + {current}]
    cmp eax, dword ptr [r8 + {entitled}]
    jne uio_gate_tampered_pku
",
    narrow: "
    mov rcx, qword ptr [rip + {current}]
    not eax
    test dword ptr [rcx + {entitled}], eax
    jnz uio_gate_tampered_pku
"
);

routines!(
    "pks",
    clear: "
    xor eax, eax
    xor edx, edx
    mov ecx, {pkrs}
    wrmsr
    cmp ecx, {pkrs}
    jne uio_gate_tampered_pks
    or eax, edx
    jnz uio_gate_tampered_pks
",
    write: "
    mov ecx, {pkrs}
    xor edx, edx
    wrmsr
",
    verify: "
    cmp ecx, {pkrs}
    jne uio_gate_tampered_pks
    mov r8, qword ptr [rip + {current}]
    cmp eax, dword ptr [r8 + {entitled}]
    jne uio_gate_tampered_pks
",
    narrow: "
    cmp ecx, {pkrs}
    jne uio_gate_tampered_pks
    mov rcx, qword ptr [rip + {current}]
    not eax
    test dword ptr [rcx + {entitled}], eax
    jnz uio_gate_tampered_pks
"
);

/// `enter` of one backend.
pub(super) type Enter = unsafe extern "C" fn(*const GateContext, u64, *const [u64; 6], u64, u64) -> u64;

/// Addresses in the text of one backend's routines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routines {
    pub(super) entry: u64,
    pub(super) entered: u64,
    pub(super) leave: u64,
    pub(super) left: u64,
    pub(super) enter_leave: u64,
    pub(super) enter_left: u64,
    pub(super) unwind: u64,
    pub(super) unwound: u64,
    pub(super) tampered: u64,
    pub(super) tampered_host: u64,
    /// The checked write of the register, for the kernel's trap exit.
    pub(super) write: u64,
    /// End of the text that begins at `entry`.
    pub(super) end: u64,
    pub(super) enter: Enter,
}

macro_rules! declare {
    ($function:ident, $write:ident, $enter:ident, $($field:ident: $symbol:ident),*) => {
        unsafe extern "C" {
            $(static $symbol: u8;)*
            fn $enter(context: *const GateContext, entry: u64, args: *const [u64; 6], stack: u64, frame: u64) -> u64;
            pub(super) fn $write(value: u32);
        }
        pub(super) fn $function() -> Routines {
            Routines { $($field: (&raw const $symbol).addr() as u64,)* enter: $enter, write: $write as *const () as u64 }
        }
    };
}

declare!(none, uio_isolation_write_none, uio_gate_enter_none,
    entry: uio_gate_entry_none, entered: uio_gate_entered_none, leave: uio_gate_leave_none, left: uio_gate_left_none,
    enter_leave: uio_gate_enter_leave_none, enter_left: uio_gate_enter_left_none, unwind: uio_gate_unwind_none,
    unwound: uio_gate_unwound_none, tampered: uio_gate_tampered_none, tampered_host: uio_gate_tampered_host_none,
    end: uio_gate_end_none);
declare!(pku, uio_isolation_write_pku, uio_gate_enter_pku,
    entry: uio_gate_entry_pku, entered: uio_gate_entered_pku, leave: uio_gate_leave_pku, left: uio_gate_left_pku,
    enter_leave: uio_gate_enter_leave_pku, enter_left: uio_gate_enter_left_pku, unwind: uio_gate_unwind_pku,
    unwound: uio_gate_unwound_pku, tampered: uio_gate_tampered_pku, tampered_host: uio_gate_tampered_host_pku,
    end: uio_gate_end_pku);
declare!(pks, uio_isolation_write_pks, uio_gate_enter_pks,
    entry: uio_gate_entry_pks, entered: uio_gate_entered_pks, leave: uio_gate_leave_pks, left: uio_gate_left_pks,
    enter_leave: uio_gate_enter_leave_pks, enter_left: uio_gate_enter_left_pks, unwind: uio_gate_unwind_pks,
    unwound: uio_gate_unwound_pks, tampered: uio_gate_tampered_pks, tampered_host: uio_gate_tampered_host_pks,
    end: uio_gate_end_pks);
