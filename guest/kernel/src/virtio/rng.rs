//! Random bytes from the host (virtio 1.2, section 5.4).

use super::queue::BufferQueue;
use super::{Device, DeviceError};
use crate::sync::{InterruptLock, InterruptsOff};
use crate::thread::wait::WaitQueue;

const BUFFERS: usize = 4;
const BUFFER_BYTES: usize = 64;

struct Rng {
    device: Device,
    queue: BufferQueue<BUFFERS>,
}

static RNG: InterruptLock<Option<Rng>> = InterruptLock::new(None);
static READY: WaitQueue = WaitQueue::new("entropy");

/// Starts the driver: the device fills some buffers at once, and more as they are used.
pub(super) fn init(mut device: Device) -> Result<(), DeviceError> {
    device.negotiate(0)?;
    let queue = BufferQueue::new(&mut device, 0, BUFFER_BYTES)?;
    // A line stays raised until the handler finds the driver in its place.
    let _off = InterruptsOff::new();
    device.route(1, interrupt)?;
    device.start();
    let mut rng = Rng { device, queue };
    rng.queue.offer_all(&mut rng.device);
    RNG.with(|slot| *slot = Some(rng));
    Ok(())
}

fn interrupt(_argument: usize) {
    RNG.with(|rng| {
        if let Some(rng) = rng {
            rng.device.acknowledge();
        }
    });
    READY.wake_all();
}

/// Puts random bytes into `out`: from the device, else from the processor. Returns whether there was a source for all.
pub fn fill(out: &mut [u8], deadline_ns: u64) -> bool {
    let mut filled = 0;
    while filled < out.len() {
        let taken = READY.wait_until(deadline_ns, || {
            RNG.with(|rng| {
                let Some(rng) = rng else {
                    return Some(0);
                };
                let (buffer, bytes) = rng.queue.take_filled()?;
                let count = bytes.min(out.len() - filled);
                let source = rng.queue.buffer(buffer);
                out[filled..filled + count].copy_from_slice(&source[..count]);
                source.fill(0);
                rng.queue.release(buffer);
                rng.queue.offer_all(&mut rng.device);
                Some(count)
            })
        });
        match taken {
            Some(count) if count > 0 => filled += count,
            _ => return processor(&mut out[filled..]),
        }
    }
    true
}

/// RDRAND, where the processor has it.
fn processor(out: &mut [u8]) -> bool {
    let Some(source) = x86_64::instructions::random::RdRand::new() else {
        return false;
    };
    for chunk in out.chunks_mut(8) {
        let Some(value) = source.get_u64() else {
            return false;
        };
        chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
    }
    true
}
