//! The queue of a 9P device and its requests.

use alloc::vec::Vec;

use uio_files::ninep::transport::TransportError;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::super::Device;
use super::super::hal::KernelHal;
use super::slot::{Bounces, Part, Slot, State};
use super::{QUEUE_ENTRIES, SLOTS};
use crate::thread::scheduler;

/// What threads and the interrupt handler share of a device.
pub(super) struct Channel {
    pub(super) device: Device,
    pub(super) queue: VirtQueue<KernelHal, QUEUE_ENTRIES>,
    pub(super) slots: Vec<Slot>,
    /// The slot of each chain of descriptors, by its head.
    pub(super) slot_of: [Option<u8>; QUEUE_ENTRIES],
    /// The device answered nonsense and was reset.
    pub(super) broken: bool,
}

// SAFETY: the pointers in the slots are only handed to the device.
unsafe impl Send for Channel {}

impl Channel {
    /// A free slot, if need be one whose owner was ended before it took the reply.
    pub(super) fn free_slot(&mut self) -> Option<usize> {
        let lives = |id| scheduler::with_thread(id, |_| ()).is_some();
        self.slots
            .iter()
            .position(|slot| slot.state == State::Free)
            .or_else(|| self.slots.iter_mut().position(|slot| slot.reclaim(lives)))
    }

    /// Whether a request has not to wait for a slot.
    pub(super) fn has_free_slot(&mut self) -> bool {
        self.broken || self.free_slot().is_some()
    }

    /// Lends the parts of a slot to the device.
    pub(super) fn send(&mut self, number: usize) -> Result<(), TransportError> {
        let slot = &mut self.slots[number];
        let [request, payload, reply, destination] = slot.parts;
        // SAFETY: parts are the slot's own memory, which stays in place until the device is done, or the caller's,
        // who waits for that.
        let token = unsafe {
            let inputs = [input(request), input(payload)];
            let mut outputs = [output(reply), output(destination)];
            let inputs = &inputs[..1 + usize::from(payload.bytes > 0)];
            let outputs = &mut outputs[..1 + usize::from(destination.bytes > 0)];
            if request.bytes == 0 || reply.bytes == 0 {
                return Err(TransportError::TooLarge { bytes: 0 });
            }
            self.queue.add(inputs, outputs)
        };
        match token {
            Ok(token) => {
                slot.state = State::Sent;
                self.slot_of[usize::from(token)] = Some(number as u8);
                Ok(())
            }
            Err(_) => {
                slot.bounces = Bounces::default();
                Err(TransportError::NotStarted)
            }
        }
    }

    /// Takes back what the device has done: a bit for each slot.
    pub(super) fn collect(&mut self) -> u32 {
        let mut done = 0;
        while let Some(token) = self.queue.peek_used() {
            let number = self.slot_of.get_mut(usize::from(token)).and_then(Option::take);
            let Some(number) = number else {
                return self.fail();
            };
            let slot = &mut self.slots[usize::from(number)];
            let [request, payload, reply, destination] = slot.parts;
            // SAFETY: the same parts as in `send`, still in place: the slot has not been freed.
            let bytes = unsafe {
                let inputs = [input(request), input(payload)];
                let mut outputs = [output(reply), output(destination)];
                self.queue.pop_used(
                    token,
                    &inputs[..1 + usize::from(payload.bytes > 0)],
                    &mut outputs[..1 + usize::from(destination.bytes > 0)],
                )
            };
            let outcome = bytes.map(|bytes| bytes as usize).map_err(|_| TransportError::Closed);
            slot.complete(outcome);
            done |= 1 << number;
        }
        done
    }

    /// The device returned what it did not have. It is reset, so that it lets go of all memory, and not used again.
    fn fail(&mut self) -> u32 {
        crate::warn!("virtio 9p: the device answers what was not asked; it is not used any more");
        self.device.transport.set_status(DeviceStatus::empty());
        self.broken = true;
        for slot in &mut self.slots {
            slot.complete(Err(TransportError::Closed));
        }
        u32::MAX
    }
}

const _: () = assert!(SLOTS == 32, "`collect` has a bit for each slot");

/// # Safety
///
/// The part is empty or valid for reads while the slice lives.
unsafe fn input<'a>(part: Part) -> &'a [u8] {
    if part.bytes == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(part.address, part.bytes) }
}

/// # Safety
///
/// The part is empty or valid for writes while the slice lives, by nobody else in the kernel.
unsafe fn output<'a>(part: Part) -> &'a mut [u8] {
    if part.bytes == 0 {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(part.address, part.bytes) }
}
