//! Finds virtio devices behind MMIO transports that the command line names, as Linux does:
//! `virtio_mmio.device=512@0xfeb00000:5` is size, address and interrupt line. QEMU's microvm appends one for each.

use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{SomeTransport, Transport};

use super::{Device, Interrupt};
use crate::mm::{self, PhysicalAddress};

/// Most transports that are looked at; microvm has 24.
const TRANSPORTS_MAX: usize = 32;

/// Where a transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    address: PhysicalAddress,
    bytes: u64,
    line: u8,
}

fn parse(option: &str) -> Option<Place> {
    let (bytes, rest) = option.split_once('@')?;
    let (address, line) = rest.split_once(':')?;
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
    Some(Place { address: PhysicalAddress(address), bytes: bytes.parse().ok()?, line: line.parse().ok()? })
}

/// Calls `found` for every device that the command line names.
#[cfg(not(test))]
pub(super) fn probe(found: &mut dyn FnMut(Device)) {
    let places: alloc::vec::Vec<Place> = crate::start::with_boot_info(|info| {
        info.options("virtio_mmio.device").filter_map(parse).take(TRANSPORTS_MAX).collect()
    });
    for place in places {
        if let Some(device) = open(place) {
            found(device);
        }
    }
}

/// A test process has no devices.
#[cfg(test)]
pub(super) fn probe(_found: &mut dyn FnMut(Device)) {}

fn open(place: Place) -> Option<Device> {
    let address = mm::map_device(place.address, place.bytes, "virtio registers");
    let header = NonNull::new(address as *mut VirtIOHeader)?;
    // SAFETY: the loader says that a transport of this size is there, and it was just mapped for good.
    let transport = unsafe { MmioTransport::new(header, place.bytes as usize) };
    // An empty slot has device type 0, which is an error here and nothing to report.
    let transport = transport.ok()?;
    if transport.requires_legacy_layout() {
        crate::warn!(
            "virtio device at {:?} is legacy: start QEMU with virtio-mmio.force-legacy=false",
            place.address
        );
        return None;
    }
    Some(Device { transport: SomeTransport::Mmio(transport), interrupt: Interrupt::Line(place.line) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_qemu_appends() {
        let place = Place { address: PhysicalAddress(0xfeb0_0e00), bytes: 512, line: 12 };
        assert_eq!(parse("512@0xfeb00e00:12"), Some(place));
        for wrong in ["", "512", "512@feb00e00:12", "512@0xfeb00e00", "512@0xfeb00e00:x", "@0x0:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
