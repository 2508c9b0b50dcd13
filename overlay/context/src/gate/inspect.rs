//! Gates about the guest itself: its threads, its address space, its heap.
//!
//! The records are C structures of fixed layout, little-endian, without padding.

use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::inspect::{Region, ThreadInfo, ThreadState};

use super::{GateCall, GateError};
use crate::platform::HeapBlock;

/// `struct uio_thread { uint64_t cpu_time_ns, stack_pointer; uint32_t id, extension, stack_bytes,
/// stack_margin_bytes, state, priority; char name[32]; }`. `stack_pointer` is 0 for one that runs, `extension` 0 for
/// none, `state` 0 running, 1 ready, 2 sleeping, 3 waiting, 4 exited; `name` ends with a NUL.
pub(super) const THREAD_BYTES: usize = 2 * 8 + 6 * 4 + NAME_BYTES;

/// `struct uio_region { uint64_t start, bytes; uint32_t access, key; char owner[32]; }`. `access` is 1
/// for writable, 2 for executable; `owner` ends with a NUL.
pub(super) const REGION_BYTES: usize = 2 * 8 + 2 * 4 + NAME_BYTES;

/// `struct uio_block { uint64_t address, bytes; }`.
pub(super) const BLOCK_BYTES: usize = 2 * 8;

const NAME_BYTES: usize = 32;

/// Records of one call, which bounds the kernel memory that a caller can make it take.
const RECORDS_MAX: u64 = 1024;

/// `uio_threads`: fills `out` with at most `max` threads; how many there are.
pub(super) fn threads(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [out, max, ..] = call.arguments();
    let threads = call.platform().threads();
    let mut records = Vec::new();
    for thread in threads.iter().take(max.min(RECORDS_MAX) as usize) {
        let stopped =
            call.platform().thread_snapshot(thread.id).filter(|_| thread.state != ThreadState::Running);
        put_thread(&mut records, thread, stopped.map_or(0, |snapshot| snapshot.registers.rsp));
    }
    call.write(0, GuestAddress(out), &records)?;
    Ok(threads.len() as u64)
}

fn put_thread(records: &mut Vec<u8>, thread: &ThreadInfo, stack_pointer: u64) {
    let state: u32 = match thread.state {
        ThreadState::Running => 0,
        ThreadState::Ready => 1,
        ThreadState::Sleeping { .. } => 2,
        ThreadState::Waiting { .. } => 3,
        ThreadState::Exited => 4,
    };
    records.extend_from_slice(&thread.cpu_time_ns.to_le_bytes());
    records.extend_from_slice(&stack_pointer.to_le_bytes());
    let words = [
        thread.id.0,
        thread.extension.map_or(0, |extension| extension.0),
        thread.stack_bytes,
        thread.stack_margin_bytes,
        state,
        u32::from(thread.priority),
    ];
    words.iter().for_each(|word| records.extend_from_slice(&word.to_le_bytes()));
    put_name(records, &thread.name);
}

/// `uio_regions`: fills `out` with at most `max` mapped ranges, ascending; how many there are.
pub(super) fn regions(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [out, max, ..] = call.arguments();
    let regions = call.platform().regions();
    let mut records = Vec::new();
    for region in regions.iter().take(max.min(RECORDS_MAX) as usize) {
        put_region(&mut records, region);
    }
    call.write(0, GuestAddress(out), &records)?;
    Ok(regions.len() as u64)
}

fn put_region(records: &mut Vec<u8>, region: &Region) {
    records.extend_from_slice(&region.start.0.to_le_bytes());
    records.extend_from_slice(&region.size.to_le_bytes());
    let access = u32::from(region.access.write) | u32::from(region.access.execute) << 1;
    records.extend_from_slice(&access.to_le_bytes());
    records.extend_from_slice(&u32::from(region.key).to_le_bytes());
    put_name(records, &region.owner);
}

/// `uio_heap_blocks`: fills `out` with at most `max` live blocks of the guest's heap after `*cursor` (0
/// starts), moves the cursor; how many, 0 at the end.
pub(super) fn heap_blocks(call: &GateCall<'_>) -> Result<u64, GateError> {
    let [cursor_address, out, max, ..] = call.arguments();
    let mut cursor = [0; 8];
    call.read(0, GuestAddress(cursor_address), &mut cursor)?;
    let mut blocks = vec![HeapBlock::default(); max.min(RECORDS_MAX) as usize];
    let (count, next) = call.platform().heap_blocks(u64::from_le_bytes(cursor), &mut blocks);
    let count = count.min(blocks.len());
    let mut records = Vec::with_capacity(count * BLOCK_BYTES);
    for block in &blocks[..count] {
        records.extend_from_slice(&block.address.0.to_le_bytes());
        records.extend_from_slice(&block.bytes.to_le_bytes());
    }
    let written = call.write(1, GuestAddress(out), &records);
    // What is freed here becomes part of other blocks: addresses left in it would hide leaks from whoever asks.
    blocks.fill(HeapBlock::default());
    records.fill(0);
    core::hint::black_box((&blocks, &records));
    written?;
    call.write(0, GuestAddress(cursor_address), &next.to_le_bytes())?;
    Ok(count as u64)
}

/// A name, cut to the field at a character boundary, with at least one NUL.
fn put_name(records: &mut Vec<u8>, name: &str) {
    let end = name.floor_char_boundary(NAME_BYTES - 1);
    records.extend_from_slice(&name.as_bytes()[..end]);
    records.resize(records.len() + NAME_BYTES - end, 0);
}
