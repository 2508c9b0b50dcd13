//! Ending the machine.

use x86_64::instructions::port::Port;

/// QEMU's `isa-debug-exit` at its customary port: QEMU ends with status `(code << 1) | 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// PM1a control of q35 (ICH9 at its reset base): writing S5 turns the machine off.
const ACPI_CONTROL: u16 = 0x604;
const ACPI_SLEEP_S5: u16 = 0x2000;
/// The keyboard controller's reset line; with `-no-reboot` the machine ends.
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

/// Ends the machine, with a code for its monitor where there is a device that takes one.
pub fn off(exit_code: u8) -> ! {
    x86_64::instructions::interrupts::disable();
    // SAFETY: each write ends the machine or goes nowhere.
    unsafe {
        Port::<u32>::new(DEBUG_EXIT).write(u32::from(exit_code));
        Port::<u16>::new(ACPI_CONTROL).write(ACPI_SLEEP_S5);
        Port::<u8>::new(KEYBOARD_COMMAND).write(KEYBOARD_RESET);
    }
    loop {
        x86_64::instructions::hlt();
    }
}
