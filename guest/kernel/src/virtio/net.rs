//! A network card (virtio 1.2, section 5.1): frames in and out of buffers that are made once.
//!
//! One thread owns the queues ([`Card`]). The interrupt handler only acknowledges and wakes that thread, which asks
//! for no interrupts while it works, so a flood of frames costs one interrupt per sleep.

use core::sync::atomic::{AtomicBool, Ordering};

use virtio_drivers::transport::Transport;

use super::queue::BufferQueue;
use super::{Device, DeviceError};
use crate::sync::InterruptLock;
use crate::thread::wait::WaitQueue;

const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_STATUS: u64 = 1 << 16;
const CONFIG_MAC: usize = 0;
const CONFIG_STATUS: usize = 6;
const STATUS_LINK_UP: u16 = 1;

const RECEIVE_QUEUE: u16 = 0;
const TRANSMIT_QUEUE: u16 = 1;
/// Receive buffers: what a card gets within about 3 ms of a full gigabit while the thread is away.
const RECEIVE_BUFFERS: usize = 256;
/// Transmit buffers. A full queue is waited for, so fewer do.
const TRANSMIT_BUFFERS: usize = 128;
/// `virtio_net_hdr` in front of each frame (section 5.1.6); all zero without offloads.
const HEADER_BYTES: usize = 12;
/// Longest frame: 1500 bytes in Ethernet's 14.
pub const FRAME_BYTES_MAX: usize = 1514;
const BUFFER_BYTES: usize = 2048;

const _: () = assert!(HEADER_BYTES + FRAME_BYTES_MAX <= BUFFER_BYTES);

/// Frames in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Frames thrown away here: damaged, too long, or without room in the queue.
    pub dropped: u64,
}

/// The half of the driver that receives.
pub struct Receiver {
    queue: BufferQueue<RECEIVE_BUFFERS>,
    counters: Counters,
}

/// The half of the driver that sends.
pub struct Transmitter {
    queue: BufferQueue<TRANSMIT_BUFFERS>,
    counters: Counters,
    /// Somebody wanted to send and found no buffer.
    blocked: bool,
}

/// A network card; owned by the thread that serves it.
pub struct Card {
    /// Receives.
    pub receiver: Receiver,
    /// Sends.
    pub transmitter: Transmitter,
    mac: [u8; 6],
    has_status: bool,
}

/// What thread and interrupt handler share.
static DEVICE: InterruptLock<Option<Device>> = InterruptLock::new(None);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static WORK: WaitQueue = WaitQueue::new("network");

/// Starts the driver and the thread that serves it. Only the first card is used.
pub(super) fn init(mut device: Device) -> Result<(), DeviceError> {
    if DEVICE.with(|slot| slot.is_some()) {
        return Ok(());
    }
    let features = device.negotiate(FEATURE_MAC | FEATURE_STATUS)?;
    let mut mac = [0; 6];
    if features & FEATURE_MAC != 0 {
        mac = device.transport.read_config_space(CONFIG_MAC).map_err(|_| DeviceError::Configuration)?;
    } else {
        // Without a source of randomness it is the same at each boot, which is no worse.
        super::rng::fill(&mut mac, 0);
        // Locally administered, to one receiver (IEEE 802).
        mac[0] = mac[0] & !1 | 2;
    }
    let receive = BufferQueue::new(&mut device, RECEIVE_QUEUE, BUFFER_BYTES)?;
    let transmit = BufferQueue::new(&mut device, TRANSMIT_QUEUE, BUFFER_BYTES)?;
    device.route(2, interrupt)?;
    device.start();
    DEVICE.with(|slot| *slot = Some(device));
    let mut card = Card {
        receiver: Receiver { queue: receive, counters: Counters::default() },
        transmitter: Transmitter { queue: transmit, counters: Counters::default(), blocked: false },
        mac,
        has_status: features & FEATURE_STATUS != 0,
    };
    card.transmitter.queue.set_interrupts(false);
    card.flush();
    crate::net::start(card);
    Ok(())
}

fn interrupt(_argument: usize) {
    DEVICE.with(|device| {
        if let Some(device) = device {
            device.acknowledge();
        }
    });
    INTERRUPTED.store(true, Ordering::Relaxed);
    WORK.wake_all();
}

impl Card {
    /// The card's address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Frames received and sent.
    #[must_use]
    pub fn counters(&self) -> (Counters, Counters) {
        (self.receiver.counters, self.transmitter.counters)
    }

    /// Whether the cable is in.
    #[must_use]
    pub fn link_is_up(&self) -> bool {
        let status =
            DEVICE.with(|device| device.as_ref()?.transport.read_config_space::<u16>(CONFIG_STATUS).ok());
        !self.has_status || status.is_none_or(|status| status & STATUS_LINK_UP != 0)
    }

    /// Gives free buffers to the device and tells it about frames to send.
    pub fn flush(&mut self) {
        DEVICE.with(|device| {
            if let Some(device) = device {
                self.receiver.queue.offer_all(device);
                self.transmitter.queue.kick(device);
            }
        });
    }

    /// Turns the device's interrupts off while frames are being worked on.
    pub fn begin_work(&mut self) {
        INTERRUPTED.store(false, Ordering::Relaxed);
        self.receiver.queue.set_interrupts(false);
        self.transmitter.queue.set_interrupts(false);
        self.transmitter.blocked = false;
    }

    /// Waits for a frame, for room to send if that was missing, for news about the link, or for `deadline_ns` (time
    /// since boot). Returns whether the thread slept.
    pub fn wait(&mut self, deadline_ns: u64) -> bool {
        self.receiver.queue.set_interrupts(true);
        self.transmitter.queue.set_interrupts(self.transmitter.blocked);
        let mut looks = 0;
        WORK.wait_until(deadline_ns, || {
            looks += 1;
            let work = INTERRUPTED.load(Ordering::Relaxed)
                || self.receiver.is_ready()
                || self.transmitter.blocked && self.transmitter.queue.is_ready();
            work.then_some(())
        });
        looks > 1
    }
}

impl Receiver {
    /// Whether a frame is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Calls `body` with the next frame; an empty one if it was damaged or there is none.
    pub fn receive<R>(&mut self, body: impl FnOnce(&[u8]) -> R) -> R {
        let Some((buffer, bytes)) = self.queue.take_filled() else {
            return body(&[]);
        };
        let frame = self.queue.buffer(buffer)[..bytes].get(HEADER_BYTES..).unwrap_or(&[]);
        if frame.is_empty() {
            self.counters.dropped += 1;
        } else {
            self.counters.packets += 1;
            self.counters.bytes += frame.len() as u64;
        }
        let result = body(frame);
        self.queue.release(buffer);
        result
    }
}

impl Transmitter {
    /// Whether somebody wanted to send since [`Card::begin_work`] and could not.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether a frame can be sent; if not, [`Card::wait`] waits for that too.
    pub fn is_ready(&mut self) -> bool {
        let ready = self.queue.has_free();
        self.blocked |= !ready;
        ready
    }

    /// Calls `body` with room for a frame of `length` bytes and queues it; [`Card::flush`] sends. A frame that is too
    /// long or finds no room is dropped and counted.
    pub fn send<R>(&mut self, length: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
        let buffer = if length <= FRAME_BYTES_MAX { self.queue.take_free() } else { None };
        let Some(buffer) = buffer else {
            self.counters.dropped += 1;
            return body(&mut alloc::vec![0; length]);
        };
        let bytes = self.queue.buffer(buffer);
        bytes[..HEADER_BYTES].fill(0);
        let result = body(&mut bytes[HEADER_BYTES..HEADER_BYTES + length]);
        if self.queue.submit(buffer, HEADER_BYTES + length) {
            self.counters.packets += 1;
            self.counters.bytes += length as u64;
        } else {
            self.counters.dropped += 1;
        }
        result
    }
}
