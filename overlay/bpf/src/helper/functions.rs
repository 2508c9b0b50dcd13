//! Bodies of the helpers on maps, time and identity, and the table of all.

use core::ptr;

use super::{memory, packet};
use crate::invocation::Invocation;
use crate::map::access::{finish_record, map_at, owner_of};
use crate::map::{AccessError, Map, UpdateFlags};
use crate::program::HelperTable;
use uio_protocol::bpf::MapKind;

/// Linux's error numbers, as R0 holds them.
pub(super) mod errno {
    /// `EAGAIN`: no room just now.
    pub(crate) const AGAIN: u64 = -11_i64 as u64;
    /// `EFAULT`: memory that cannot be read.
    pub(crate) const FAULT: u64 = -14_i64 as u64;
    /// `EINVAL`: arguments that mean nothing.
    pub(crate) const INVALID: u64 = -22_i64 as u64;
    /// `ENOSPC`: what a full trie says.
    pub(crate) const NO_SPACE: u64 = -28_i64 as u64;
}

/// Functions behind helpers, with all five registers and the run.
macro_rules! helpers {
    ($($(#[$doc:meta])* fn $name:ident($a:pat, $b:pat, $c:pat, $d:pat, $e:pat, $run:pat) $body:block)*) => {$(
        $(#[$doc])*
        /// # Safety
        ///
        /// The arguments are what the helper's prototype says, and the run is under way.
        pub(super) unsafe extern "sysv64" fn $name(
            $a: u64,
            $b: u64,
            $c: u64,
            $d: u64,
            $e: u64,
            $run: *const $crate::invocation::Invocation<'_>,
        ) -> u64 $body
    )*};
}
pub(super) use helpers;

/// All functions by number, ascending: for [`crate::program::Parts`].
pub static FUNCTIONS: &HelperTable = &[
    (1, map_lookup_elem),
    (2, map_update_elem),
    (3, map_delete_elem),
    (4, memory::probe_read),
    (5, ktime_get_ns),
    (6, memory::trace_printk),
    (7, get_prandom_u32),
    (8, get_smp_processor_id),
    (12, tail_call),
    (14, get_current_pid_tgid),
    (16, get_current_comm),
    (25, perf_event_output),
    (28, packet::csum_diff),
    (44, packet::xdp_adjust_head),
    (45, memory::probe_read_str),
    (54, packet::xdp_adjust_meta),
    (60, packet::packet_add_space),
    (65, packet::xdp_adjust_tail),
    (67, memory::get_stack),
    (87, map_push_elem),
    (88, map_pop_elem),
    (89, map_peek_elem),
    (112, memory::probe_read),
    (113, memory::probe_read),
    (114, memory::probe_read_str),
    (115, memory::probe_read_str),
    (118, jiffies64),
    (125, ktime_get_ns),
    (130, ringbuf_output),
    (131, ringbuf_reserve),
    (132, ringbuf_submit),
    (133, ringbuf_discard),
    (134, ringbuf_query),
    (160, ktime_get_ns),
    (177, memory::trace_vprintk),
    (182, memory::strncmp),
    (195, map_lookup_percpu_elem),
    (0x1_0000, memory::output),
    (0x1_0001, memory::symbol_address),
];

/// Nanoseconds in one of what [`jiffies64`] counts.
const JIFFY_NS: u64 = 1_000_000;
/// Flag of `map_push_elem` (`BPF_EXIST`): a full queue loses its oldest.
const REPLACE_OLDEST: u64 = 2;
/// Flags of `perf_event_output` that name a processor: there is one.
const PROCESSOR_MASK: u64 = 0xffff_ffff;

/// A pointer from a register.
pub(super) fn pointer(register: u64) -> *const u8 {
    ptr::with_exposed_provenance(register as usize)
}

/// A pointer for writing from a register.
pub(super) fn pointer_mut(register: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(register as usize)
}

/// # Safety
///
/// The run is under way.
pub(super) unsafe fn run_of<'a>(run: *const Invocation<'a>) -> &'a Invocation<'a> {
    // SAFETY: the caller's promise.
    unsafe { &*run }
}

/// R0 for a result.
fn number(result: Result<(), AccessError>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(error) => error.errno() as u64,
    }
}

/// R0 for a change of `map`: a trie has a word of its own for being full.
fn changed(map: &Map, result: Result<(), AccessError>) -> u64 {
    if result == Err(AccessError::Full) && map.kind() == MapKind::LpmTrie {
        return errno::NO_SPACE;
    }
    number(result)
}

helpers! {
    fn map_lookup_elem(map, key, _, _, _, _) {
        // SAFETY: a live map and a key of its size, by the prototype.
        unsafe { map_at(map).find(pointer(key)) }.expose_provenance() as u64
    }

    fn map_lookup_percpu_elem(map, key, processor, _, _, _) {
        if processor as u32 != 0 {
            return 0;
        }
        // SAFETY: a live map and a key of its size, by the prototype.
        unsafe { map_at(map).find(pointer(key)) }.expose_provenance() as u64
    }

    fn map_update_elem(map, key, value, flags, _, _) {
        // SAFETY: a live map, by the prototype.
        let map = unsafe { map_at(map) };
        let Some(flags) = UpdateFlags::from_number(flags) else { return errno::INVALID };
        // SAFETY: a key and a value of its sizes, by the prototype.
        changed(map, unsafe { map.set(pointer(key), pointer(value), flags) })
    }

    fn map_delete_elem(map, key, _, _, _, _) {
        // SAFETY: a live map and a key of its size, by the prototype.
        number(unsafe { map_at(map).remove(pointer(key)) })
    }

    fn map_push_elem(map, value, flags, _, _, _) {
        if flags & !REPLACE_OLDEST != 0 {
            return errno::INVALID;
        }
        // SAFETY: a live map and a value of its size, by the prototype.
        number(unsafe { map_at(map).push_raw(pointer(value), flags == REPLACE_OLDEST) })
    }

    fn map_pop_elem(map, value, _, _, _, _) {
        // SAFETY: a live map and room for a value of its size, by the prototype.
        number(unsafe { map_at(map).take_raw(pointer_mut(value), true) })
    }

    fn map_peek_elem(map, value, _, _, _, _) {
        // SAFETY: a live map and room for a value of its size, by the prototype.
        number(unsafe { map_at(map).take_raw(pointer_mut(value), false) })
    }

    /// Finds the program to go on in; the engine counts, and goes on.
    fn tail_call(_, map, index, _, _, run) {
        // SAFETY: a live map, and the run is under way.
        let (map, run) = unsafe { (map_at(map), run_of(run)) };
        let program = map.program(index as u32);
        // SAFETY: null, or a program that lives while a run is under way that may have found it.
        match unsafe { program.as_ref() } {
            // Another kind would take this context for its own.
            Some(found) if found.executable().kind() == run.kind => program.expose_provenance() as u64,
            _ => 0,
        }
    }

    fn ringbuf_output(map, data, bytes, _, _, _) {
        // SAFETY: a live map and readable memory of this size, by the prototype.
        match unsafe { map_at(map).output(pointer(data), bytes) } {
            Err(AccessError::Full) => errno::AGAIN,
            result => number(result),
        }
    }

    fn perf_event_output(_, map, flags, data, bytes, _) {
        if flags & !PROCESSOR_MASK != 0 {
            return errno::INVALID;
        }
        // SAFETY: a live map and readable memory of this size, by the prototype.
        match unsafe { map_at(map).output(pointer(data), bytes) } {
            Err(AccessError::Full) => errno::NO_SPACE,
            result => number(result),
        }
    }

    fn ringbuf_reserve(map, bytes, flags, _, _, run) {
        if flags != 0 {
            return 0;
        }
        // SAFETY: a live map, by the prototype.
        unsafe { map_at(map) }.reserve(bytes, owner_of(run)).expose_provenance() as u64
    }

    fn ringbuf_submit(record, _, _, _, _, _) {
        // SAFETY: a record that was reserved and not given back, by the prototype.
        unsafe { finish_record(pointer_mut(record), false) };
        0
    }

    fn ringbuf_discard(record, _, _, _, _, _) {
        // SAFETY: a record that was reserved and not given back, by the prototype.
        unsafe { finish_record(pointer_mut(record), true) };
        0
    }

    fn ringbuf_query(map, flags, _, _, _, _) {
        // SAFETY: a live map, by the prototype.
        let Some(state) = unsafe { map_at(map) }.ring_state() else { return 0 };
        match flags {
            0 => state.available_bytes,
            1 => state.capacity_bytes,
            2 => state.consumed_bytes,
            3 => state.produced_bytes,
            _ => 0,
        }
    }

    fn ktime_get_ns(_, _, _, _, _, run) {
        // SAFETY: the run is under way.
        unsafe { run_of(run) }.services.now_ns()
    }

    fn jiffies64(_, _, _, _, _, run) {
        // SAFETY: the run is under way.
        unsafe { run_of(run) }.services.now_ns() / JIFFY_NS
    }

    fn get_prandom_u32(_, _, _, _, _, run) {
        // SAFETY: the run is under way.
        u64::from(unsafe { run_of(run) }.services.random_u32())
    }

    fn get_smp_processor_id(_, _, _, _, _, _) {
        0
    }

    fn get_current_pid_tgid(_, _, _, _, _, run) {
        // SAFETY: the run is under way.
        let task = unsafe { run_of(run) }.services.task();
        u64::from(task.process) << 32 | u64::from(task.thread)
    }

    fn get_current_comm(buffer, bytes, _, _, _, run) {
        // SAFETY: the run is under way.
        let name = unsafe { run_of(run) }.services.task().name;
        // The last byte of what is copied has to be a zero.
        let copied = (bytes as usize).min(name.len()) - 1;
        // SAFETY: writable memory of at least one byte and this size, by the prototype.
        unsafe {
            memory::write(buffer, &name[..copied]);
            memory::clear(buffer + copied as u64, bytes - copied as u64);
        }
        0
    }
}
