//! The overlay's own exports: what every image offers to extensions. `extensions/include/uio.h`
//! declares them for C.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;

use uio_protocol::GuestAddress;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::LogLevel;
use uio_protocol::limits::OUTPUT_BUFFER_BYTES;

use super::{Export, GateCall, GateError, Length, Pointer, PointerAccess};
use super::{files, inspect, memory};
use crate::shared::Purpose;

/// Output is copied in pieces of this size, so that no critical section copies more.
const PIECE_BYTES: usize = 4096;

/// Output that waits is sent at once when it passes this, without waiting for more to go with it.
pub(crate) const OUTPUT_BATCH_BYTES: usize = 4096;

/// Bytes of a message that is kept of `uio_abort` or goes into the log.
const MESSAGE_BYTES_MAX: usize = 1024;

const OK: u64 = 0;

/// The exports, in the order of their gate indices.
pub(crate) static EXPORTS: &[Export] = &[
    Export {
        name: "uio_print",
        prototype: "void uio_print(const char *text, size_t bytes)",
        function: print,
        pointers: &[Pointer::read(0, 1, 1)],
    },
    Export {
        name: "uio_log",
        prototype: "void uio_log(const char *text, size_t bytes)",
        function: log,
        pointers: &[Pointer::read(0, 1, 1)],
    },
    Export {
        name: "uio_abort",
        prototype: "_Noreturn void uio_abort(const char *message, size_t bytes)",
        function: abort,
        pointers: &[Pointer::read(0, 1, 1)],
    },
    Export { name: "uio_time_ns", prototype: "uint64_t uio_time_ns(void)", function: time_ns, pointers: &[] },
    Export {
        name: "uio_sleep_ns",
        prototype: "void uio_sleep_ns(uint64_t nanoseconds)",
        function: sleep_ns,
        pointers: &[],
    },
    Export { name: "uio_yield", prototype: "void uio_yield(void)", function: yield_now, pointers: &[] },
    Export {
        name: "uio_thread_id",
        prototype: "uint32_t uio_thread_id(void)",
        function: thread_id,
        pointers: &[],
    },
    Export {
        name: "uio_alloc",
        prototype: "void *uio_alloc(size_t bytes, size_t alignment)",
        function: memory::alloc,
        pointers: &[],
    },
    Export {
        name: "uio_free",
        prototype: "void uio_free(void *block)",
        function: memory::free,
        pointers: &[],
    },
    Export {
        name: "uio_write",
        prototype: "int uio_write(void *to, const void *from, size_t bytes)",
        function: memory::write,
        pointers: &[Pointer::read(1, 2, 1)],
    },
    Export {
        name: "uio_read",
        prototype: "int uio_read(void *to, const void *from, size_t bytes)",
        function: memory::read,
        pointers: &[Pointer::write(0, 2, 1)],
    },
    Export {
        name: "uio_threads",
        prototype: "size_t uio_threads(struct uio_thread *out, size_t max)",
        function: inspect::threads,
        pointers: &[Pointer::write(0, 1, inspect::THREAD_BYTES as u64)],
    },
    Export {
        name: "uio_regions",
        prototype: "size_t uio_regions(struct uio_region *out, size_t max)",
        function: inspect::regions,
        pointers: &[Pointer::write(0, 1, inspect::REGION_BYTES as u64)],
    },
    Export {
        name: "uio_heap_blocks",
        prototype: "size_t uio_heap_blocks(uint64_t *cursor, struct uio_block *out, size_t max)",
        function: inspect::heap_blocks,
        pointers: &[
            Pointer { argument: 0, access: PointerAccess::Write, length: Length::Bytes(8), nullable: false },
            Pointer::write(1, 2, inspect::BLOCK_BYTES as u64),
        ],
    },
    Export {
        name: "uio_file_size",
        prototype: "int64_t uio_file_size(const char *path)",
        function: files::size,
        pointers: &[Pointer::string(0)],
    },
    Export {
        name: "uio_file_read",
        prototype: "int64_t uio_file_read(const char *path, uint64_t offset, void *to, size_t bytes)",
        function: files::read,
        pointers: &[Pointer::string(0), Pointer::write(2, 3, 1)],
    },
    Export {
        name: "uio_file_write",
        prototype: "int64_t uio_file_write(const char *path, uint64_t offset, const void *from, size_t bytes)",
        function: files::write,
        pointers: &[Pointer::string(0), Pointer::read(2, 3, 1)],
    },
];

/// Output to the session that started the run. Waits while its buffer is full, as at a pipe; in
/// constructors, `init`, `exit` and destructors, which others wait for, it drops instead.
fn print(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [start, length, ..] = call.arguments();
    let mut piece = vec![0; PIECE_BYTES.min(length as usize)];
    let mut done = 0;
    while done < length {
        let size = (length - done).min(PIECE_BYTES as u64) as usize;
        call.read(0, GuestAddress(start + done), &mut piece[..size])?;
        append(call, &piece[..size])?;
        done += size as u64;
    }
    Ok(OK)
}

enum Appended {
    All { wake: bool },
    Part { bytes: usize, wake: bool },
}

fn append(call: &GateCall<'_>, mut bytes: &[u8]) -> Result<(), GateError> {
    loop {
        let appended = call.shared.with(|state| {
            let Some(run) = state.run_mut(call.run) else { return Appended::All { wake: false } };
            let output = &mut run.output;
            let before = output.bytes.len();
            let room = OUTPUT_BUFFER_BYTES - before;
            let taken = room.min(bytes.len());
            output.bytes.extend(&bytes[..taken]);
            let batch = before < OUTPUT_BATCH_BYTES && before + taken >= OUTPUT_BATCH_BYTES;
            let wake = !output.noticed || batch;
            output.noticed = true;
            if taken == bytes.len() {
                return Appended::All { wake };
            }
            if run.purpose == Purpose::Operation || run.session.is_none() {
                output.dropped_bytes += (bytes.len() - taken) as u64;
                return Appended::All { wake };
            }
            output.waiting = true;
            Appended::Part { bytes: taken, wake }
        });
        match appended {
            Appended::All { wake } => {
                if wake {
                    call.platform().wake();
                }
                return Ok(());
            }
            Appended::Part { bytes: taken, wake } => {
                bytes = &bytes[taken..];
                if wake {
                    call.platform().wake();
                }
                call.platform().park("output space")?;
            }
        }
    }
}

/// A line of the guest's log.
fn log(call: &GateCall<'_>) -> Result<u64, GateError> {
    let text = message(call)?;
    call.platform().log_line(LogLevel::Info, text.trim_end_matches('\n'));
    Ok(OK)
}

/// Ends the run with a message.
fn abort(call: &GateCall<'_>) -> Result<u64, GateError> {
    Err(GateError::End(Box::new(Cause::Abort { message: message(call)? })))
}

fn message(call: &GateCall<'_>) -> Result<String, GateError> {
    let [start, length, ..] = call.arguments();
    let mut bytes = vec![0; (length as usize).min(MESSAGE_BYTES_MAX)];
    call.read(0, GuestAddress(start), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Nanoseconds since boot.
fn time_ns(call: &GateCall<'_>) -> Result<u64, GateError> {
    Ok(call.platform().now_ns())
}

fn sleep_ns(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [duration, ..] = call.arguments();
    let platform = call.platform();
    platform.sleep_until(platform.now_ns().saturating_add(duration))?;
    Ok(OK)
}

fn yield_now(call: &GateCall<'_>) -> Result<u64, GateError> {
    call.platform().yield_now();
    Ok(OK)
}

fn thread_id(call: &GateCall<'_>) -> Result<u64, GateError> {
    Ok(u64::from(call.thread.0))
}
