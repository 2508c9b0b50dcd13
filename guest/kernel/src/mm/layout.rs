//! Where things lie, and whose key they have.

/// All RAM, at this distance from its physical address.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Stacks of threads.
pub const STACKS: u64 = 0xffff_a000_0000_0000;
/// Device registers.
pub const DEVICES: u64 = 0xffff_b000_0000_0000;
/// The image, at this distance from its physical address.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// First byte of the window for loaded code: within ±2 GiB of the image.
pub const WINDOW_START: u64 = 0xffff_ffff_c000_0000;
/// First byte after the window; the last 2 MiB of the address space stay empty, so that no offset wraps.
pub const WINDOW_END: u64 = 0xffff_ffff_ffe0_0000;

/// Kernel, page tables, descriptor tables, rings, the heap.
pub const KEY_KERNEL: u8 = 0;
/// The application's own data and stacks.
pub const KEY_APPLICATION: u8 = 1;
/// Arguments, output, trap stacks: every domain may write it.
pub const KEY_EXCHANGE: u8 = 2;

/// Addresses from the linker script.
#[derive(Clone, Copy, Debug)]
pub struct ImageSection {
    /// Name for `mem`.
    pub name: &'static str,
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
    /// Protection key.
    pub key: u8,
}

#[cfg(not(test))]
mod symbols {
    unsafe extern "C" {
        pub(super) static __text_start: u8;
        pub(super) static __text_end: u8;
        pub(super) static __rodata_start: u8;
        pub(super) static __rodata_end: u8;
        pub(super) static __app_start: u8;
        pub(super) static __app_end: u8;
        pub(super) static __data_start: u8;
        pub(super) static __data_end: u8;
    }
}

/// The sections of the image, in the order of their addresses.
#[cfg(not(test))]
pub fn image_sections() -> [ImageSection; 4] {
    macro_rules! section {
        ($name:literal, $start:ident, $end:ident, $write:literal, $execute:literal, $key:expr) => {
            ImageSection {
                name: $name,
                start: (&raw const symbols::$start) as u64,
                end: (&raw const symbols::$end) as u64,
                write: $write,
                execute: $execute,
                key: $key,
            }
        };
    }
    [
        section!("image text", __text_start, __text_end, false, true, KEY_KERNEL),
        section!("image constants", __rodata_start, __rodata_end, false, false, KEY_KERNEL),
        section!("application data", __app_start, __app_end, true, false, KEY_APPLICATION),
        section!("kernel data", __data_start, __data_end, true, false, KEY_KERNEL),
    ]
}

/// A test process has no image.
#[cfg(test)]
pub fn image_sections() -> [ImageSection; 4] {
    [ImageSection { name: "", start: 0, end: 0, write: false, execute: false, key: 0 }; 4]
}

/// Whether an address lies in the image.
#[must_use]
pub fn in_image(address: u64) -> bool {
    image_sections().iter().any(|section| (section.start..section.end).contains(&address))
}
