//! Trap entry: every exception and interrupt saves the whole context in a [`TrapFrame`] on an interrupt stack
//! and opens all protection keys; the return path restores the frame, which may by then be another thread's.

use core::arch::global_asm;
use core::cell::UnsafeCell;

use uio_protocol::inspect::Registers;
use x86_64::VirtAddr;
use x86_64::structures::idt::InterruptDescriptorTable;

use super::cpu;
#[cfg(feature = "overlay")]
use super::cpu::KeyRegister;
use super::segments::{IST_DOUBLE_FAULT, IST_EXCEPTION, IST_INTERRUPT, IST_NMI, KERNEL_CODE, KERNEL_DATA};

/// Software interrupt by which a thread gives up the CPU.
pub(crate) const VECTOR_YIELD: u8 = 0x30;
/// The local APIC's timer.
pub(crate) const VECTOR_TIMER: u8 = 0x31;
/// First vector of devices.
pub(crate) const VECTOR_DEVICES: u8 = 0x40;
/// Vectors for devices.
pub(crate) const DEVICE_VECTORS: u8 = 32;
/// The local APIC's spurious interrupts; its low bits have to be ones.
pub(crate) const VECTOR_SPURIOUS: u8 = 0x6f;
#[cfg(feature = "overlay")]
/// Going on with a context in memory, see `thread::ring3`.
pub(crate) const VECTOR_RESUME: u8 = 0x32;
/// Gate call from ring 3; the same number as `uio_isolation::gate::RING3_VECTOR`.
pub(crate) const VECTOR_GATE: u8 = 0x81;
const VECTORS: usize = 0x82;
const STUB_BYTES: u64 = 16;

/// The context of interrupted code, as the trap entry lays it out.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "registers of that name")]
pub struct TrapFrame {
    pub fx: [u8; 512],
    /// PKRU or `IA32_PKRS` of the interrupted code.
    pub key_rights: u64,
    pub padding: u64,
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const FRAME_HEAD_BYTES: usize = core::mem::offset_of!(TrapFrame, r15);
const FRAME_KEYS: usize = core::mem::offset_of!(TrapFrame, key_rights);

impl core::fmt::Debug for TrapFrame {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "vector {:#x} error {:#x} {:x?}", self.vector, self.error, self.registers())
    }
}

impl TrapFrame {
    /// Bit of `rflags`: interrupts are on.
    pub const INTERRUPT_FLAG: u64 = 1 << 9;

    /// Whether the interrupted code ran in ring 3.
    #[must_use]
    pub fn is_ring3(&self) -> bool {
        self.cs & 3 == 3
    }

    /// A frame that starts ring-0 code at `rip` on the stack that ends at `stack_top`, with `argument` in `rdi`.
    #[must_use]
    pub fn start(rip: u64, stack_top: u64, argument: u64) -> Self {
        let mut fx = [0; 512];
        // Power-on state: x87 control word 0x37f, MXCSR 0x1f80 (all exceptions masked).
        fx[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        fx[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self {
            fx,
            key_rights: 0,
            padding: 0,
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rbp: 0,
            rdi: argument,
            rsi: 0,
            rdx: 0,
            rcx: 0,
            rbx: 0,
            rax: 0,
            vector: 0,
            error: 0,
            rip,
            cs: KERNEL_CODE,
            rflags: 0x202,
            // As after a call: the return address that is not there.
            rsp: stack_top - 8,
            ss: KERNEL_DATA,
        }
    }

    /// The general registers.
    #[must_use]
    pub fn registers(&self) -> Registers {
        Registers {
            rax: self.rax,
            rbx: self.rbx,
            rcx: self.rcx,
            rdx: self.rdx,
            rsi: self.rsi,
            rdi: self.rdi,
            rbp: self.rbp,
            rsp: self.rsp,
            r8: self.r8,
            r9: self.r9,
            r10: self.r10,
            r11: self.r11,
            r12: self.r12,
            r13: self.r13,
            r14: self.r14,
            r15: self.r15,
            rip: self.rip,
            rflags: self.rflags,
        }
    }
}

// One table of stubs and one common path for each key register, so that the path neither branches on it nor reads
// memory before the keys are open.
//
// Loaded code in ring 0 can jump to any instruction here. Opening the keys is followed by a look at the stack pointer: it
// is one of the trap stacks, or nothing further is done with it. The rights of the interrupted code are written back by
// `uio_isolation`'s checked routine, which refuses more than the running thread is entitled to.
macro_rules! trap_path {
    ($name:literal, $open:literal, $close:literal $(, $operand:ident = sym $symbol:path)*) => {
        global_asm!(
            concat!(
                ".pushsection .text\n",
                ".balign 16\n",
                "trap_stubs_", $name, ":\n",
                ".set vector, 0\n",
                ".rept {vectors}\n",
                ".balign 16\n",
                // Vectors for which the processor pushes an error code: 8, 10-14, 17, 21, 29, 30.
                ".if (vector < 32) && ((0x60227d00 >> vector) & 1)\n",
                ".else\n",
                "push 0\n",
                ".endif\n",
                ".if vector < 128\n",
                "push vector\n",
                ".else\n",
                ".byte 0x68\n",
                ".long vector\n",
                ".endif\n",
                "jmp trap_common_", $name, "\n",
                ".set vector, vector + 1\n",
                ".endr\n",
                "trap_common_", $name, ":\n",
                "push rax\n push rbx\n push rcx\n push rdx\n push rsi\n push rdi\n push rbp\n",
                "push r8\n push r9\n push r10\n push r11\n push r12\n push r13\n push r14\n push r15\n",
                "cld\n",
                "sub rsp, {head}\n",
                "fxsave64 [rsp]\n",
                $open,
                "lea rax, [rip + {stacks}]\n",
                "mov rdi, rsp\n",
                "sub rdi, rax\n",
                "cmp rdi, {stacks_bytes}\n",
                "jae 2f\n",
                "mov rdi, rsp\n",
                "call {dispatch}\n",
                "fxrstor64 [rsp]\n",
                $close,
                "add rsp, {head}\n",
                "pop r15\n pop r14\n pop r13\n pop r12\n pop r11\n pop r10\n pop r9\n pop r8\n",
                "pop rbp\n pop rdi\n pop rsi\n pop rdx\n pop rcx\n pop rbx\n pop rax\n",
                "add rsp, 16\n",
                "iretq\n",
                // Raises an exception, which finds more rights than the thread is entitled to and ends it.
                "2:\n",
                "ud2\n",
                ".popsection\n",
            ),
            vectors = const VECTORS,
            head = const FRAME_HEAD_BYTES,
            stacks = sym super::segments::TRAP_STACKS,
            stacks_bytes = const super::segments::TRAP_STACKS_BYTES,
            dispatch = sym dispatch,
            $($operand = sym $symbol,)*
        );
    };
}

trap_path!("none", "mov qword ptr [rsp + 512], 0\n", "");
#[cfg(feature = "overlay")]
trap_path!(
    "pkru",
    "xor ecx, ecx\n rdpkru\n mov [rsp + 512], rax\n xor eax, eax\n xor edx, edx\n wrpkru\n",
    "mov edi, [rsp + 512]\n call uio_isolation_write_pku\n"
);
#[cfg(feature = "overlay")]
trap_path!(
    "pkrs",
    "mov ecx, 0x6e1\n rdmsr\n mov [rsp + 512], rax\n xor eax, eax\n xor edx, edx\n wrmsr\n",
    "mov edi, [rsp + 512]\n call uio_isolation_write_pks\n"
);

const _: () = assert!(FRAME_KEYS == 512, "the assembly above names this offset");

unsafe extern "C" {
    static trap_stubs_none: u8;
    #[cfg(feature = "overlay")]
    static trap_stubs_pkru: u8;
    #[cfg(feature = "overlay")]
    static trap_stubs_pkrs: u8;
}

struct Table(UnsafeCell<InterruptDescriptorTable>);

// SAFETY: written once by `init` with interrupts off; afterwards only the processor reads it.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(InterruptDescriptorTable::new()));

/// Loads the interrupt descriptor table. Called once, after the key register was chosen.
pub(crate) fn init() {
    // SAFETY: only the addresses are taken.
    let stubs = match cpu::key_register() {
        #[cfg(feature = "overlay")]
        KeyRegister::Pkru => &raw const trap_stubs_pkru,
        #[cfg(feature = "overlay")]
        KeyRegister::Pkrs => &raw const trap_stubs_pkrs,
        _ => &raw const trap_stubs_none,
    };
    let address = |vector: usize| VirtAddr::new(stubs as u64 + vector as u64 * STUB_BYTES);
    // SAFETY: this runs once, before anything else could hold a reference; the stubs are code that fits each
    // vector's frame, and each stack index names a stack that `segments::init` set.
    unsafe {
        let table = &mut *TABLE.0.get();
        macro_rules! exception {
            ($($field:ident $vector:literal),*) => {
                $(table.$field.set_handler_addr(address($vector)).set_stack_index(IST_EXCEPTION);)*
            };
        }
        exception!(
            divide_error 0, debug 1, bound_range_exceeded 5, invalid_opcode 6,
            device_not_available 7, invalid_tss 10, segment_not_present 11, stack_segment_fault 12,
            general_protection_fault 13, page_fault 14, x87_floating_point 16, alignment_check 17,
            simd_floating_point 19, virtualization 20, cp_protection_exception 21, hv_injection_exception 28,
            vmm_communication_exception 29, security_exception 30
        );
        table.double_fault.set_handler_addr(address(8)).set_stack_index(IST_DOUBLE_FAULT);
        table.non_maskable_interrupt.set_handler_addr(address(2)).set_stack_index(IST_NMI);
        table.machine_check.set_handler_addr(address(18)).set_stack_index(IST_NMI);
        // Ring 3 may raise these two by instructions of their own; anything else there is a protection fault.
        let ring3 = x86_64::PrivilegeLevel::Ring3;
        table
            .breakpoint
            .set_handler_addr(address(3))
            .set_stack_index(IST_EXCEPTION)
            .set_privilege_level(ring3);
        table.overflow.set_handler_addr(address(4)).set_stack_index(IST_EXCEPTION).set_privilege_level(ring3);
        for vector in 32..VECTORS {
            let entry = &mut table[vector as u8];
            let options = entry.set_handler_addr(address(vector)).set_stack_index(IST_INTERRUPT);
            if vector == usize::from(VECTOR_GATE) {
                options.set_privilege_level(ring3);
            }
        }
        table.load_unsafe();
    }
}

/// Gives up the CPU; returns when the scheduler picks this thread again.
#[inline]
pub(crate) fn yield_interrupt() {
    // SAFETY: the handler preserves every register; with interrupts off it works the same, and the flag
    // is as before afterwards.
    unsafe { core::arch::asm!("int {vector}", vector = const VECTOR_YIELD, options(nomem, nostack)) };
}

/// Where every trap arrives, on an interrupt stack with interrupts off and all keys open.
extern "C" fn dispatch(frame: &mut TrapFrame) {
    let vector = frame.vector as u8;
    #[cfg(feature = "overlay")]
    if !settle(frame, vector) {
        return;
    }
    match vector {
        2 => crate::thread::faults::nmi(frame),
        vector @ 0..32 => crate::thread::faults::exception(frame, vector),
        VECTOR_YIELD => crate::thread::scheduler::reschedule(frame),
        VECTOR_TIMER => {
            super::apic::end_of_interrupt();
            crate::thread::scheduler::timer(frame);
        }
        VECTOR_SPURIOUS => {}
        #[cfg(feature = "overlay")]
        VECTOR_RESUME => crate::thread::ring3::resume(frame),
        #[cfg(feature = "overlay")]
        VECTOR_GATE => crate::thread::supervised::ring3_gate(frame),
        vector @ VECTOR_DEVICES..VECTOR_SPURIOUS => {
            crate::interrupts::deliver(vector - VECTOR_DEVICES);
            super::apic::end_of_interrupt();
            crate::thread::scheduler::after_interrupt(frame);
        }
        vector => crate::log::write(
            uio_protocol::inspect::LogLevel::Warn,
            format_args!("unexpected interrupt, vector {vector:#x}"),
        ),
    }
}

/// Brings gates and interrupted code in step. Returns false if that was the end of the interrupted thread.
#[cfg(feature = "overlay")]
fn settle(frame: &mut TrapFrame, vector: u8) -> bool {
    use crate::thread::supervised;
    use uio_protocol::fault::{Cause, Exception};

    const NMI: u8 = 2;
    // An NMI may interrupt a trap's entry or exit, where rights and context are out of step for good reason.
    if vector == NMI && super::segments::on_trap_stack(frame.rsp) {
        return true;
    }
    if !supervised::settle(frame) {
        supervised::end_in_trap(frame, Cause::GateTampered);
        return false;
    }
    // The kernel's own software interrupts are not for loaded code.
    if vector == VECTOR_RESUME && supervised::is_domain_code(frame) {
        supervised::end_in_trap(frame, Cause::Exception(Exception::GeneralProtection(0)));
        return false;
    }
    true
}
