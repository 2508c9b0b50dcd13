//! A queue whose buffers the driver owns, by number.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::queue::VirtQueue;

use super::hal::KernelHal;
use super::{Device, DeviceError};

/// A queue of `SIZE` entries, each with a buffer of its own that is lent to the device and comes back.
pub struct BufferQueue<const SIZE: usize> {
    // Boxed, with the descriptors' copy that it holds: 8 KiB for 256 entries, and the boot stack has 64.
    queue: Box<VirtQueue<KernelHal, SIZE>>,
    index: u16,
    buffers: Vec<Box<[u8]>>,
    /// Which buffer each entry in flight carries, and how much of it.
    in_flight: Box<[Option<(usize, usize)>]>,
    free: Vec<usize>,
}

impl<const SIZE: usize> BufferQueue<SIZE> {
    /// Sets up queue `index` of a device, with buffers of `buffer_bytes`.
    // Not inlined: each copy would add a queue to its caller's stack frame.
    #[inline(never)]
    pub(super) fn new(device: &mut Device, index: u16, buffer_bytes: usize) -> Result<Self, DeviceError> {
        // No indirect descriptors (they allocate for each request) and no event index (virtio-drivers gets its
        // wrap-around wrong).
        let queue =
            Box::new(VirtQueue::new(&mut device.transport, index, false, false).map_err(DeviceError::Queue)?);
        let buffers = (0..SIZE).map(|_| alloc::vec![0; buffer_bytes].into_boxed_slice()).collect();
        Ok(Self {
            queue,
            index,
            buffers,
            in_flight: alloc::vec![None; SIZE].into_boxed_slice(),
            free: (0..SIZE).rev().collect(),
        })
    }

    /// Lends all free buffers to the device to be filled.
    pub(super) fn offer_all(&mut self, device: &mut Device) {
        while let Some(buffer) = self.free.pop() {
            let slice: *mut [u8] = &raw mut *self.buffers[buffer];
            // SAFETY: the buffer stays in place (it is boxed and never removed) and nobody touches it until
            // `take_filled` gets its entry back.
            let token = unsafe { self.queue.add(&[], &mut [&mut *slice]) };
            match token {
                Ok(token) => self.in_flight[usize::from(token)] = Some((buffer, 0)),
                Err(_) => {
                    self.free.push(buffer);
                    break;
                }
            }
        }
        self.kick(device);
    }

    /// Whether the device has returned something.
    pub(super) fn is_ready(&self) -> bool {
        self.queue.can_pop()
    }

    /// Takes the oldest buffer that the device filled: its number and how many bytes it holds. Give it back with
    /// [`Self::release`] and lend it again with [`Self::offer_all`].
    pub(super) fn take_filled(&mut self) -> Option<(usize, usize)> {
        let token = self.queue.peek_used()?;
        let (buffer, _) = self.in_flight.get_mut(usize::from(token))?.take()?;
        let slice: *mut [u8] = &raw mut *self.buffers[buffer];
        // SAFETY: the same buffer that `offer_all` lent under this token.
        let bytes = unsafe { self.queue.pop_used(token, &[], &mut [&mut *slice]) }.unwrap_or(0) as usize;
        // A device may claim more than it was lent.
        Some((buffer, bytes.min(self.buffers[buffer].len())))
    }

    /// A buffer that the driver holds.
    pub(super) fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        &mut self.buffers[buffer]
    }

    /// Gives up a buffer taken with [`Self::take_filled`].
    pub(super) fn release(&mut self, buffer: usize) {
        self.free.push(buffer);
    }

    /// Copies the front of `bytes` into a free buffer and sends it; how much it took, 0 if none is free.
    pub(super) fn send(&mut self, device: &mut Device, bytes: &[u8]) -> usize {
        let Some(buffer) = self.take_free() else {
            return 0;
        };
        let length = bytes.len().min(self.buffers[buffer].len());
        self.buffers[buffer][..length].copy_from_slice(&bytes[..length]);
        if !self.submit(buffer, length) {
            return 0;
        }
        self.kick(device);
        length
    }

    /// Takes a buffer to fill and [`Self::submit`], after taking back those that the device has sent if none is left.
    pub(super) fn take_free(&mut self) -> Option<usize> {
        if self.free.is_empty() {
            self.reclaim();
        }
        self.free.pop()
    }

    /// Whether [`Self::take_free`] would have one.
    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty() || self.is_ready()
    }

    /// Queues the first `length` bytes (at least one) of a buffer taken with [`Self::take_free`] to be sent, without
    /// [`Self::kick`]. Returns whether there was room.
    pub(super) fn submit(&mut self, buffer: usize, length: usize) -> bool {
        let slice: *const [u8] = &raw const self.buffers[buffer][..length];
        // SAFETY: the buffer stays in place and untouched until `reclaim` gets its entry back.
        match unsafe { self.queue.add(&[&*slice], &mut []) } {
            Ok(token) => {
                self.in_flight[usize::from(token)] = Some((buffer, length));
                true
            }
            Err(_) => {
                self.free.push(buffer);
                false
            }
        }
    }

    /// Asks the device for interrupts when it returns buffers, or for none. Look at [`Self::is_ready`] after
    /// turning them on: what came before raises none.
    pub(super) fn set_interrupts(&mut self, on: bool) {
        self.queue.set_dev_notify(on);
        // The device must see the wish before the queue is looked at again.
        fence(Ordering::SeqCst);
    }

    /// Takes back the buffers that the device has sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let Some((buffer, length)) = self.in_flight.get_mut(usize::from(token)).and_then(Option::take)
            else {
                return;
            };
            let slice: *const [u8] = &raw const self.buffers[buffer][..length];
            // SAFETY: the same buffer that `send` lent under this token.
            let _ = unsafe { self.queue.pop_used(token, &[&*slice], &mut []) };
            self.free.push(buffer);
        }
    }

    /// Tells the device about what was queued since, unless it asked not to be told.
    pub(super) fn kick(&mut self, device: &mut Device) {
        // The device must see the new index before its wish for notifications is read; virtio-drivers leaves
        // this fence out, and a kick can be lost.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            device.notify(self.index);
        }
    }
}
