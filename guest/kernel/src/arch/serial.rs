//! The first serial port (16550 at 0x3f8), output only: the log of a machine that nobody is attached to.

use core::fmt;

use x86_64::instructions::port::Port;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = DATA + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Polls of the line status before a byte is given up: a machine without the port reads 0xff or 0 for ever.
const POLLS_MAX: u32 = 100_000;

/// Writes to the port; holds no state, so that a panic can write in the middle of somebody else's line.
#[derive(Debug)]
pub struct Serial;

impl Serial {
    /// Sends one byte.
    pub fn send(&mut self, byte: u8) {
        let mut status = Port::<u8>::new(LINE_STATUS);
        let mut data = Port::<u8>::new(DATA);
        for _ in 0..POLLS_MAX {
            // SAFETY: reading the line status register has no effect on memory.
            if unsafe { status.read() } & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        // SAFETY: the transmit register only leads out of the machine.
        unsafe { data.write(byte) };
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}
