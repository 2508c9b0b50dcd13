//! The order in which the kernel comes up.

use crate::arch::cpu::{self, KeyChoice};
use crate::arch::{apic, segments, traps};
use crate::boot_info::{BootInfo, PhysicalRange};
use crate::mm::layout::{KERNEL_BASE, image_sections};
use crate::mm::{self, PhysicalAddress, frames, paging, regions};
use crate::sync::InterruptLock;
use crate::thread::scheduler;
use crate::{time, virtio};

unsafe extern "C" {
    static __boot_start: u8;
    static __boot_end: u8;
    /// Supplied by the image: starts the application. Runs as the first thread, interrupts on.
    fn image_main();
}

static BOOT_INFO: InterruptLock<Option<BootInfo>> = InterruptLock::new(None);

/// Calls `body` with what the loader said.
///
/// # Panics
///
/// If the kernel has not come up.
pub fn with_boot_info<R>(body: impl FnOnce(&BootInfo) -> R) -> R {
    BOOT_INFO.with(|info| body(info.as_ref().expect("the kernel has come up")))
}

/// The initrd, if the loader brought one.
#[must_use]
pub fn initrd() -> Option<&'static [u8]> {
    let range = with_boot_info(|info| info.initrd)?;
    // SAFETY: `kernel_main` kept the range out of the frame allocator, and nothing writes it.
    Some(unsafe { core::slice::from_raw_parts(range.start.direct() as *const u8, range.size as usize) })
}

/// First Rust function, called by the boot code with the loader's start information.
pub(crate) extern "C" fn kernel_main(start_info: u64) -> ! {
    time::clock::mark_boot();
    crate::log::init();
    // SAFETY: the boot code passes on `ebx` and has mapped the first 4 GiB.
    let info = unsafe { BootInfo::read(start_info) };
    let keys = match info.option("uio.keys") {
        Some("pku") => KeyChoice::Pku,
        Some("pks") => KeyChoice::Pks,
        Some("none") => KeyChoice::None,
        _ => KeyChoice::Auto,
    };
    segments::init();
    cpu::init(keys);
    traps::init();

    let (boot_start, boot_end) = ((&raw const __boot_start) as u64, (&raw const __boot_end) as u64);
    let sections = image_sections();
    let image_start = sections[0].start - KERNEL_BASE;
    let image_end = sections[sections.len() - 1].end - KERNEL_BASE;
    let range = |start: u64, end: u64| PhysicalRange { start: PhysicalAddress(start), size: end - start };
    let taken = [
        range(0, 1 << 20),
        range(boot_start, boot_end),
        range(image_start, image_end),
        info.initrd.unwrap_or_default(),
    ];
    // SAFETY: the ranges taken are all that is in use; the boot page tables are active. The loader's structures were
    // copied out above.
    unsafe {
        frames::init(info.ram(), &taken);
        paging::init(info.ram());
    }
    for ram in info.ram() {
        regions::add(ram.start.direct(), ram.size, paging::Permissions::KERNEL_DATA, "memory (direct map)");
    }
    frames::free(PhysicalAddress(boot_start), ((boot_end - boot_start) / mm::PAGE_BYTES) as usize);
    BOOT_INFO.with(|slot| *slot = Some(info));
    apic::init();
    time::clock::init();
    scheduler::start();
    virtio::init();
    crate::info!(
        "uio: {} MiB, keys {:?}, clock {}, devices {:?}",
        frames::totals().0 >> 20,
        cpu::key_register(),
        time::clock::source(),
        virtio::devices(),
    );
    // SAFETY: the image defines it with this signature.
    unsafe { image_main() };
    scheduler::exit();
}
