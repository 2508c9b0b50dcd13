//! The machine as programs see it: clock, randomness, output, careful reads.

use core::sync::atomic::{AtomicU64, Ordering};

use uio_bpf::context::TracingContext;
use uio_bpf::services::{ReadFault, Services, TASK_NAME_BYTES, Task};
use uio_protocol::GuestAddress;
use uio_protocol::inspect::LogLevel;
use uio_protocol::limits::OUTPUT_BUFFER_BYTES;

use crate::gate::api::OUTPUT_BATCH_BYTES;
use crate::shared::Shared;

/// Step of the generator: the odd number nearest to 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What programs of this guest may ask.
pub(crate) struct GuestServices {
    shared: &'static Shared,
    /// State of the generator of random numbers.
    random: AtomicU64,
}

impl GuestServices {
    /// Seeds the generator from the machine's randomness, or from the clock where it has none.
    pub(crate) fn new(shared: &'static Shared) -> Self {
        let mut seed = [0; 8];
        if !shared.platform.random(&mut seed) {
            seed = shared.platform.now_ns().to_le_bytes();
        }
        Self { shared, random: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    /// A random number. SplitMix64 (Steele, Lea, Flood 2014): one addition is the whole state, so that interrupted callers
    /// need no lock.
    pub(crate) fn random_u64(&self) -> u64 {
        let mut mixed = self.random.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Adds to the output of the run on the calling thread; false if there is none.
    fn to_run(&self, text: &[u8], line_end: bool) -> bool {
        let thread = self.shared.platform.current();
        let wake = self.shared.with(|state| {
            let run = state.run_of_thread(thread)?;
            let output = &mut run.output;
            let before = output.bytes.len();
            let bytes = text.len() + usize::from(line_end);
            // A line comes whole or not at all.
            if run.session.is_none() || OUTPUT_BUFFER_BYTES - before < bytes {
                output.dropped_bytes += bytes as u64;
                return Some(false);
            }
            output.bytes.extend(text);
            output.bytes.extend(line_end.then_some(b'\n'));
            let batch = before < OUTPUT_BATCH_BYTES && before + bytes >= OUTPUT_BATCH_BYTES;
            let wake = !output.noticed || batch;
            output.noticed = true;
            Some(wake)
        });
        if wake == Some(true) {
            self.shared.platform.wake();
        }
        wake.is_some()
    }
}

impl Services for GuestServices {
    fn now_ns(&self) -> u64 {
        self.shared.platform.now_ns()
    }

    fn random_u32(&self) -> u32 {
        (self.random_u64() >> 32) as u32
    }

    fn task(&self) -> Task {
        let thread = self.shared.platform.current();
        let mut name = [0; TASK_NAME_BYTES];
        self.shared.platform.thread_name(thread, &mut name[..TASK_NAME_BYTES - 1]);
        Task { process: 1, thread: thread.0, name }
    }

    fn trace(&self, text: &[u8]) {
        // Programs often end a line themselves.
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if !self.to_run(text, true) {
            self.shared.platform.log_line(LogLevel::Info, &alloc::string::String::from_utf8_lossy(text));
        }
    }

    fn output(&self, text: &[u8]) {
        self.to_run(text, false);
    }

    fn read_memory(&self, address: u64, destination: &mut [u8]) -> Result<(), ReadFault> {
        self.shared.platform.read_memory(GuestAddress(address), destination).map_err(|_| ReadFault)
    }

    fn stack(&self, registers: &TracingContext, frames: &mut [u64]) -> usize {
        let mut count = 0;
        let mut next = registers.rip;
        let mut frame = registers.rbp;
        for slot in frames.iter_mut() {
            *slot = next;
            count += 1;
            // What a frame pointer points to: the caller's frame pointer, then the return address. The memory may hold
            // anything; it ends where it does not go upwards.
            let mut words = [0; 16];
            if self.read_memory(frame, &mut words).is_err() {
                break;
            }
            let (caller, address) = words.split_at(8);
            let caller = u64::from_le_bytes(caller.try_into().unwrap_or_default());
            next = u64::from_le_bytes(address.try_into().unwrap_or_default());
            if caller <= frame || !self.shared.platform.in_image(GuestAddress(next)) {
                break;
            }
            frame = caller;
        }
        count
    }

    fn symbol(&self, name: &[u8]) -> Option<u64> {
        let export = self.shared.exports.iter().find(|export| export.name.as_bytes() == name)?;
        Some(export.address().0)
    }
}
