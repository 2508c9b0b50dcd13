//! Helpers on memory and text: careful reads of the guest, strings, stacks, trace lines.

use core::ptr;

use super::format::{Arguments, FORMAT_BYTES_MAX, Line};
use super::functions::{errno, helpers, pointer, run_of};
use crate::context::TracingContext;
use crate::services::Services;
use uio_protocol::bpf::ProgramKind;

/// Bytes copied at a time between the guest's memory and a program's, by way of the stack: a program's memory may be
/// a map's, to which there are no references.
const CHUNK_BYTES: usize = 256;
/// Strings are read in pieces that end at multiples of this: no piece reaches into a page that the string does not.
const STRING_PIECE_BYTES: u64 = 16;
/// Frames of a stack at most (Linux's `perf_event_max_stack`).
const FRAMES_MAX: usize = 127;
/// In the flags of `get_stack`: frames to leave out.
const SKIP_MASK: u64 = 0xff;
/// In the flags of `get_stack`: the user's stack. A guest has one address space.
const USER_STACK: u64 = 1 << 8;
/// Arguments of `trace_printk` after the format: R3 to R5.
const PRINTK_ARGUMENTS: usize = 3;
/// Arguments of `trace_vprintk` at most, as on Linux.
const VPRINTK_ARGUMENTS_MAX: usize = 12;

pub(super) fn pointer_at(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// Copies `bytes` to the program's memory at `address`.
///
/// # Safety
///
/// It may be written for their length.
pub(super) unsafe fn write(address: u64, bytes: &[u8]) {
    // SAFETY: the caller's promise; the source is not the program's.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer_at(address), bytes.len()) };
}

/// Fills the program's memory with zeros.
///
/// # Safety
///
/// It may be written for `bytes`.
pub(super) unsafe fn clear(address: u64, bytes: u64) {
    // SAFETY: the caller's promise.
    unsafe { ptr::write_bytes(pointer_at(address), 0, bytes as usize) };
}

/// Copies the program's memory at `address` into `bytes`.
///
/// # Safety
///
/// It may be read for their length.
unsafe fn read(address: u64, bytes: &mut [u8]) {
    // SAFETY: the caller's promise; the destination is not the program's.
    unsafe { ptr::copy_nonoverlapping(pointer(address), bytes.as_mut_ptr(), bytes.len()) };
}

/// Gives `take` the string at any `address` in pieces, until its zero (not included), `bytes_max`, or `take` has
/// enough and gives false. Whether all of it could be read.
pub(super) fn read_string(
    services: &dyn Services,
    address: u64,
    bytes_max: u64,
    mut take: impl FnMut(&[u8]) -> bool,
) -> bool {
    let mut piece = [0; STRING_PIECE_BYTES as usize];
    let mut done = 0;
    while done < bytes_max {
        let Some(at) = address.checked_add(done) else { return false };
        let length = (STRING_PIECE_BYTES - at % STRING_PIECE_BYTES).min(bytes_max - done) as usize;
        let piece = &mut piece[..length];
        if services.read_memory(at, piece).is_err() {
            return false;
        }
        let end = piece.iter().position(|&byte| byte == 0).unwrap_or(length);
        if !take(&piece[..end]) || end < length {
            return true;
        }
        done += length as u64;
    }
    true
}

/// Formats a line and gives it to the trace; R0.
///
/// # Safety
///
/// `format` may be read for `bytes`.
unsafe fn trace(services: &dyn Services, format: u64, bytes: u64, arguments: &[u64]) -> u64 {
    let mut text = [0; FORMAT_BYTES_MAX];
    let Some(text) = text.get_mut(..bytes as usize) else { return errno::INVALID };
    // SAFETY: the caller's promise.
    unsafe { read(format, text) };
    let Some(end) = text.iter().position(|&byte| byte == 0) else { return errno::INVALID };
    let mut line = Line::new();
    if line.format(&text[..end], &mut Arguments::new(arguments), services).is_err() {
        return errno::INVALID;
    }
    services.trace(line.text());
    line.text().len() as u64
}

helpers! {
    fn probe_read(destination, bytes, address, _, _, run) {
        // SAFETY: the run is under way.
        let services = unsafe { run_of(run) }.services;
        let bytes = u64::from(bytes as u32);
        let mut chunk = [0; CHUNK_BYTES];
        let mut done = 0;
        while done < bytes {
            let length = (bytes - done).min(CHUNK_BYTES as u64) as usize;
            let chunk = &mut chunk[..length];
            let readable = address.checked_add(done).is_some_and(|at| services.read_memory(at, chunk).is_ok());
            if !readable {
                // SAFETY: writable memory of this size, by the prototype.
                unsafe { clear(destination, bytes) };
                return errno::FAULT;
            }
            // SAFETY: as above.
            unsafe { write(destination + done, chunk) };
            done += length as u64;
        }
        0
    }

    fn probe_read_str(destination, bytes, address, _, _, run) {
        // SAFETY: the run is under way.
        let services = unsafe { run_of(run) }.services;
        let bytes = u64::from(bytes as u32);
        let Some(room) = bytes.checked_sub(1) else { return 0 };
        let mut length = 0;
        let readable = read_string(services, address, room, |piece| {
            // SAFETY: writable memory of this size, by the prototype; pieces add up to at most `room`.
            unsafe { write(destination + length, piece) };
            length += piece.len() as u64;
            true
        });
        let copied = if readable { length } else { 0 };
        // SAFETY: as above.
        unsafe { clear(destination + copied, bytes - copied) };
        if readable { copied + 1 } else { errno::FAULT }
    }

    fn trace_printk(format, bytes, first, second, third, run) {
        let arguments: [u64; PRINTK_ARGUMENTS] = [first, second, third];
        // SAFETY: the run is under way; readable memory of this size, by the prototype.
        unsafe { trace(run_of(run).services, format, u64::from(bytes as u32), &arguments) }
    }

    fn trace_vprintk(format, bytes, data, data_bytes, _, run) {
        let data_bytes = data_bytes as u32 as usize;
        let mut arguments = [0; VPRINTK_ARGUMENTS_MAX];
        let count = data_bytes / size_of::<u64>();
        if !data_bytes.is_multiple_of(size_of::<u64>()) || count > VPRINTK_ARGUMENTS_MAX {
            return errno::INVALID;
        }
        for (index, argument) in arguments[..count].iter_mut().enumerate() {
            let mut word = [0; size_of::<u64>()];
            // SAFETY: readable memory of this size, by the prototype.
            unsafe { read(data + (index * size_of::<u64>()) as u64, &mut word) };
            *argument = u64::from_le_bytes(word);
        }
        // SAFETY: the run is under way; readable memory of this size, by the prototype.
        unsafe { trace(run_of(run).services, format, u64::from(bytes as u32), &arguments[..count]) }
    }

    fn get_stack(context, destination, bytes, flags, _, run) {
        // SAFETY: the run is under way.
        let run = unsafe { run_of(run) };
        let bytes = u64::from(bytes as u32);
        let frame_bytes = size_of::<u64>() as u64;
        if run.kind != ProgramKind::Tracing || flags & !(SKIP_MASK | USER_STACK) != 0 || bytes % frame_bytes != 0 {
            // SAFETY: writable memory of this size, by the prototype.
            unsafe { clear(destination, bytes) };
            return errno::INVALID;
        }
        // SAFETY: the context of a tracing program, which nobody writes during the run.
        let registers = unsafe { &*pointer(context).cast::<TracingContext>() };
        let mut frames = [0; FRAMES_MAX];
        let found = run.services.stack(registers, &mut frames).min(FRAMES_MAX);
        let skipped = frames[..found].get((flags & SKIP_MASK) as usize..).unwrap_or(&[]);
        let mut written = 0;
        for frame in skipped.iter().take((bytes / frame_bytes) as usize) {
            // SAFETY: as above.
            unsafe { write(destination + written, &frame.to_le_bytes()) };
            written += frame_bytes;
        }
        // SAFETY: as above.
        unsafe { clear(destination + written, bytes - written) };
        written
    }

    fn strncmp(left, bytes, right, _, _, _) {
        for at in 0..u64::from(bytes as u32) {
            // SAFETY: readable memory of this size, and a constant string whose zero was not passed yet.
            let (left, right) = unsafe { (pointer(left + at).read(), pointer(right + at).read()) };
            if left != right || left == 0 {
                return (i64::from(left) - i64::from(right)) as u64;
            }
        }
        0
    }

    fn output(text, bytes, _, _, _, run) {
        // SAFETY: the run is under way.
        let services = unsafe { run_of(run) }.services;
        let bytes = u64::from(bytes as u32);
        let mut chunk = [0; CHUNK_BYTES];
        let mut done = 0;
        while done < bytes {
            let length = (bytes - done).min(CHUNK_BYTES as u64) as usize;
            // SAFETY: readable memory of this size, by the prototype.
            unsafe { read(text + done, &mut chunk[..length]) };
            services.output(&chunk[..length]);
            done += length as u64;
        }
        0
    }

    fn symbol_address(name, _, _, _, _, run) {
        // SAFETY: the run is under way; a string ended by a zero in a constant map, which nobody writes.
        unsafe {
            let name = core::ffi::CStr::from_ptr(pointer(name).cast());
            run_of(run).services.symbol(name.to_bytes()).unwrap_or(0)
        }
    }
}
