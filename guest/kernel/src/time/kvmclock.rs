//! kvmclock: where KVM offers it, the hypervisor says how fast the time-stamp counter runs.
//! Linux `Documentation/virt/kvm/x86/msr.rst` and `cpuid.rst`.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use x86_64::registers::model_specific::Msr;

const MSR_SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;
const FEATURES: u32 = 0x4000_0001;
const FEATURE_CLOCKSOURCE2: u32 = 1 << 3;
const ENABLE: u64 = 1;

/// `pvclock_vcpu_time_info`: what the hypervisor writes.
#[repr(C, align(64))]
struct TimeInfo {
    version: AtomicU32,
    padding: u32,
    tsc_timestamp: u64,
    system_time: u64,
    tsc_to_system_mul: AtomicU32,
    /// Shift and flags; only the shift, the first byte, is used.
    shift_and_flags: AtomicU32,
}

static TIME_INFO: TimeInfo = TimeInfo {
    version: AtomicU32::new(0),
    padding: 0,
    tsc_timestamp: 0,
    system_time: 0,
    tsc_to_system_mul: AtomicU32::new(0),
    shift_and_flags: AtomicU32::new(0),
};

/// Cycles per second of the time-stamp counter, if this is KVM and it offers its clock.
pub(super) fn tsc_hertz() -> Option<u64> {
    if crate::arch::cpu::hypervisor()? != *b"KVMKVMKVM\0\0\0" {
        return None;
    }
    if core::arch::x86_64::__cpuid(FEATURES).eax & FEATURE_CLOCKSOURCE2 == 0 {
        return None;
    }
    let address = (&raw const TIME_INFO) as u64 - crate::mm::layout::KERNEL_BASE;
    let mut register = Msr::new(MSR_SYSTEM_TIME_NEW);
    // SAFETY: the register takes the physical address of a structure of this layout, aligned, and in the image's own
    // data, which stays. It is turned off again below, before anything else could be affected.
    unsafe { register.write(address | ENABLE) };
    fence(Ordering::SeqCst);
    let multiplier = u64::from(TIME_INFO.tsc_to_system_mul.load(Ordering::Relaxed));
    let shift = TIME_INFO.shift_and_flags.load(Ordering::Relaxed) as u8 as i8;
    let filled = TIME_INFO.version.load(Ordering::Relaxed) != 0 && multiplier != 0;
    // SAFETY: as above.
    unsafe { register.write(0) };
    if !filled {
        return None;
    }
    // system = (tsc << shift) * multiplier >> 32, in nanoseconds; solved for one second.
    let hertz = (1_000_000_000_u128 << 32) / u128::from(multiplier);
    let hertz = if shift >= 0 { hertz >> shift } else { hertz << -i32::from(shift) };
    u64::try_from(hertz).ok().filter(|hertz| *hertz > 0)
}
