//! Segments, the task state and the stacks on which traps land.
//!
//! Every vector has an interrupt stack: prebuilt `core` uses the red zone, so nothing may be pushed below a
//! thread's `rsp`. The processor pushes onto them under the PKRU of the interrupted code, so these pages are
//! in the exchange key, which every domain may write. That is safe because they hold nothing while domain
//! code runs: what is to be kept is copied into the thread before another thread runs.

use core::cell::UnsafeCell;

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Bytes of one trap stack. The deepest handler is the fault report.
pub(crate) const TRAP_STACK_BYTES: usize = 16 * 1024;

/// Interrupt stack of device and software interrupts; they do not nest.
pub(crate) const IST_INTERRUPT: u16 = 0;
/// Interrupt stack of exceptions, which may come inside an interrupt handler.
pub(crate) const IST_EXCEPTION: u16 = 1;
/// Interrupt stack of double faults.
pub(crate) const IST_DOUBLE_FAULT: u16 = 2;
/// Interrupt stack of NMI and machine check, which come at any time.
pub(crate) const IST_NMI: u16 = 3;
const IST_COUNT: usize = 4;
/// Bytes of all trap stacks.
pub(crate) const TRAP_STACKS_BYTES: usize = TRAP_STACK_BYTES * IST_COUNT;

/// Ring-0 code segment.
pub(crate) const KERNEL_CODE: u64 = 0x08;
/// Ring-0 data segment.
pub(crate) const KERNEL_DATA: u64 = 0x10;
#[cfg(feature = "overlay")]
/// Ring-3 data segment with its privilege level.
pub(crate) const USER_DATA: u64 = 0x18 | 3;
#[cfg(feature = "overlay")]
/// Ring-3 code segment with its privilege level.
pub(crate) const USER_CODE: u64 = 0x20 | 3;

#[repr(C, align(4096))]
pub(crate) struct TrapStacks(UnsafeCell<[[u8; TRAP_STACK_BYTES]; IST_COUNT]>);

// SAFETY: the processor and the trap entry are the only users; one CPU, and each stack is used by one level.
unsafe impl Sync for TrapStacks {}

pub(crate) static TRAP_STACKS: TrapStacks = TrapStacks(UnsafeCell::new([[0; TRAP_STACK_BYTES]; IST_COUNT]));

struct Tables(UnsafeCell<(TaskStateSegment, GlobalDescriptorTable)>);

// SAFETY: written once by `init` before interrupts are on; afterwards only the processor reads it.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables(UnsafeCell::new((TaskStateSegment::new(), GlobalDescriptorTable::empty())));

/// First byte and size of the trap stacks, for the page tables.
pub(crate) fn trap_stacks() -> (u64, u64) {
    (TRAP_STACKS.0.get() as u64, TRAP_STACKS_BYTES as u64)
}

/// Whether a stack pointer is in use by a trap's handler.
#[cfg(feature = "overlay")]
pub(crate) fn on_trap_stack(pointer: u64) -> bool {
    let (start, bytes) = trap_stacks();
    (start..start + bytes).contains(&pointer)
}

/// Loads the descriptor tables. Called once, with interrupts off.
pub(crate) fn init() {
    let stacks = TRAP_STACKS.0.get() as u64;
    // SAFETY: nobody else holds a reference: this runs once, before other code could.
    let (tss, gdt) = unsafe { &mut *TABLES.0.get() };
    for index in 0..IST_COUNT {
        tss.interrupt_stack_table[index] = VirtAddr::new(stacks + ((index + 1) * TRAP_STACK_BYTES) as u64);
    }
    // The accessed bit is set beforehand, so that the processor never writes into the table.
    let accessed = DescriptorFlags::ACCESSED;
    gdt.append(Descriptor::UserSegment((DescriptorFlags::KERNEL_CODE64 | accessed).bits()));
    gdt.append(Descriptor::UserSegment((DescriptorFlags::KERNEL_DATA | accessed).bits()));
    gdt.append(Descriptor::UserSegment((DescriptorFlags::USER_DATA | accessed).bits()));
    gdt.append(Descriptor::UserSegment((DescriptorFlags::USER_CODE64 | accessed).bits()));
    // SAFETY: the static outlives everything.
    let tss_selector = gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
    // SAFETY: both tables are static, the selectors are those just appended.
    unsafe {
        gdt.load_unsafe();
        CS::set_reg(SegmentSelector(KERNEL_CODE as u16));
        SS::set_reg(SegmentSelector(KERNEL_DATA as u16));
        DS::set_reg(SegmentSelector(KERNEL_DATA as u16));
        ES::set_reg(SegmentSelector(KERNEL_DATA as u16));
        load_tss(tss_selector);
    }
}
