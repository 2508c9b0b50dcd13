//! Local APIC (timer, end of interrupt) and I/O APIC (interrupt lines of microvm's devices).
//! Intel SDM volume 3, chapter 12; 82093AA data sheet.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;

use super::traps::{VECTOR_SPURIOUS, VECTOR_TIMER};
use crate::mm::{self, PhysicalAddress};

const LOCAL_BASE: PhysicalAddress = PhysicalAddress(0xfee0_0000);
const IO_BASE: PhysicalAddress = PhysicalAddress(0xfec0_0000);

const ID: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const SPURIOUS_ENABLE: u32 = 1 << 8;
const TIMER: u64 = 0x320;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;
const DIVIDE_BY_1: u32 = 0b1011;
const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 0b100 << 8;

const IO_SELECT: u64 = 0;
const IO_WINDOW: u64 = 0x10;
const IO_LEVEL: u32 = 1 << 15;

/// Virtual addresses of the two register pages; 0 before [`init`].
static LOCAL: AtomicU64 = AtomicU64::new(0);
static IO: AtomicU64 = AtomicU64::new(0);

fn read(register: u64) -> u32 {
    // SAFETY: `init` mapped the page, and every register offset used is inside it.
    unsafe { core::ptr::read_volatile((LOCAL.load(Ordering::Relaxed) + register) as *const u32) }
}

fn write(register: u64, value: u32) {
    // SAFETY: as in `read`; the registers written control interrupts of this CPU only.
    unsafe { core::ptr::write_volatile((LOCAL.load(Ordering::Relaxed) + register) as *mut u32, value) }
}

/// Masks the legacy controllers and enables the local APIC. Called once, with interrupts off.
pub(crate) fn init() {
    for port in [0x21, 0xa1] {
        // SAFETY: masking every line of the 8259s, or writing to ports where nothing listens.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
    LOCAL.store(mm::map_device(LOCAL_BASE, 4096, "local apic"), Ordering::Relaxed);
    IO.store(mm::map_device(IO_BASE, 4096, "i/o apic"), Ordering::Relaxed);
    write(TASK_PRIORITY, 0);
    write(LINT0, MASKED);
    write(LINT1, DELIVER_NMI);
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER, MASKED | u32::from(VECTOR_TIMER));
    write(SPURIOUS, SPURIOUS_ENABLE | u32::from(VECTOR_SPURIOUS));
}

/// Tells the controller that the handler is done.
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// This CPU's identity, the destination of interrupts.
pub(crate) fn id() -> u8 {
    (read(ID) >> 24) as u8
}

/// Arms the timer for one interrupt after `ticks` of its input clock; 0 disarms it.
pub(crate) fn arm_timer(ticks: u32) {
    write(TIMER, u32::from(VECTOR_TIMER));
    write(TIMER_INITIAL, ticks);
}

/// Starts the timer from its largest value without an interrupt, for calibration.
pub(crate) fn start_reference() {
    write(TIMER, MASKED | u32::from(VECTOR_TIMER));
    write(TIMER_INITIAL, u32::MAX);
}

/// Ticks since [`start_reference`].
pub(crate) fn reference_ticks() -> u32 {
    u32::MAX - read(TIMER_CURRENT)
}

/// Routes global interrupt `line` to `vector`, level-triggered and active high, as QEMU's microvm wires virtio.
pub(crate) fn route(line: u8, vector: u8) {
    let base = IO.load(Ordering::Relaxed);
    let entry = 0x10 + 2 * u32::from(line);
    let put = |register: u32, value: u32| {
        // SAFETY: `init` mapped the page; index and window are its two registers.
        unsafe {
            core::ptr::write_volatile((base + IO_SELECT) as *mut u32, register);
            core::ptr::write_volatile((base + IO_WINDOW) as *mut u32, value);
        }
    };
    put(entry + 1, u32::from(id()) << 24);
    put(entry, IO_LEVEL | u32::from(vector));
}
