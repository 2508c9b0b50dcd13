//! What the loader says: `hvm_start_info` of the PVH protocol (Xen `public/arch-x86/hvm/start_info.h`).
//!
//! Everything is copied out before memory is handed out, because the loader's structures lie in free memory.

use crate::mm::PhysicalAddress;

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

/// Memory map entries that are kept; QEMU and cloud-hypervisor give fewer than ten.
pub const MEMORY_RANGES_MAX: usize = 32;
/// Bytes of the command line that are kept.
pub const COMMAND_LINE_BYTES_MAX: usize = 2048;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A range of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhysicalRange {
    /// First byte.
    pub start: PhysicalAddress,
    /// Bytes.
    pub size: u64,
}

impl PhysicalRange {
    /// First byte after it.
    #[must_use]
    pub fn end(&self) -> PhysicalAddress {
        PhysicalAddress(self.start.0 + self.size)
    }
}

/// The copied start information.
#[derive(Debug)]
pub struct BootInfo {
    ranges: [PhysicalRange; MEMORY_RANGES_MAX],
    range_count: usize,
    command_line: [u8; COMMAND_LINE_BYTES_MAX],
    command_line_bytes: usize,
    /// The first module: the initial file tree.
    pub initrd: Option<PhysicalRange>,
}

impl BootInfo {
    /// Usable memory.
    #[must_use]
    pub fn ram(&self) -> &[PhysicalRange] {
        &self.ranges[..self.range_count]
    }

    /// The kernel command line; empty where it is not UTF-8.
    #[must_use]
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_bytes]).unwrap_or("")
    }

    /// Value of `key=value` on the command line.
    #[must_use]
    pub fn option<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.options(key).next()
    }

    /// Values of all `key=value` on the command line.
    pub fn options<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.command_line()
            .split_ascii_whitespace()
            .filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Copies what the loader left at `start_info`.
    ///
    /// # Safety
    ///
    /// `start_info` is what the loader passed in `ebx`, and the first 4 GiB are mapped at their own addresses.
    ///
    /// # Panics
    ///
    /// If the structure does not carry its magic number or has no memory map (version 0).
    #[must_use]
    pub unsafe fn read(start_info: u64) -> Self {
        // SAFETY: the caller says that the loader's structure is there; each address in it is one of the loader's,
        // inside the mapped range, and counts are bounded before use.
        unsafe {
            let info = &*(start_info as *const StartInfo);
            assert!(info.magic == MAGIC, "start info without its magic number: not booted by PVH");
            assert!(info.version >= 1 && info.memory_map != 0, "start info without a memory map");
            let mut boot = Self {
                ranges: [PhysicalRange::default(); MEMORY_RANGES_MAX],
                range_count: 0,
                command_line: [0; COMMAND_LINE_BYTES_MAX],
                command_line_bytes: 0,
                initrd: None,
            };
            let entries = core::slice::from_raw_parts(
                info.memory_map as *const MemoryMapEntry,
                info.memory_map_entries.min(1024) as usize,
            );
            for entry in entries.iter().filter(|entry| entry.kind == RAM) {
                if boot.range_count < MEMORY_RANGES_MAX {
                    boot.ranges[boot.range_count] =
                        PhysicalRange { start: PhysicalAddress(entry.address), size: entry.size };
                    boot.range_count += 1;
                }
            }
            if info.command_line != 0 {
                let text = info.command_line as *const u8;
                while boot.command_line_bytes < COMMAND_LINE_BYTES_MAX
                    && *text.add(boot.command_line_bytes) != 0
                {
                    boot.command_line[boot.command_line_bytes] = *text.add(boot.command_line_bytes);
                    boot.command_line_bytes += 1;
                }
            }
            if info.module_count > 0 {
                let module = &*(info.modules as *const Module);
                boot.initrd =
                    Some(PhysicalRange { start: PhysicalAddress(module.address), size: module.size });
            }
            boot
        }
    }
}
