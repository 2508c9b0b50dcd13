//! Exceptions: of loaded code they end that code, of the kernel or the application they are a panic.

use core::fmt::Write;

use uio_protocol::GuestAddress;
use uio_protocol::fault::{Attempt, Cause, Denial, Exception};
use x86_64::registers::control::Cr2;

use super::scheduler;
#[cfg(feature = "overlay")]
use super::supervised;
use crate::arch::serial::Serial;
use crate::arch::traps::TrapFrame;
use crate::mm::{paging, regions, stacks, window};

const PAGE_FAULT: u8 = 14;
const ERROR_PRESENT: u64 = 1 << 0;
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_USER: u64 = 1 << 2;
const ERROR_FETCH: u64 = 1 << 4;
const ERROR_KEY: u64 = 1 << 5;

/// An exception arrived.
pub(crate) fn exception(frame: &mut TrapFrame, vector: u8) {
    let cause = if vector == PAGE_FAULT {
        page_fault(Cr2::read_raw(), frame.error)
    } else {
        Cause::Exception(classify(vector, frame.error))
    };
    #[cfg(feature = "overlay")]
    if supervised::is_current() {
        supervised::end_in_trap(frame, cause);
        return;
    }
    let _ = writeln!(Serial, "\nunhandled exception in thread {}: {cause:?}", scheduler::current().0);
    let _ = writeln!(Serial, "{:x?}", frame.registers());
    let _ = write!(Serial, "rip {:#x}, ", frame.rip);
    crate::panic_report(frame.rsp);
    crate::power::off(crate::EXCEPTION_EXIT_CODE);
}

/// A non-maskable interrupt: the watchdog of the machine's owner.
pub(crate) fn nmi(frame: &mut TrapFrame) {
    #[cfg(feature = "overlay")]
    supervised::check_interrupts_off(frame);
    #[cfg(not(feature = "overlay"))]
    let _ = frame;
}

fn page_fault(address: u64, error: u64) -> Cause {
    let attempt = if error & ERROR_FETCH != 0 {
        Attempt::Execute
    } else if error & ERROR_WRITE != 0 {
        Attempt::Write
    } else {
        Attempt::Read
    };
    let denial = if error & ERROR_KEY != 0 {
        Denial::Key(paging::access(address).map_or(0, |(_, key)| key))
    } else if error & ERROR_PRESENT != 0 {
        if error & ERROR_USER != 0 && !window_address(address) {
            Denial::Supervisor
        } else {
            Denial::Protection
        }
    } else if stacks::is_guard(address) || window::is_guard(address) {
        Denial::StackGuard
    } else {
        Denial::NotMapped
    };
    Cause::Access { address: GuestAddress(address), attempt, denial, owner: regions::owner(address) }
}

fn window_address(address: u64) -> bool {
    (crate::mm::layout::WINDOW_START..crate::mm::layout::WINDOW_END).contains(&address)
}

fn classify(vector: u8, error: u64) -> Exception {
    match vector {
        0 => Exception::Divide,
        1 => Exception::Debug,
        3 => Exception::Breakpoint,
        4 | 5 => Exception::Bounds,
        6 => Exception::InvalidOpcode,
        12 => Exception::Stack,
        13 => Exception::GeneralProtection(error as u32),
        16 => Exception::X87,
        17 => Exception::Alignment,
        19 => Exception::Simd,
        other => Exception::Other(other),
    }
}
