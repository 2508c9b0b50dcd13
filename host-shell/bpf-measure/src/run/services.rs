//! The world as programs see it here.

use std::sync::atomic::{AtomicU64, Ordering};

use uio_bpf::context::TracingContext;
use uio_bpf::services::{ReadFault, Services, Task};

/// What both worlds have in common: nobody, and no memory beside the program's own.
macro_rules! nobody {
    () => {
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
    };
}

/// A clock and random numbers that repeat from the same seed, so that runs can be compared.
#[derive(Debug)]
pub struct Replayed {
    clock_ns: AtomicU64,
    random: AtomicU64,
}

impl Replayed {
    /// Starts with `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { clock_ns: AtomicU64::new(seed >> 16), random: AtomicU64::new(seed) }
    }
}

impl Services for Replayed {
    fn now_ns(&self) -> u64 {
        const STEP_NS: u64 = 1_000;
        self.clock_ns.fetch_add(STEP_NS, Ordering::Relaxed)
    }

    fn random_u32(&self) -> u32 {
        // Weyl sequence with the multiplier of SplitMix64's first step.
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        ((state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
    }

    nobody!();
}

/// The machine's clock: what a guest's kernel and Linux's `bpf_ktime_get_ns` read, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Services for Clock {
    fn now_ns(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes the structure given.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn random_u32(&self) -> u32 {
        // Any number does for a measurement.
        4
    }

    nobody!();
}
