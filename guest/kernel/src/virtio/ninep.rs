//! Shares of the host: virtio-9p devices (QEMU `docs/specs`, virtio device 9) as a transport for 9P messages.
//!
//! Several messages are under way at a time; each has a slot, and the thread that sent it sleeps until the interrupt
//! reports that slot.
//!
//! # Who owns a buffer
//!
//! The device writes into memory for as long as it has a request, whatever becomes of the thread that asked. So:
//!
//! - Beginnings of messages are copied into and out of the slot. They are small and often on a stack.
//! - Contents of files are lent in place, without a copy, if they lie in the direct map (the heap does), where they
//!   are contiguous for the device too, and if the thread is an ordinary one. It then waits until the device is done,
//!   and nobody ends ordinary threads.
//! - A supervised thread can be ended while it waits, its stack and its domain's memory freed. Its contents, and those
//!   that lie elsewhere, go through a buffer that belongs to the slot.
//!
//! A thread that is told to end waits on for the reply: a request given up would go on at the server, and nobody would
//! know which of its names for files are taken. Only a host that hangs takes so long that the thread is ended in the
//! wait. Its slot stays with the device until that is done, and is found again when slots run short.

mod channel;
mod slot;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use uio_files::ninep::transport::{Exchange, Transport as MessageTransport, TransportError};
use uio_files::ninep::wire::IO_OVERHEAD_BYTES;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use self::channel::Channel;
use self::slot::{Bounces, Part, Slot};
use super::{Device, DeviceError};
use crate::sync::InterruptLock;
use crate::thread::wait::WaitQueue;
use crate::thread::{self, scheduler};
use crate::time::timer::NEVER;

const FEATURE_MOUNT_TAG: u64 = 1 << 0;
const CONFIG_TAG_BYTES: usize = 0;
const CONFIG_TAG: usize = 2;
/// Longest tag that is used; QEMU allows 32 bytes.
const TAG_BYTES_MAX: usize = 255;

/// Shares that are used: the host's directory and a few more.
const SHARES_MAX: usize = 4;
/// Entries of QEMU's queue.
const QUEUE_ENTRIES: usize = 128;
/// Buffers of a request: two parts each way.
const PARTS: usize = 4;
/// Requests under way: as many as the queue's entries are enough for.
const SLOTS: usize = QUEUE_ENTRIES / PARTS;
/// Requests of one call under way: half of the slots, so that another call is not shut out.
const IN_FLIGHT_MAX: usize = SLOTS / 2;
/// Beginnings of messages up to this size are kept in the slot.
const SMALL_BYTES: usize = 512;
/// How often a thread that is to be ended looks for its reply: wait queues do not hold it any more.
const ENDING_LOOK_NS: u64 = 200_000;
/// Linux error number: no memory for a buffer.
const ENOMEM: u32 = 12;
/// Contents that one message carries at most. Larger ones cost the host no fewer copies.
const DATA_BYTES_MAX: usize = 512 * 1024;

/// A share.
struct Port {
    tag: String,
    channel: InterruptLock<Box<Channel>>,
    /// Whoever waits for the slot of the same number.
    done: [WaitQueue; SLOTS],
    /// Who waits for a free slot.
    free: WaitQueue,
}

static PORTS: InterruptLock<[Option<&'static Port>; SHARES_MAX]> = InterruptLock::new([None; SHARES_MAX]);

/// Starts the driver. Not inlined: its frame holds the queue for a moment, and several drivers' frames in one would
/// fill the boot stack.
#[inline(never)]
pub(super) fn init(mut device: Device) -> Result<(), DeviceError> {
    let features = device.negotiate(FEATURE_MOUNT_TAG)?;
    let tag = if features & FEATURE_MOUNT_TAG == 0 { None } else { read_tag(&device) };
    let tag = tag.ok_or(DeviceError::Configuration)?;
    // No indirect descriptors and no event index, as for all queues here.
    let queue = VirtQueue::new(&mut device.transport, 0, false, false).map_err(DeviceError::Queue)?;
    device.route(1, interrupt)?;
    device.start();
    let slots = (0..SLOTS).map(|_| Slot::new()).collect();
    let channel = Box::new(Channel { device, queue, slots, slot_of: [None; QUEUE_ENTRIES], broken: false });
    let port: &'static Port = Box::leak(Box::new(Port {
        tag,
        channel: InterruptLock::new(channel),
        done: [const { WaitQueue::new("9p reply") }; SLOTS],
        free: WaitQueue::new("9p slot"),
    }));
    PORTS.with(|ports| {
        let place = ports.iter_mut().find(|place| place.is_none()).ok_or(DeviceError::Configuration)?;
        *place = Some(port);
        Ok(())
    })
}

fn read_tag(device: &Device) -> Option<String> {
    let bytes: u16 = device.transport.read_config_space(CONFIG_TAG_BYTES).ok()?;
    let bytes = usize::from(bytes);
    if bytes > TAG_BYTES_MAX {
        return None;
    }
    let tag: Vec<u8> = (0..bytes)
        .map(|index| device.transport.read_config_space(CONFIG_TAG + index).ok())
        .collect::<Option<_>>()?;
    String::from_utf8(tag).ok()
}

/// Interrupts are rare enough to look at every share.
fn interrupt(_argument: usize) {
    for port in PORTS.with(|ports| *ports).into_iter().flatten() {
        port.serve();
    }
}

/// The shares, with the tags that the host gave them.
#[must_use]
pub fn shares() -> Vec<Share> {
    PORTS.with(|ports| *ports).into_iter().flatten().map(Share).collect()
}

/// A directory of the host: the transport of a 9P session.
#[derive(Clone, Copy)]
pub struct Share(&'static Port);

impl Share {
    /// The name that the host gave it.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.0.tag
    }
}

impl MessageTransport for Share {
    fn message_bytes_max(&self) -> u32 {
        (DATA_BYTES_MAX + IO_OVERHEAD_BYTES) as u32
    }

    fn in_flight_max(&self) -> usize {
        IN_FLIGHT_MAX
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        self.exchange_many(core::slice::from_mut(exchange));
    }

    fn exchange_many(&self, exchanges: &mut [Exchange<'_>]) {
        for batch in exchanges.chunks_mut(IN_FLIGHT_MAX) {
            self.0.exchange_batch(batch);
        }
    }

    fn wait_for_progress(&self) {
        scheduler::yield_now();
    }
}

/// Why an exchange was not started.
enum Refusal {
    /// All slots are taken; those of other threads may come free.
    Full,
    Error(TransportError),
}

impl Port {
    /// Sends all of `batch`, at most [`IN_FLIGHT_MAX`], then waits for all.
    fn exchange_batch(&self, batch: &mut [Exchange<'_>]) {
        let mut slots = [None; IN_FLIGHT_MAX];
        let mut finished = 0;
        let mut next = 0;
        while next < batch.len() {
            match self.start(&mut batch[next]) {
                Ok(slot) => slots[next] = Some(slot),
                Err(Refusal::Error(error)) => batch[next].outcome = Err(error),
                Err(Refusal::Full) => {
                    // A thread never waits for a slot while it holds one: two could wait for each other.
                    self.kick();
                    if finished < next {
                        self.finish(slots[finished], &mut batch[finished]);
                        finished += 1;
                    } else {
                        wait(&self.free, || {
                            self.channel.with(|channel| channel.has_free_slot().then_some(()))
                        });
                    }
                    continue;
                }
            }
            next += 1;
        }
        self.kick();
        for (slot, exchange) in slots.into_iter().zip(batch).skip(finished) {
            self.finish(slot, exchange);
        }
    }

    /// Queues an exchange and returns its slot; [`Self::kick`] tells the device.
    fn start(&self, exchange: &mut Exchange<'_>) -> Result<usize, Refusal> {
        let may_lend = !scheduler::with_current(|thread| thread.supervised.is_some());
        let mut bounces = Bounces::default();
        let mut payload = Part::of(exchange.payload);
        if payload.bytes > 0 && !(may_lend && payload.is_linear()) {
            payload = bounce_copy(&mut bounces.payload, exchange.payload)?;
        }
        let mut destination = Part::of_mut(exchange.destination);
        if destination.bytes > 0 && !(may_lend && destination.is_linear()) {
            destination = bounce(&mut bounces.destination, destination.bytes)?;
        }
        let (mut request, mut reply) = (None, None);
        if exchange.request.len() > SMALL_BYTES {
            request = Some(bounce_copy(&mut bounces.request, exchange.request)?);
        }
        if exchange.reply.len() > SMALL_BYTES {
            reply = Some(bounce(&mut bounces.reply, exchange.reply.len())?);
        }
        self.channel.with(|channel| {
            if channel.broken {
                return Err(Refusal::Error(TransportError::Closed));
            }
            let number = channel.free_slot().ok_or(Refusal::Full)?;
            let slot = &mut channel.slots[number];
            let request = request.unwrap_or_else(|| {
                let small = &mut slot.request[..exchange.request.len()];
                small.copy_from_slice(exchange.request);
                Part::of(small)
            });
            let reply = reply.unwrap_or_else(|| Part::of_mut(&mut slot.reply[..exchange.reply.len()]));
            slot.parts = [request, payload, reply, destination];
            slot.bounces = bounces;
            slot.owner = scheduler::current();
            channel.send(number).map_err(Refusal::Error)?;
            Ok(number)
        })
    }

    fn kick(&self) {
        self.channel.with(|channel| {
            // The device must see the new index before its wish for notifications is read.
            fence(Ordering::SeqCst);
            if !channel.broken && channel.queue.should_notify() {
                channel.device.notify(0);
            }
        });
    }

    /// Waits for the reply to what `slot` carries, if anything, and delivers it.
    fn finish(&self, slot: Option<usize>, exchange: &mut Exchange<'_>) {
        let Some(slot) = slot else {
            return;
        };
        let reply = &mut *exchange.reply;
        let (outcome, bounces) =
            wait(&self.done[slot], || self.channel.with(|channel| channel.slots[slot].take_done(reply)));
        self.free.wake_all();
        let outcome = outcome.map(|bytes| bytes.min(exchange.reply.len() + exchange.destination.len()));
        if let Ok(bytes) = outcome {
            let in_reply = bytes.min(exchange.reply.len());
            copy_back(exchange.reply, &bounces.reply, in_reply);
            copy_back(exchange.destination, &bounces.destination, bytes - in_reply);
        }
        exchange.outcome = outcome;
    }

    /// Takes what the device has done and wakes who waits for it.
    fn serve(&self) {
        let mut done = self.channel.with(|channel| {
            channel.device.acknowledge();
            channel.collect()
        });
        while done != 0 {
            let slot = done.trailing_zeros() as usize;
            done &= done - 1;
            self.done[slot].wake_all();
        }
    }
}

/// Waits until `condition` gives a value, even if the thread is to be ended meanwhile.
fn wait<T>(queue: &WaitQueue, mut condition: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = queue.wait_until(NEVER, &mut condition) {
            return value;
        }
        thread::sleep_ns(ENDING_LOOK_NS);
    }
}

/// Makes room for `bytes` bytes that the slot will own.
fn bounce(buffer: &mut Vec<u8>, bytes: usize) -> Result<Part, Refusal> {
    buffer.try_reserve_exact(bytes).map_err(|_| Refusal::Error(TransportError::Device(ENOMEM)))?;
    buffer.resize(bytes, 0);
    Ok(Part::of_mut(buffer))
}

/// Copies `bytes` to where the slot will own them.
fn bounce_copy(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<Part, Refusal> {
    buffer.try_reserve_exact(bytes.len()).map_err(|_| Refusal::Error(TransportError::Device(ENOMEM)))?;
    buffer.extend_from_slice(bytes);
    Ok(Part::of_mut(buffer))
}

/// Copies the first `bytes` bytes back from a bounce buffer, if there is one.
fn copy_back(to: &mut [u8], from: &[u8], bytes: usize) {
    if let Some(from) = from.get(..bytes) {
        to[..bytes].copy_from_slice(from);
    }
}
