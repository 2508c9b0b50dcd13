//! The `count` image: one application thread that counts and does some work each millisecond.
#![no_std]
#![no_main]

#[cfg(feature = "overlay")]
extern crate alloc;

#[cfg(feature = "overlay")]
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use uio_kernel::thread;

uio_kernel::runtime!();

/// How often the application counts, in nanoseconds. `set period_ns 0` keeps it busy all the time.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".app.data")]
static period_ns: AtomicU64 = AtomicU64::new(1_000_000);
/// Rounds of the work that each count costs.
const WORK_ROUNDS: u64 = 1_000;

/// What the application counts. Exported, so that `print count` and `set count 0` have something to do.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".app.data")]
static count: AtomicU64 = AtomicU64::new(0);

/// Sets the count; returns what it was.
#[unsafe(no_mangle)]
extern "C" fn set_count(value: u64) -> u64 {
    count.swap(value, Ordering::Relaxed)
}

/// Keeps [`set_count`] in the image when nothing else refers to it: `call set_count 0` does.
#[used]
static SET_COUNT: extern "C" fn(u64) -> u64 = set_count;

/// Largest block that [`leak`] takes: it is for showing leaks, not for running out of memory.
#[cfg(feature = "overlay")]
const LEAK_BYTES_MAX: u64 = 64 * 1024;

/// Takes a block of the heap and forgets it, so that `heap_leaks` has something to find. Returns how many
/// bytes it took, 0 if none.
#[cfg(feature = "overlay")]
#[unsafe(no_mangle)]
extern "C" fn leak(bytes: u64) -> u64 {
    let mut block = Vec::<u8>::new();
    let bytes = bytes.min(LEAK_BYTES_MAX);
    if block.try_reserve_exact(bytes as usize).is_err() {
        return 0;
    }
    block.resize(bytes as usize, b'!');
    // Opaque, or the compiler would leave the whole allocation out.
    black_box(block.leak());
    bytes
}

/// Keeps [`leak`] in the image, as [`SET_COUNT`] does.
#[cfg(feature = "overlay")]
#[used]
static LEAK: extern "C" fn(u64) -> u64 = leak;

/// What extensions may call by name, beside the overlay's own functions.
#[cfg(feature = "overlay")]
static EXPORTS: [uio_overlay::Export; 2] = [
    uio_overlay::Export {
        name: "set_count",
        prototype: "uint64_t set_count(uint64_t value)",
        function: |call| Ok(set_count(call.arguments()[0])),
        pointers: &[],
    },
    uio_overlay::Export {
        name: "leak",
        prototype: "uint64_t leak(uint64_t bytes)",
        function: |call| Ok(leak(call.arguments()[0])),
        pointers: &[],
    },
];

/// Some work: a multiplicative hash chain, so that no round can be left out.
#[inline(never)]
fn work(seed: u64) -> u64 {
    let mut state = seed;
    for _ in 0..WORK_ROUNDS {
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ seed;
    }
    state
}

fn application() {
    loop {
        let value = count.fetch_add(1, Ordering::Relaxed) + 1;
        black_box(work(value));
        thread::sleep_ns(period_ns.load(Ordering::Relaxed));
    }
}

/// Called by the kernel once it is up.
#[unsafe(no_mangle)]
extern "C" fn image_main() {
    #[cfg(feature = "overlay")]
    uio_kernel::overlay::serve("count", &EXPORTS);
    thread::spawn("app", thread::Priority::Application, application).expect("no memory for the application");
}
