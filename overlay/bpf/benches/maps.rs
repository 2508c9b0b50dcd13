//! Nanoseconds for each operation on maps, called as compiled programs call them.
//!
//! `cargo bench -p uio-bpf --bench maps`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use uio_bpf::context::TracingContext;
use uio_bpf::helper::function;
use uio_bpf::invocation::Invocation;
use uio_bpf::map::Map;
use uio_bpf::program::HelperFunction;
use uio_bpf::services::{ReadFault, Services, Task};
use uio_protocol::bpf::{MapKind, MapSpec, ProgramKind};

/// Entries in use, as many as flows that a small appliance has at once.
const ENTRIES: u32 = 4096;
/// Keys asked for in turn: as many as there are packets in the ring of the engines' benchmark.
const KEYS: usize = 256;
const CALLS: usize = 2_000_000;
const REPETITIONS: usize = 5;

/// Nothing that these helpers ask for.
struct Nothing;

impl Services for Nothing {
    fn now_ns(&self) -> u64 {
        0
    }
    fn random_u32(&self) -> u32 {
        0
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn trace(&self, _: &[u8]) {}
    fn output(&self, _: &[u8]) {}
    fn read_memory(&self, _: u64, _: &mut [u8]) -> Result<(), ReadFault> {
        Err(ReadFault)
    }
    fn stack(&self, _: &TracingContext, _: &mut [u64]) -> usize {
        0
    }
    fn symbol(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

fn map(kind: MapKind, key_bytes: u32, value_bytes: u32, max_entries: u32) -> Arc<Map> {
    let spec = MapSpec {
        name: String::from("bench"),
        kind,
        key_bytes,
        value_bytes,
        max_entries,
        flags: 0,
        read_only: false,
        pinned: false,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    };
    Map::new(&spec, None, 0x5eed).expect("a possible map")
}

/// Key number `number`: an address and a port in the lower bytes, other bytes constant.
fn key(kind: MapKind, bytes: u32, number: u32) -> Vec<u8> {
    let mut key = vec![0x11; bytes as usize];
    match kind {
        MapKind::LpmTrie => {
            key[..4].copy_from_slice(&32u32.to_le_bytes());
            key[4..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        }
        _ => key[..4].copy_from_slice(&number.to_le_bytes()),
    }
    key
}

/// Median of the time of one call, in nanoseconds. The next key depends on what the last call gave, as a packet's
/// work does not begin before the one before it is done.
fn measure(function: HelperFunction, map: &Map, keys: &[Vec<u8>], value: &[u8], flags: u64) -> f64 {
    let run = Invocation::new(ProgramKind::Packet, 0, 0, &Nothing);
    let addresses: Vec<u64> = keys.iter().map(|key| key.as_ptr().expose_provenance() as u64).collect();
    let value = value.as_ptr().expose_provenance() as u64;
    let mut times: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            let mut result = 0;
            for call in 0..CALLS {
                let key = addresses[(call + (result as usize & 1)) % KEYS];
                // SAFETY: helpers of this map with keys and a value of its sizes.
                result = unsafe { function(black_box(map.address()), key, value, flags, 0, &raw const run) };
            }
            black_box(result);
            start.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPETITIONS / 2]
}

fn main() {
    let generic = |number: u32| function(number).expect("a helper");
    println!("{:<12} {:>4} {:>8} {:>8} {:>8}", "kind", "key", "hit", "helper 1", "update");
    for (kind, key_bytes) in [
        (MapKind::Array, 4),
        (MapKind::Hash, 4),
        (MapKind::Hash, 8),
        (MapKind::Hash, 16),
        (MapKind::Hash, 13),
        (MapKind::Hash, 40),
        (MapKind::LruHash, 16),
        (MapKind::LpmTrie, 8),
    ] {
        let map = map(kind, key_bytes, 16, ENTRIES);
        let value = [1; 16];
        let all: Vec<Vec<u8>> = (0..ENTRIES).map(|number| key(kind, key_bytes, number)).collect();
        for key in &all {
            map.update(key, &value, uio_bpf::map::UpdateFlags::Any).expect("room");
        }
        let keys: Vec<Vec<u8>> = all.iter().step_by(ENTRIES as usize / KEYS).cloned().collect();
        println!(
            "{:<12} {key_bytes:>4} {:>8.1} {:>8.1} {:>8.1}",
            kind.name(),
            measure(map.lookup_function(), &map, &keys, &value, 0),
            measure(generic(1), &map, &keys, &value, 0),
            measure(generic(2), &map, &keys, &value, 0),
        );
    }
    let lru = map(MapKind::LruHash, 16, 16, ENTRIES);
    let mut number = 0u32;
    let start = Instant::now();
    for _ in 0..CALLS {
        number = number.wrapping_add(1);
        let key = [number, 0, 0, 0].map(u32::to_le_bytes).concat();
        lru.update(&key, &[0; 16], uio_bpf::map::UpdateFlags::Any).expect("always room");
    }
    println!("LRU insertion with eviction: {:.1}", start.elapsed().as_nanos() as f64 / CALLS as f64);
    let ring = map(MapKind::RingBuffer, 0, 0, 1 << 20);
    let start = Instant::now();
    for call in 0..CALLS {
        let (reserve, submit) = (generic(131), generic(132));
        // SAFETY: a ring buffer, and each record is given back.
        unsafe {
            let record = reserve(ring.address(), 64, 0, 0, 0, std::ptr::null());
            submit(record, 0, 0, 0, 0, std::ptr::null());
        }
        if call % 1024 == 0 {
            ring.drain(usize::MAX, |_| core::ops::ControlFlow::Continue(())).expect("a ring");
        }
    }
    println!("ring reserve, submit, drain: {:.1}", start.elapsed().as_nanos() as f64 / CALLS as f64);
}
