//! Output to the shell that started the run, and the guest's log.

use core::fmt::{self, Write};

use crate::raw;

/// Bytes that formatted output collects before it goes through the gate.
const BUFFER_BYTES: usize = 256;

/// Prints as it is. Waits while the shell does not keep up.
pub fn print(text: &str) {
    // SAFETY: the gate reads the bytes of `text`, which are there for the call.
    unsafe { raw::uio_print(text.as_ptr().cast(), text.len()) }
}

/// Adds one line to the guest's log; of a longer one the first 1024 bytes are kept.
pub fn log(line: &str) {
    // SAFETY: the gate reads the bytes of `line`, which are there for the call.
    unsafe { raw::uio_log(line.as_ptr().cast(), line.len()) }
}

/// Ends the run; the report shows the message.
pub fn abort(message: &str) -> ! {
    // SAFETY: the gate reads the bytes of `message` and does not return.
    unsafe { raw::uio_abort(message.as_ptr().cast(), message.len()) }
}

/// Formatted output, collected so that one `println!` is one call into the guest. What is left goes out when it is
/// dropped.
#[derive(Debug)]
pub struct Output {
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl Output {
    /// Nothing collected yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: [0; BUFFER_BYTES], used: 0 }
    }

    /// Prints what was collected.
    pub fn flush(&mut self) {
        if self.used > 0 {
            // SAFETY: the gate reads the first `used` bytes of the buffer.
            unsafe { raw::uio_print(self.buffer.as_ptr().cast(), self.used) }
            self.used = 0;
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == BUFFER_BYTES {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Prints formatted text to the shell that started the run.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {{
        // A formatter that fails prints what it has so far.
        let _ = ::core::fmt::Write::write_fmt(&mut $crate::Output::new(), ::core::format_args!($($argument)*));
    }};
}

/// As [`print!`], with a line end.
#[macro_export]
macro_rules! println {
    () => { $crate::print("\n") };
    ($($argument:tt)*) => { $crate::print!("{}\n", ::core::format_args!($($argument)*)) };
}

#[cfg(test)]
mod tests {
    use crate::fake;

    #[test]
    fn one_line_is_one_call() {
        let calls = fake::printed(|| println!("{:>4}|{:#x}|{}", 7, 255, "x"));
        assert_eq!(calls, ["   7|0xff|x\n"]);
    }

    #[test]
    fn long_output_comes_whole_and_in_order() {
        let long = "abcdefg".repeat(100);
        let calls = fake::printed(|| crate::print!("<{long}>"));
        assert_eq!(calls.concat(), format!("<{long}>"));
        assert_eq!(calls.len(), 702_usize.div_ceil(super::BUFFER_BYTES));
    }

    #[test]
    fn nothing_is_not_printed() {
        assert!(fake::printed(|| crate::print!("{}", "")).is_empty());
        assert_eq!(fake::printed(|| println!()), ["\n"]);
    }
}
