//! A panic in the guest is a bug: it prints what a person needs to find it and ends the machine.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::serial::Serial;
use crate::mm::layout::image_sections;

/// Exit code of a guest that panicked.
const PANIC_EXIT_CODE: u8 = 101;
/// Words of the stack that are looked at for return addresses.
const STACK_WORDS: u64 = 512;
/// Return addresses that are printed.
const FRAMES_MAX: usize = 32;

static PANICKING: AtomicBool = AtomicBool::new(false);

/// Reports a panic and ends the machine: the body of the image's panic handler.
pub fn report(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let _ = writeln!(Serial, "\nkernel panic: {info}");
        print_stack(stack_pointer());
    }
    crate::power::off(PANIC_EXIT_CODE);
}

fn stack_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: reading a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack)) };
    pointer
}

/// Prints what looks like return addresses on the stack from `pointer` on, for `uio-shell symbolize`.
///
/// Without unwind tables in memory this is a guess: it may list stale addresses.
pub(crate) fn print_stack(pointer: u64) {
    let text = image_sections()[0];
    let mut printed = 0;
    let _ = write!(Serial, "stack:");
    for word in 0..STACK_WORDS {
        let mut bytes = [0; 8];
        if printed == FRAMES_MAX || crate::mm::read((pointer & !7) + word * 8, &mut bytes).is_err() {
            break;
        }
        let value = u64::from_le_bytes(bytes);
        if (text.start..text.end).contains(&value) {
            let _ = write!(Serial, " {value:#x}");
            printed += 1;
        }
    }
    let _ = writeln!(Serial);
}

/// Prebuilt `core` refers to it; nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Prebuilt `alloc` was compiled with landing pads, which nothing ever enters.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::power::off(PANIC_EXIT_CODE)
}
