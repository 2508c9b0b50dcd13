//! The monotonic clock: cycles since boot, scaled to nanoseconds.

use core::sync::atomic::{AtomicU64, Ordering};

use super::kvmclock;
use crate::arch::{apic, cpu};

/// Frequency of the local APIC timer's input under QEMU and KVM: both count nanoseconds of virtual time.
const HYPERVISOR_BUS_HERTZ: u64 = 1_000_000_000;
/// How long the time-stamp counter is compared with the APIC timer: long against the cost of a register
/// access under emulation (about 1 µs), short against the boot.
const CALIBRATION_NS: u64 = 3_000_000;

static BOOT_CYCLES: AtomicU64 = AtomicU64::new(0);
static HERTZ: AtomicU64 = AtomicU64::new(1_000_000_000);
/// Nanoseconds per cycle, 32.32 fixed point.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// Ticks of the APIC timer per nanosecond, 32.32 fixed point.
static TIMER_SCALE: AtomicU64 = AtomicU64::new(1 << 32);
static SOURCE: AtomicU64 = AtomicU64::new(0);

/// Where the frequency came from, in the order of preference.
const SOURCES: [&str; 3] = ["kvmclock", "tsc (cpuid)", "tsc (calibrated)"];

/// Starts the clock. Called once, after the APIC.
pub(crate) fn init() {
    let bus = HYPERVISOR_BUS_HERTZ;
    let (source, hertz) = kvmclock::tsc_hertz()
        .map(|hertz| (0, hertz))
        .or_else(|| cpuid_hertz().map(|hertz| (1, hertz)))
        .unwrap_or_else(|| (2, calibrate(bus)));
    SOURCE.store(source, Ordering::Relaxed);
    HERTZ.store(hertz, Ordering::Relaxed);
    SCALE.store(((1_000_000_000_u128 << 32) / u128::from(hertz)) as u64, Ordering::Relaxed);
    TIMER_SCALE.store(((u128::from(bus) << 32) / 1_000_000_000) as u64, Ordering::Relaxed);
}

/// Remembers when the image was entered.
pub(crate) fn mark_boot() {
    BOOT_CYCLES.store(cpu::cycles(), Ordering::Relaxed);
}

/// CPUID leaf 0x15, where it is complete.
fn cpuid_hertz() -> Option<u64> {
    let info = raw_cpuid::CpuId::new().get_tsc_info()?;
    info.tsc_frequency().filter(|hertz| *hertz > 0)
}

/// Compares the time-stamp counter with the APIC timer.
fn calibrate(bus_hertz: u64) -> u64 {
    let ticks_wanted = (CALIBRATION_NS * bus_hertz / 1_000_000_000) as u32;
    apic::start_reference();
    let first_ticks = apic::reference_ticks();
    let first_cycles = cpu::cycles();
    loop {
        let ticks = apic::reference_ticks() - first_ticks;
        let cycles = cpu::cycles() - first_cycles;
        if ticks >= ticks_wanted {
            apic::arm_timer(0);
            return (u128::from(cycles) * u128::from(bus_hertz) / u128::from(ticks)) as u64;
        }
    }
}

/// Nanoseconds since boot.
#[must_use]
pub fn now_ns() -> u64 {
    cycles_to_ns(cpu::cycles().saturating_sub(BOOT_CYCLES.load(Ordering::Relaxed)))
}

/// A number of cycles as time.
#[must_use]
pub fn cycles_to_ns(cycles: u64) -> u64 {
    ((u128::from(cycles) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// A duration in ticks of the APIC timer, at least 1 and at most what its counter holds.
pub(super) fn timer_ticks(duration_ns: u64) -> u32 {
    let ticks = (u128::from(duration_ns) * u128::from(TIMER_SCALE.load(Ordering::Relaxed))) >> 32;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// Cycles per second of the time-stamp counter.
#[must_use]
pub fn tsc_hertz() -> u64 {
    HERTZ.load(Ordering::Relaxed)
}

/// Where the frequency came from.
#[must_use]
pub fn source() -> &'static str {
    SOURCES[SOURCE.load(Ordering::Relaxed) as usize % SOURCES.len()]
}
