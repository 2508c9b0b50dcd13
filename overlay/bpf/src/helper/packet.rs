//! Helpers on packets: their ends, and checksums.

use super::functions::{errno, helpers, pointer, run_of};
use super::memory;
use crate::context::PacketContext;
use crate::invocation::Invocation;
use uio_protocol::bpf::ProgramKind;

/// Bytes of an Ethernet header: what has to remain of a packet, as on Linux.
const PACKET_BYTES_MIN: u64 = 14;
/// Bytes of metadata at most, as on Linux, and what they are a multiple of.
const META_BYTES_MAX: u64 = 32;
const META_UNIT_BYTES: u64 = 4;
/// Bytes of what checksums add up.
const WORD_BYTES: u64 = 4;

/// The context of a run of a packet program.
///
/// Programs only read it, and no other helper of the same run is under way, so there is no other access.
///
/// # Safety
///
/// The run is under way; of a packet program the context is a [`PacketContext`].
unsafe fn context_of(run: *const Invocation<'_>) -> Option<*mut PacketContext> {
    // SAFETY: the caller's promise.
    let run = unsafe { run_of(run) };
    // Other kinds may not call these; if one did, its context would be something else.
    (run.kind == ProgramKind::Packet).then(|| core::ptr::with_exposed_provenance_mut(run.context as usize))
}

/// A 32-bit signed register as a distance.
fn distance(register: u64) -> i64 {
    i64::from(register as i32)
}

/// The packet's new start and end, if there is room and enough of it remains.
fn moved(context: &PacketContext, head: i64, tail: i64) -> Option<(u64, u64)> {
    let data = context.data.checked_add_signed(head)?;
    let data_end = context.data_end.checked_add_signed(tail)?;
    let meta_bytes = context.data.saturating_sub(context.data_meta);
    let fits = data >= context.head.checked_add(meta_bytes)? && data_end <= context.tail;
    (fits && data_end >= data.checked_add(PACKET_BYTES_MIN)?).then_some((data, data_end))
}

/// Moves the packet's ends, with the metadata in front of it.
///
/// # Safety
///
/// `context` is that of a run under way, and the memory from `head` to `tail` is the packet's.
unsafe fn adjust(context: *mut PacketContext, head: i64, tail: i64) -> Option<u64> {
    // SAFETY: the caller's promise.
    let mut new = unsafe { context.read() };
    let (data, data_end) = moved(&new, head, tail)?;
    let meta_bytes = new.data.saturating_sub(new.data_meta);
    let data_meta = data - meta_bytes;
    if tail > 0 {
        // SAFETY: `moved` made sure that this lies before `tail`.
        unsafe { memory::clear(new.data_end, tail as u64) };
    }
    if meta_bytes > 0 && head != 0 {
        // SAFETY: both lie between `head` and the packet's end; they may overlap.
        unsafe {
            core::ptr::copy(pointer(new.data_meta), memory::pointer_at(data_meta), meta_bytes as usize);
        };
    }
    (new.data, new.data_end, new.data_meta) = (data, data_end, data_meta);
    // SAFETY: as above.
    unsafe { context.write(new) };
    Some(data)
}

/// Adds the words of memory to a sum, each changed by `with`.
///
/// # Safety
///
/// The memory may be read; its size is a multiple of a word.
unsafe fn add_words(sum: u64, start: u64, bytes: u64, with: impl Fn(u32) -> u32) -> u64 {
    (0..bytes / WORD_BYTES).fold(sum, |sum, index| {
        // SAFETY: inside the memory.
        let word = unsafe { pointer(start + index * WORD_BYTES).cast::<u32>().read_unaligned() };
        let sum = sum + u64::from(with(word));
        // Carries come back in at the low end.
        (sum & 0xffff_ffff) + (sum >> 32)
    })
}

helpers! {
    fn xdp_adjust_head(_, delta, _, _, _, run) {
        // SAFETY: the run is under way, its context live.
        let moved = unsafe { context_of(run).and_then(|context| adjust(context, distance(delta), 0)) };
        if moved.is_some() { 0 } else { errno::INVALID }
    }

    fn xdp_adjust_tail(_, delta, _, _, _, run) {
        // SAFETY: the run is under way, its context live.
        let moved = unsafe { context_of(run).and_then(|context| adjust(context, 0, distance(delta))) };
        if moved.is_some() { 0 } else { errno::INVALID }
    }

    fn packet_add_space(head, tail, _, _, _, run) {
        // SAFETY: the run is under way, its context live.
        unsafe { context_of(run).and_then(|context| adjust(context, -distance(head), distance(tail))) }.unwrap_or(0)
    }

    fn xdp_adjust_meta(_, delta, _, _, _, run) {
        // SAFETY: the run is under way.
        let Some(context) = (unsafe { context_of(run) }) else { return errno::INVALID };
        // SAFETY: its context is live.
        let mut new = unsafe { context.read() };
        let Some(data_meta) = new.data_meta.checked_add_signed(distance(delta)) else { return errno::INVALID };
        let bytes = new.data.wrapping_sub(data_meta);
        if data_meta < new.head || data_meta > new.data || bytes > META_BYTES_MAX || bytes % META_UNIT_BYTES != 0 {
            return errno::INVALID;
        }
        new.data_meta = data_meta;
        // SAFETY: as above.
        unsafe { context.write(new) };
        0
    }

    fn csum_diff(from, from_bytes, to, to_bytes, seed, _) {
        let (from_bytes, to_bytes) = (u64::from(from_bytes as u32), u64::from(to_bytes as u32));
        if from_bytes % WORD_BYTES != 0 || to_bytes % WORD_BYTES != 0 {
            return errno::INVALID;
        }
        let seed = u64::from(seed as u32);
        // SAFETY: readable memory of these sizes, by the prototype; null has size 0.
        let sum = unsafe {
            let removed = add_words(seed, from, from_bytes, |word| !word);
            add_words(removed, to, to_bytes, |word| word)
        };
        let halves = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        let folded = (halves & 0xffff) + (halves >> 16);
        (folded & 0xffff) + (folded >> 16)
    }
}
