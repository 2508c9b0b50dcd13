//! The unikernel: boot, memory, threads, interrupts, time, virtio.
//!
//! Everything runs in ring 0 in one address space. An image (`guest/images/*`) links this crate, starts its
//! application from `image_main` and, with the `overlay` feature of the image, the overlay.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, expect(dead_code, reason = "unit tests link the crate without booting it"))]

extern crate alloc;

pub mod arch;
pub mod boot_info;
pub mod files;
pub mod identity;
pub mod interrupts;
pub mod log;
pub mod mm;
pub mod net;
#[cfg(all(feature = "overlay", not(test)))]
pub mod overlay;
#[cfg(not(test))]
pub mod panic;
pub mod power;
#[cfg(not(test))]
pub mod start;
pub mod sync;
pub mod thread;
pub mod time;
pub mod virtio;

pub use uio_protocol::inspect::LogLevel;

/// Exit code of a guest whose kernel or application raised an exception.
pub const EXCEPTION_EXIT_CODE: u8 = 102;

#[cfg(not(test))]
use panic::print_stack as panic_report;

#[cfg(test)]
fn panic_report(_stack_pointer: u64) {}

/// Defines what there can be only one of in an image: the panic handler and the global allocator.
///
/// They are not in this crate, so that it can be checked and built beside crates that use `std`.
#[macro_export]
macro_rules! runtime {
    () => {
        #[global_allocator]
        static GLOBAL_ALLOCATOR: $crate::mm::heap::KernelHeap = $crate::mm::heap::KernelHeap;

        #[panic_handler]
        fn panic_handler(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::panic::report(info)
        }
    };
}
