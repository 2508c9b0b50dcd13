//! Finds virtio devices on the PCI bus and routes their interrupts by MSI-X (PCI Local Bus 3.0, section 6.8.2).

use alloc::vec::Vec;

use virtio_drivers::transport::SomeTransport;
use virtio_drivers::transport::pci::bus::{BarInfo, Command, ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::{PciTransport, virtio_device_type};
use x86_64::instructions::port::Port;

use super::hal::KernelHal;
use super::{Device, Interrupt};
use crate::arch::apic;
use crate::mm::{self, PhysicalAddress};
use crate::sync::InterruptsOff;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_ENABLE: u32 = 1 << 31;
const NO_DEVICE: u32 = u32::MAX;

const CAPABILITY_MSIX: u8 = 0x11;
const CAPABILITY_VENDOR: u8 = 0x09;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_ENTRY_BYTES: u64 = 16;
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;

/// virtio 1.2, section 4.1.4: the common configuration and two of its fields.
const COMMON_CONFIGURATION: u8 = 1;
const CONFIG_MSIX_VECTOR: u64 = 0x10;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_MSIX_VECTOR: u64 = 0x1a;

/// Configuration space through the ports at 0xcf8, which every PC chipset has.
struct PortAccess;

impl ConfigurationAccess for PortAccess {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        let _off = InterruptsOff::new();
        // SAFETY: the address is latched and used with interrupts off; reading configuration space has no effect on memory.
        unsafe {
            Port::<u32>::new(CONFIG_ADDRESS).write(config_address(function, register));
            Port::<u32>::new(CONFIG_DATA).read()
        }
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        let _off = InterruptsOff::new();
        // SAFETY: likewise; the writes size and enable the device's own registers.
        unsafe {
            Port::<u32>::new(CONFIG_ADDRESS).write(config_address(function, register));
            Port::<u32>::new(CONFIG_DATA).write(data);
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

fn config_address(function: DeviceFunction, register: u8) -> u32 {
    CONFIG_ENABLE
        | u32::from(function.bus) << 16
        | u32::from(function.device) << 11
        | u32::from(function.function) << 8
        | u32::from(register & !3)
}

/// A device's table of interrupt messages, and the registers that choose an entry.
pub(super) struct MessageTable {
    entries: u64,
    common: u64,
}

impl MessageTable {
    /// Sends the configuration's and all queues' interrupts to `vector` of this CPU, by entry 0.
    pub(super) fn route(&mut self, queues: u16, vector: u8) {
        let entry = self.entries as *mut u32;
        let words = [MESSAGE_ADDRESS | u32::from(apic::id()) << 12, 0, u32::from(vector), 0];
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: `find` mapped the table; an entry is four words.
            unsafe { core::ptr::write_volatile(entry.add(index), word) };
        }
        // SAFETY: `find` mapped the common configuration, and the registers lie in it.
        unsafe {
            core::ptr::write_volatile((self.common + CONFIG_MSIX_VECTOR) as *mut u16, 0);
            for queue in 0..queues {
                core::ptr::write_volatile((self.common + QUEUE_SELECT) as *mut u16, queue);
                core::ptr::write_volatile((self.common + QUEUE_MSIX_VECTOR) as *mut u16, 0);
            }
        }
    }

    /// Maps the table of a device and turns messages on.
    fn find(root: &mut PciRoot<PortAccess>, function: DeviceFunction) -> Option<Self> {
        let access = PortAccess;
        let (mut table, mut common) = (None, None);
        for capability in root.capabilities(function) {
            match capability.id {
                CAPABILITY_MSIX => {
                    let place = access.read_word(function, capability.offset + 4);
                    table = Some((capability.offset, place & 7, place & !7));
                }
                CAPABILITY_VENDOR if (capability.private_header >> 8) as u8 == COMMON_CONFIGURATION => {
                    let bar = access.read_word(function, capability.offset + 4) & 0xff;
                    let offset = access.read_word(function, capability.offset + 8);
                    common = common.or(Some((bar, offset)));
                }
                _ => {}
            }
        }
        let (capability, table_bar, table_offset) = table?;
        let (common_bar, common_offset) = common?;
        let mut map = |bar: u32, offset: u32, bytes: u64| {
            let Ok(Some(BarInfo::Memory { address, .. })) = root.bar_info(function, bar as u8) else {
                return None;
            };
            Some(mm::map_device(PhysicalAddress(address + u64::from(offset)), bytes, "virtio registers"))
        };
        let entries = map(table_bar, table_offset, MSIX_ENTRY_BYTES)?;
        let common = map(common_bar, common_offset, 64)?;
        let mut access = PortAccess;
        let control = access.read_word(function, capability);
        access.write_word(function, capability, control | MSIX_ENABLE);
        Some(Self { entries, common })
    }
}

/// Whether there is a host bridge.
pub(super) fn present() -> bool {
    let bridge = DeviceFunction { bus: 0, device: 0, function: 0 };
    PortAccess.read_word(bridge, 0) != NO_DEVICE
}

/// Calls `found` for every virtio device on bus 0.
pub(super) fn probe(found: &mut dyn FnMut(Device)) {
    if !present() {
        return;
    }
    let mut root = PciRoot::new(PortAccess);
    let functions: Vec<_> = root
        .enumerate_bus(0)
        .filter(|(_, info)| virtio_device_type(info).is_some())
        .map(|(function, _)| function)
        .collect();
    for function in functions {
        root.set_command(function, Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE);
        let transport = match PciTransport::new::<KernelHal, _>(&mut root, function) {
            Ok(transport) => transport,
            Err(error) => {
                crate::warn!("virtio device at {function}: {error}");
                continue;
            }
        };
        match MessageTable::find(&mut root, function) {
            Some(table) => found(Device {
                transport: SomeTransport::Pci(transport),
                interrupt: Interrupt::Message(table),
            }),
            None => crate::warn!("virtio device at {function} has no MSI-X"),
        }
    }
}
