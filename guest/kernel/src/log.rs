//! The log: a ring of lines in memory, copied to the serial port.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ringbuf::LocalRb;
use ringbuf::storage::Array;
use ringbuf::traits::{Consumer, Observer, Producer};
use uio_protocol::inspect::{LogLevel, LogLine};

use crate::arch::serial::Serial;
use crate::sync::{InterruptLock, InterruptsOff};
use crate::time;

/// Bytes of the ring: some 500 lines.
const RING_BYTES: usize = 32 * 1024;
/// Longest line in bytes; the rest of a longer one is cut.
const LINE_BYTES_MAX: usize = 240;
/// Time, level and length before each line's text.
const HEADER_BYTES: usize = 8 + 1 + 1;

struct Ring {
    bytes: LocalRb<Array<u8, RING_BYTES>>,
    /// Number of the oldest line in the ring, and of the next.
    first: u64,
    next: u64,
}

static RING: InterruptLock<Option<Ring>> = InterruptLock::new(None);

/// Makes the ring. It is as large as half a stack, so it is not made by whoever logs first. Called once, at boot.
#[inline(never)]
pub(crate) fn init() {
    RING.with(|ring| *ring = Some(Ring { bytes: LocalRb::default(), first: 0, next: 0 }));
}

/// Least severe level that goes to the serial port.
static SERIAL_LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Called after each line while the log is watched.
static WATCHER: InterruptLock<Option<fn()>> = InterruptLock::new(None);

/// A line under construction, on the stack.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut room = text.len().min(LINE_BYTES_MAX - self.used);
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.bytes[self.used..self.used + room].copy_from_slice(&text.as_bytes()[..room]);
        self.used += room;
        Ok(())
    }
}

/// Adds a line. Callable from anywhere, also from interrupt handlers.
pub fn write(level: LogLevel, message: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_BYTES_MAX], used: 0 };
    // `Line` never fails; a failing `Display` costs the rest of the line.
    let _ = line.write_fmt(message);
    let text = &line.bytes[..line.used];
    let time_ns = time::now_ns();
    RING.with(|ring| {
        let Some(ring) = ring else {
            return;
        };
        while ring.bytes.vacant_len() < HEADER_BYTES + text.len() {
            ring.drop_oldest();
        }
        ring.bytes.push_slice(&time_ns.to_le_bytes());
        ring.bytes.push_slice(&[level as u8, text.len() as u8]);
        ring.bytes.push_slice(text);
        ring.next += 1;
    });
    if level as u8 <= SERIAL_LEVEL.load(Ordering::Relaxed) {
        let text = core::str::from_utf8(text).unwrap_or("?");
        let name = match level {
            LogLevel::Error => "error: ",
            LogLevel::Warn => "warning: ",
            LogLevel::Info | LogLevel::Debug => "",
        };
        // Whole lines: a driver's thread may log while another one is being sent.
        let _off = InterruptsOff::new();
        let (seconds, micros) = (time_ns / 1_000_000_000, time_ns / 1000 % 1_000_000);
        let _ = writeln!(Serial, "[{seconds:5}.{micros:06}] {name}{text}");
    }
    if WATCHED.load(Ordering::Relaxed)
        && let Some(watcher) = WATCHER.with(|watcher| *watcher)
    {
        watcher();
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        let mut header = [0; HEADER_BYTES];
        self.bytes.pop_slice(&mut header);
        self.bytes.skip(usize::from(header[HEADER_BYTES - 1]));
        self.first += 1;
    }
}

/// Lines from number `from` on, at most `max`.
#[must_use]
pub fn lines(from: u64, max: usize) -> Vec<LogLine> {
    let mut lines = Vec::new();
    // Copied out first: allocation under the lock is allowed, but decoding with interrupts off need not be.
    let Some((first, bytes)) = RING.with(|ring| {
        let ring = ring.as_ref()?;
        let mut bytes = alloc::vec![0; ring.bytes.occupied_len()];
        ring.bytes.peek_slice(&mut bytes);
        Some((ring.first, bytes))
    }) else {
        return lines;
    };
    let mut rest = bytes.as_slice();
    let mut sequence = first;
    while let Some((header, tail)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let (text, tail) = tail.split_at(usize::from(header[HEADER_BYTES - 1]).min(tail.len()));
        rest = tail;
        if sequence >= from && lines.len() < max {
            let [t0, t1, t2, t3, t4, t5, t6, t7, level, _] = *header;
            lines.push(LogLine {
                sequence,
                time_ns: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
                level: match level {
                    0 => LogLevel::Error,
                    1 => LogLevel::Warn,
                    2 => LogLevel::Info,
                    _ => LogLevel::Debug,
                },
                text: String::from_utf8_lossy(text).into_owned(),
            });
        }
        sequence += 1;
    }
    lines
}

/// Number of the next line.
#[must_use]
pub fn next() -> u64 {
    RING.with(|ring| ring.as_ref().map_or(0, |ring| ring.next))
}

/// Calls `watcher` after each new line from now on, if `on`.
pub fn watch(on: bool, watcher: fn()) {
    WATCHER.with(|slot| *slot = Some(watcher));
    WATCHED.store(on, Ordering::Relaxed);
}

/// Sends debug lines to the serial port too, or only errors.
pub fn set_serial_level(level: LogLevel) {
    SERIAL_LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Logs a milestone.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => {
        $crate::log::write($crate::LogLevel::Info, format_args!($($argument)*))
    };
}

/// Logs something that is not as it should be.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => {
        $crate::log::write($crate::LogLevel::Warn, format_args!($($argument)*))
    };
}

/// Logs detail.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => {
        $crate::log::write($crate::LogLevel::Debug, format_args!($($argument)*))
    };
}
