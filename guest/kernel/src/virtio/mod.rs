//! virtio devices over PCI (q35) and MMIO (microvm).
//!
//! `virtio-drivers` supplies transports and queues. Its devices are not used: they poll. Here every device has one
//! interrupt, and its threads sleep until it comes.

pub mod console;
mod hal;
mod mmio;
pub mod net;
pub mod ninep;
mod pci;
pub mod queue;
pub mod rng;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use virtio_drivers::transport::{DeviceStatus, DeviceType, SomeTransport, Transport};

use crate::sync::InterruptLock;

/// virtio 1.x: without it a device is legacy, and is left alone.
const FEATURE_VERSION_1: u64 = 1 << 32;

/// A device whose driver has not yet started.
pub struct Device {
    transport: SomeTransport<'static>,
    interrupt: Interrupt,
}

/// How a device interrupts.
enum Interrupt {
    /// A message: the entry of the device's MSI-X table.
    Message(pci::MessageTable),
    /// A line of the I/O APIC.
    Line(u8),
}

/// Why a device is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// It is a legacy device.
    Legacy,
    /// It refused the features.
    Features,
    /// A queue could not be set up.
    Queue(virtio_drivers::Error),
    /// Its configuration could not be read.
    Configuration,
    /// No vector is left.
    NoVector,
}

impl Device {
    /// Resets the device and negotiates `wanted` of its features; returns those that both sides have.
    fn negotiate(&mut self, wanted: u64) -> Result<u64, DeviceError> {
        let transport = &mut self.transport;
        transport.set_status(DeviceStatus::empty());
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status);
        let offered = transport.read_device_features();
        if offered & FEATURE_VERSION_1 == 0 {
            return Err(DeviceError::Legacy);
        }
        let features = offered & (wanted | FEATURE_VERSION_1);
        transport.write_driver_features(features);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(DeviceError::Features);
        }
        Ok(features)
    }

    /// Routes the device's interrupts, of `queues` queues and of its configuration, to a handler.
    fn route(&mut self, queues: u16, handler: crate::interrupts::Handler) -> Result<(), DeviceError> {
        let vector = crate::interrupts::allocate(handler, 0).ok_or(DeviceError::NoVector)?;
        match &mut self.interrupt {
            Interrupt::Message(table) => table.route(queues, vector),
            Interrupt::Line(line) => crate::arch::apic::route(*line, vector),
        }
        Ok(())
    }

    /// Tells the device that its driver is there.
    fn start(&mut self) {
        self.transport.finish_init();
    }

    /// Rings the bell of a queue.
    fn notify(&mut self, queue: u16) {
        self.transport.notify(queue);
    }

    /// Lowers the device's interrupt line. Messages need no acknowledgement.
    fn acknowledge(&mut self) {
        if let Interrupt::Line(_) = self.interrupt {
            self.transport.ack_interrupt();
        }
    }
}

/// Whether the machine has a PCI bus.
#[must_use]
pub fn has_pci() -> bool {
    pci::present()
}

static IN_USE: InterruptLock<Vec<String>> = InterruptLock::new(Vec::new());

/// Names of the devices in use.
#[must_use]
pub fn devices() -> Vec<String> {
    IN_USE.with(|devices| devices.clone())
}

/// Finds all devices and starts their drivers.
pub(crate) fn init() {
    let mut found = Vec::new();
    pci::probe(&mut |device| found.push(device));
    mmio::probe(&mut |device| found.push(device));
    for device in found {
        let (name, result) = match device.transport.device_type() {
            DeviceType::Console => ("console", console::init(device)),
            DeviceType::Network => ("net", net::init(device)),
            DeviceType::_9P => ("9p", ninep::init(device)),
            DeviceType::EntropySource => ("rng", rng::init(device)),
            other => {
                crate::debug!("virtio device {other:?} has no driver");
                continue;
            }
        };
        match result {
            Ok(()) => IN_USE.with(|devices| devices.push(name.to_string())),
            Err(error) => crate::warn!("virtio {name}: {error:?}"),
        }
    }
}
