//! Memory that devices share with the kernel. They see physical addresses; there is no IOMMU.

use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::mm::layout::DIRECT_MAP;
use crate::mm::{self, PhysicalAddress, frames, paging};

/// The kernel as `virtio-drivers` sees it.
#[derive(Debug)]
pub(super) struct KernelHal;

// SAFETY: `dma_alloc` hands out fresh, zeroed, contiguous frames through the direct map until they are
// freed; `mmio_phys_to_virt` maps exactly the registers asked for; `share` gives the address behind the buffer.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let start = frames::allocate_zeroed(pages).expect("no memory for a device queue");
        (start.0, NonNull::new(start.direct() as *mut u8).expect("the direct map is not at 0"))
    }

    unsafe fn dma_dealloc(physical: PhysAddr, _address: NonNull<u8>, pages: usize) -> i32 {
        frames::free(PhysicalAddress(physical), pages);
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, size: usize) -> NonNull<u8> {
        let address = mm::map_device(PhysicalAddress(physical), size as u64, "virtio registers");
        NonNull::new(address as *mut u8).expect("the device map is not at 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        let address = buffer.cast::<u8>().as_ptr() as u64;
        // Buffers come from the heap, which is contiguous there as it is here. What is elsewhere (descriptor
        // lists in statics) lies within one page.
        if address < mm::layout::STACKS {
            return address - DIRECT_MAP;
        }
        paging::translate(address).expect("a device buffer is mapped").0
    }

    unsafe fn unshare(_physical: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
