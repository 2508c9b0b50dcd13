//! A panic ends the run: its report shows message and place, and the backtrace to it.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

/// Bytes of the message; the guest keeps no more.
const MESSAGE_BYTES: usize = 1024;

struct Message {
    bytes: [u8; MESSAGE_BYTES],
    used: usize,
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MESSAGE_BYTES - self.used;
        let taken = text.floor_char_boundary(room.min(text.len()));
        self.bytes[self.used..self.used + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.used += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut message = Message { bytes: [0; MESSAGE_BYTES], used: 0 };
    // What does not fit is left out.
    let _ = write!(message, "{info}");
    crate::abort(core::str::from_utf8(&message.bytes[..message.used]).unwrap_or("panicked"))
}
