//! The loops that are timed, and the gate on a shared stack.

use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::arch::{asm, global_asm};
use core::mem::offset_of;

use crate::backend::Backend;
use crate::gate::{CURRENT, GateContext};

/// Time stamp ticks per operation of a closure that does `operations`.
pub(super) fn time(operations: u64, run: impl FnOnce()) -> f64 {
    let start = now();
    run();
    (now() - start) as f64 / operations as f64
}

/// The counter, when everything before is done.
fn now() -> u64 {
    // SAFETY: fences and reads a counter; every x86-64 Linux allows it.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Ticks per multiplication of a dependent chain.
pub(super) fn multiplications(operations: u64) -> f64 {
    time(operations * 8, || {
        // SAFETY: computes in registers.
        unsafe {
            asm!(
                "2:",
                "imul {value}, {value}", "imul {value}, {value}", "imul {value}, {value}", "imul {value}, {value}",
                "imul {value}, {value}", "imul {value}, {value}", "imul {value}, {value}", "imul {value}, {value}",
                "dec {count}",
                "jnz 2b",
                value = inout(reg) 3_u64 => _,
                count = inout(reg) operations => _,
                options(nomem, nostack),
            );
        }
    })
}

/// Ticks per pair of writes of PKRU: `reduced`, then everything.
///
/// # Safety
/// The processor offers user keys, and PKRU allows everything now.
pub(super) unsafe fn register_pairs(operations: u64, reduced: u32) -> f64 {
    time(operations, || {
        // SAFETY: the caller's promise; no memory is touched between the writes.
        unsafe {
            asm!(
                "2:",
                "mov eax, {reduced:e}",
                "wrpkru",
                "xor eax, eax",
                "wrpkru",
                "dec {count}",
                "jnz 2b",
                reduced = in(reg) reduced,
                count = inout(reg) operations => _,
                in("ecx") 0, in("edx") 0, out("eax") _,
                options(nostack),
            );
        }
    })
}

unsafe extern "C" {
    static uio_measure_return: u8;
    static uio_measure_loop: u8;
    static uio_measure_light_none: u8;
    static uio_measure_light_pku: u8;
}

/// A function that returns.
pub(super) fn return_at_once() -> u64 {
    (&raw const uio_measure_return).addr() as u64
}

/// A function (target, count) that calls the target so often.
pub(super) fn call_in_a_loop() -> u64 {
    (&raw const uio_measure_loop).addr() as u64
}

/// A gate that stays on the caller's stack. Host code on a stack that the domain chose is a hole, so this
/// exists here only.
pub(super) fn light_gate(backend: Backend) -> u64 {
    match backend {
        Backend::Pku => (&raw const uio_measure_light_pku).addr() as u64,
        Backend::None | Backend::Pks => (&raw const uio_measure_light_none).addr() as u64,
    }
}

global_asm!(
    "
.pushsection .text.uio_measure,\"ax\",@progbits
    .p2align 6
    .globl uio_measure_return
    .hidden uio_measure_return
uio_measure_return:
    ret

    .p2align 6
    .globl uio_measure_loop
    .hidden uio_measure_loop
uio_measure_loop:
    push rbx
    push r12
    push r13
    mov r12, rdi
    mov rbx, rsi
2:  call r12
    dec rbx
    jnz 2b
    pop r13
    pop r12
    pop rbx
    ret

    .p2align 6
uio_measure_serve:
    xor eax, eax
    ret

    .p2align 6
    .globl uio_measure_light_none
    .hidden uio_measure_light_none
uio_measure_light_none:
    sub rsp, 8
    call uio_measure_serve
    add rsp, 8
    ret

    .p2align 6
    .globl uio_measure_light_pku
    .hidden uio_measure_light_pku
uio_measure_light_pku:
    sub rsp, 8
    mov r10, rdx
    mov r11, rcx
    xor eax, eax
    xor ecx, ecx
    xor edx, edx
    wrpkru
    test eax, eax
    jnz 3f
    mov rdx, r10
    mov rcx, r11
    call uio_measure_serve
    mov r9, rax
    mov r8, qword ptr [rip + {current}]
    mov eax, dword ptr [r8 + {frame}]
    xor ecx, ecx
    xor edx, edx
    wrpkru
    cmp eax, dword ptr [r8 + {frame}]
    jne 3f
    mov rax, r9
    add rsp, 8
    ret
3:  ud2
.popsection
",
    current = sym CURRENT,
    frame = const offset_of!(GateContext, frame),
);
