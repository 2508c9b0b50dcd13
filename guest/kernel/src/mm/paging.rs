//! Page tables: four levels, 4 KiB pages except in the direct map.
//!
//! Under PKU every page is a user page, because that register governs no other. A second root for ring 3 has the
//! same tables, but of its entries only the one of the window for loaded code carries the user bit; so ring-3
//! code reaches no page of the kernel, whatever the leaf says.

use uio_protocol::inspect::Access;
use x86_64::PhysAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

use super::layout::{
    DEVICES, DIRECT_MAP, KERNEL_BASE, KEY_EXCHANGE, KEY_KERNEL, STACKS, WINDOW_END, WINDOW_START,
    image_sections,
};
use super::{OutOfMemory, PAGE_BYTES, PhysicalAddress, frames, regions};
use crate::arch::cpu::{KeyRegister, key_register};
use crate::arch::segments;
use crate::boot_info::PhysicalRange;
use crate::sync::InterruptLock;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const KEY_SHIFT: u64 = 59;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_BYTES: u64 = 2 << 20;
const ENTRIES: u64 = 512;

/// What a leaf entry allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Writable, executable.
    pub access: Access,
    /// Protection key.
    pub key: u8,
    /// Reachable from ring 3 through its root.
    pub ring3: bool,
    /// Not cached: device registers.
    pub uncached: bool,
}

impl Permissions {
    /// Kernel data.
    pub const KERNEL_DATA: Self = Self::data(KEY_KERNEL);

    /// Readable and writable, with a key.
    #[must_use]
    pub const fn data(key: u8) -> Self {
        Self { access: Access { write: true, execute: false }, key, ring3: false, uncached: false }
    }

    fn bits(self) -> u64 {
        let user = self.ring3 || key_register() == KeyRegister::Pkru;
        PRESENT
            | if self.access.write { WRITE } else { 0 }
            | if user { USER } else { 0 }
            | if self.uncached { CACHE_DISABLE } else { 0 }
            | if self.access.execute { 0 } else { NO_EXECUTE }
            // Ignored by the processor where keys are off.
            | u64::from(self.key) << KEY_SHIFT
    }
}

/// The roots of the page tables.
struct Roots {
    kernel: PhysicalAddress,
    ring3: PhysicalAddress,
}

static ROOTS: InterruptLock<Roots> =
    InterruptLock::new(Roots { kernel: PhysicalAddress(0), ring3: PhysicalAddress(0) });

/// Which page tables a thread runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// Ring 0.
    #[default]
    Kernel,
    /// Ring 3: everything but the window is out of reach.
    Ring3,
}

/// Index of the entry for `address` in a table of `level` (3 is the root).
fn index(address: u64, level: u32) -> u64 {
    (address >> (12 + 9 * level)) & (ENTRIES - 1)
}

/// Reads an entry of a table.
fn entry(table: PhysicalAddress, index: u64) -> u64 {
    // SAFETY: tables come only from `frames` and are seen through the direct map; the index is below 512.
    unsafe { core::ptr::read_volatile((table.direct() as *const u64).add(index as usize)) }
}

/// Writes an entry of a table.
///
/// # Safety
///
/// The new entry leaves intact every mapping that somebody relies on.
unsafe fn set_entry(table: PhysicalAddress, index: u64, value: u64) {
    // SAFETY: as in `entry`; the effect on mappings is the caller's promise.
    unsafe { core::ptr::write_volatile((table.direct() as *mut u64).add(index as usize), value) };
}

/// The table of `level - 1` that `table[index]` refers to, made if missing, large pages split.
fn descend(table: PhysicalAddress, index: u64, level: u32) -> Result<PhysicalAddress, OutOfMemory> {
    let old = entry(table, index);
    if old & PRESENT != 0 && old & LARGE == 0 {
        return Ok(PhysicalAddress(old & ADDRESS));
    }
    let next = frames::allocate_zeroed(1)?;
    if old & PRESENT != 0 {
        debug_assert_eq!(level, 1, "only 2 MiB pages are used");
        for small in 0..ENTRIES {
            // SAFETY: the new table is not yet in use; it maps what the large page mapped.
            unsafe { set_entry(next, small, (old & !LARGE) + small * PAGE_BYTES) };
        }
    }
    // Rights are decided by the leaves and by the roots.
    // SAFETY: where nothing was mapped nothing changes, and a split page maps the same.
    unsafe { set_entry(table, index, next.0 | PRESENT | WRITE | USER) };
    Ok(next)
}

/// The table that holds the leaf entry of `address`, made if missing.
fn leaf_table(root: PhysicalAddress, address: u64) -> Result<PhysicalAddress, OutOfMemory> {
    let mut table = root;
    for level in [3, 2, 1] {
        table = descend(table, index(address, level), level)?;
    }
    Ok(table)
}

/// The leaf entry of `address` and how many bytes it maps.
fn leaf(root: PhysicalAddress, address: u64) -> Option<(u64, u64)> {
    let mut table = root;
    for level in [3, 2, 1] {
        let value = entry(table, index(address, level));
        if value & PRESENT == 0 {
            return None;
        }
        if value & LARGE != 0 {
            return Some((value, LARGE_BYTES));
        }
        table = PhysicalAddress(value & ADDRESS);
    }
    let value = entry(table, index(address, 0));
    (value & PRESENT != 0).then_some((value, PAGE_BYTES))
}

/// Whether `address` is canonical and in the kernel's half.
fn in_kernel_half(address: u64) -> bool {
    address >= DIRECT_MAP
}

/// Builds the kernel's page tables and switches to them. Called once.
///
/// # Safety
///
/// `frames::init` ran, the boot page tables are in use, and `ram` is the machine's memory.
pub unsafe fn init(ram: &[PhysicalRange]) {
    // Until the switch, tables are reached through the boot map. Its identity part is entry 0; lending it to the
    // direct map's place makes `PhysicalAddress::direct` work at once.
    let boot_root = PhysicalAddress(Cr3::read().0.start_address().as_u64());
    let boot_table = boot_root.0 as *mut u64;
    // SAFETY: the boot root is identity-mapped; its entry for the direct map is empty.
    unsafe { *boot_table.add(index(DIRECT_MAP, 3) as usize) = *boot_table };
    frames::use_direct_map();

    let expect = "no memory for the first page tables";
    let root = frames::allocate_zeroed(1).expect(expect);
    ROOTS.with(|roots| roots.kernel = root);

    for section in image_sections() {
        let permissions = Permissions {
            access: Access { write: section.write, execute: section.execute },
            key: section.key,
            ring3: false,
            uncached: false,
        };
        for address in (section.start..section.end).step_by(PAGE_BYTES as usize) {
            map(address, PhysicalAddress(address - KERNEL_BASE), permissions).expect(expect);
        }
        regions::add_early(section.start, section.end - section.start, permissions, section.name);
    }
    let (stacks, bytes) = segments::trap_stacks();
    protect(stacks, bytes / PAGE_BYTES, Permissions::data(KEY_EXCHANGE));

    for range in ram {
        map_direct(range).expect(expect);
    }
    // All top-level entries of the kernel's half exist from now on, so that both roots stay alike.
    for address in [STACKS, DEVICES, WINDOW_START] {
        descend(root, index(address, 3), 3).expect(expect);
    }
    let ring3 = make_ring3_root(root).expect(expect);
    ROOTS.with(|roots| roots.ring3 = ring3);
    switch(Root::Kernel);
}

/// The root for ring 3: the kernel's entries without their user bit, but for the window.
fn make_ring3_root(root: PhysicalAddress) -> Result<PhysicalAddress, OutOfMemory> {
    let ring3 = frames::allocate_zeroed(1)?;
    let top = index(WINDOW_START, 3);
    let kernel_directory = PhysicalAddress(entry(root, top) & ADDRESS);
    let directory = frames::allocate_zeroed(1)?;
    let window = index(WINDOW_START, 2);
    // The window's own table must exist before it can be shared.
    descend(kernel_directory, window, 2)?;
    for slot in ENTRIES / 2..ENTRIES {
        // SAFETY: the new root is not yet in use.
        unsafe { set_entry(ring3, slot, entry(root, slot) & !USER) };
    }
    for slot in 0..ENTRIES {
        let value = entry(kernel_directory, slot);
        // SAFETY: likewise.
        unsafe { set_entry(directory, slot, if slot == window { value } else { value & !USER }) };
    }
    // SAFETY: likewise.
    unsafe { set_entry(ring3, top, directory.0 | PRESENT | WRITE | USER) };
    Ok(ring3)
}

/// Maps a range of RAM in the direct map, leaving out the frames of the image's code and constants: no alias
/// of them is writable.
fn map_direct(range: &PhysicalRange) -> Result<(), OutOfMemory> {
    let sections = image_sections();
    let hidden = sections[0].start - KERNEL_BASE..sections[1].end - KERNEL_BASE;
    let end = range.end().0 / PAGE_BYTES * PAGE_BYTES;
    let mut physical = range.start.0.next_multiple_of(PAGE_BYTES);
    while physical < end {
        let large = physical.is_multiple_of(LARGE_BYTES)
            && physical + LARGE_BYTES <= end
            && (physical + LARGE_BYTES <= hidden.start || physical >= hidden.end);
        let address = PhysicalAddress(physical);
        if large {
            let root = ROOTS.with(|roots| roots.kernel);
            let upper = descend(root, index(address.direct(), 3), 3)?;
            let directory = descend(upper, index(address.direct(), 2), 2)?;
            // SAFETY: nothing was mapped there; the frames are RAM.
            unsafe {
                set_entry(
                    directory,
                    index(address.direct(), 1),
                    physical | Permissions::KERNEL_DATA.bits() | LARGE,
                );
            }
            physical += LARGE_BYTES;
        } else {
            if !hidden.contains(&physical) {
                map(address.direct(), address, Permissions::KERNEL_DATA)?;
            }
            physical += PAGE_BYTES;
        }
    }
    Ok(())
}

/// Loads the root of the page tables.
pub(crate) fn switch(root: Root) {
    let physical = ROOTS.with(|roots| match root {
        Root::Kernel => roots.kernel,
        Root::Ring3 => roots.ring3,
    });
    let frame = PhysFrame::containing_address(PhysAddr::new(physical.0));
    // SAFETY: both roots map the kernel, its stacks and tables for ring 0 alike.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// Maps one page.
///
/// # Errors
///
/// [`OutOfMemory`] if a table is needed and there is no frame for it.
pub(crate) fn map(address: u64, frame: PhysicalAddress, permissions: Permissions) -> Result<(), OutOfMemory> {
    let root = ROOTS.with(|roots| roots.kernel);
    let table = leaf_table(root, address)?;
    // SAFETY: callers map only addresses of ranges that they reserved.
    unsafe { set_entry(table, index(address, 0), frame.0 | permissions.bits()) };
    tlb::flush(x86_64::VirtAddr::new(address));
    Ok(())
}

/// Removes the mapping of one page and returns its frame.
pub(crate) fn unmap(address: u64) -> Option<PhysicalAddress> {
    let root = ROOTS.with(|roots| roots.kernel);
    let (value, bytes) = leaf(root, address)?;
    debug_assert_eq!(bytes, PAGE_BYTES);
    let table = leaf_table(root, address).ok()?;
    // SAFETY: callers unmap only what they mapped and no longer use.
    unsafe { set_entry(table, index(address, 0), 0) };
    tlb::flush(x86_64::VirtAddr::new(address));
    Some(PhysicalAddress(value & ADDRESS))
}

/// Changes what `pages` mapped pages from `address` allow. Pages that are not mapped stay so.
pub(crate) fn protect(address: u64, pages: u64, permissions: Permissions) {
    let root = ROOTS.with(|roots| roots.kernel);
    for page in 0..pages {
        let address = address + page * PAGE_BYTES;
        if let Some((value, PAGE_BYTES)) = leaf(root, address)
            && let Ok(table) = leaf_table(root, address)
        {
            // SAFETY: callers change only pages that they mapped.
            unsafe { set_entry(table, index(address, 0), (value & ADDRESS) | permissions.bits()) };
            tlb::flush(x86_64::VirtAddr::new(address));
        }
    }
}

/// Calls `body` while the page at `address` is writable and not executable. Interrupts are off.
pub(crate) fn with_writable<R>(address: u64, body: impl FnOnce() -> R) -> R {
    let root = ROOTS.with(|roots| roots.kernel);
    let (Some((value, PAGE_BYTES)), Ok(table)) = (leaf(root, address), leaf_table(root, address)) else {
        return body();
    };
    let slot = index(address, 0);
    // SAFETY: the same frame with other rights, and back; nobody else runs meanwhile.
    unsafe { set_entry(table, slot, value | WRITE | NO_EXECUTE) };
    tlb::flush(x86_64::VirtAddr::new(address));
    let result = body();
    // SAFETY: likewise.
    unsafe { set_entry(table, slot, value) };
    tlb::flush(x86_64::VirtAddr::new(address));
    result
}

/// Shows or hides a frame in the direct map: frames of loaded code have no writable alias.
///
/// # Errors
///
/// [`OutOfMemory`] if a large page has to be split and there is no frame for the table.
pub(crate) fn show_in_direct_map(frame: PhysicalAddress, show: bool) -> Result<(), OutOfMemory> {
    let root = ROOTS.with(|roots| roots.kernel);
    let address = frame.direct();
    let table = leaf_table(root, address)?;
    let value = if show { frame.0 | Permissions::KERNEL_DATA.bits() } else { 0 };
    // SAFETY: the frame belongs to the caller, who does not use its alias while it is hidden.
    unsafe { set_entry(table, index(address, 0), value) };
    tlb::flush(x86_64::VirtAddr::new(address));
    Ok(())
}

/// Maps device registers, uncached; returns where. Device mappings stay for ever.
///
/// # Panics
///
/// If there is no memory for page tables: devices are mapped at boot.
pub fn map_device(physical: PhysicalAddress, bytes: u64, owner: &str) -> u64 {
    let first = physical.0 / PAGE_BYTES * PAGE_BYTES;
    let address = DEVICES + first;
    let permissions = Permissions { uncached: true, ..Permissions::KERNEL_DATA };
    for offset in (0..physical.0 + bytes - first).step_by(PAGE_BYTES as usize) {
        map(address + offset, PhysicalAddress(first + offset), permissions)
            .expect("no memory to map a device");
    }
    regions::add(address, (physical.0 + bytes - first).next_multiple_of(PAGE_BYTES), permissions, owner);
    DEVICES + physical.0
}

/// The physical address behind a virtual one.
#[must_use]
pub fn translate(address: u64) -> Option<PhysicalAddress> {
    if !in_kernel_half(address) {
        return None;
    }
    let root = ROOTS.with(|roots| roots.kernel);
    let (value, bytes) = leaf(root, address)?;
    Some(PhysicalAddress((value & ADDRESS & !(bytes - 1)) + address % bytes))
}

/// What the page at `address` allows, if it is mapped: access and key.
#[must_use]
pub fn access(address: u64) -> Option<(Access, u8)> {
    if !in_kernel_half(address) {
        return None;
    }
    let root = ROOTS.with(|roots| roots.kernel);
    let (value, _) = leaf(root, address)?;
    let access = Access { write: value & WRITE != 0, execute: value & NO_EXECUTE == 0 };
    Some((access, ((value >> KEY_SHIFT) & 15) as u8))
}

/// Whether `address` may be read or written by a debugger: mapped RAM, no device, and writable if asked.
fn reachable(address: u64, write: bool) -> bool {
    let device = (DEVICES..DEVICES + (1 << 40)).contains(&address);
    !device && access(address).is_some_and(|(access, _)| access.write || !write)
}

/// Whether a debugger reaches `length` bytes from `address`.
///
/// # Errors
///
/// The first address that is not mapped, not writable if `write`, or belongs to a device.
pub fn check(address: u64, length: u64, write: bool) -> Result<(), u64> {
    let Some(end) = address.checked_add(length) else {
        return Err(address);
    };
    let mut at = address;
    while at < end {
        if !reachable(at, write) {
            return Err(at);
        }
        at = (at / PAGE_BYTES + 1).checked_mul(PAGE_BYTES).ok_or(at)?;
    }
    Ok(())
}

/// Reads memory at any address without faulting.
///
/// # Errors
///
/// The first address that is not mapped or belongs to a device.
pub fn read(address: u64, buffer: &mut [u8]) -> Result<(), u64> {
    let _off = crate::sync::InterruptsOff::new();
    check(address, buffer.len() as u64, false)?;
    // SAFETY: every page of the range is mapped RAM, and with interrupts off it stays so. The bytes may be part of
    // anything, also of values that the compiler believes unchanging: only plain bytes are read.
    unsafe { core::ptr::copy_nonoverlapping(address as *const u8, buffer.as_mut_ptr(), buffer.len()) };
    Ok(())
}

/// Writes memory at any address without faulting.
///
/// # Errors
///
/// The first address that is not mapped, not writable or belongs to a device.
pub fn write(address: u64, bytes: &[u8]) -> Result<(), u64> {
    let _off = crate::sync::InterruptsOff::new();
    check(address, bytes.len() as u64, true)?;
    // SAFETY: every page of the range is mapped, writable RAM. What the write means for the owner of the memory is
    // the debugger's responsibility, as with any debugger.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    Ok(())
}

const _: () = assert!(WINDOW_START.is_multiple_of(1 << 30) && WINDOW_END > WINDOW_START);
