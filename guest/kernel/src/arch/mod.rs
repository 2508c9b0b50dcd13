//! The processor: boot code, segments, traps, interrupt controllers, the serial port.

pub mod apic;
#[cfg(not(test))]
mod boot;
pub mod cpu;
#[cfg(not(test))]
mod mem;
pub mod segments;
pub mod serial;
pub mod traps;
