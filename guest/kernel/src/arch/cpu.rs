//! What the processor offers and how it is set up.

use core::sync::atomic::{AtomicU8, Ordering};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};

/// Which register holds the protection-key rights.
static KEY_REGISTER: AtomicU8 = AtomicU8::new(0);

/// Mechanism that enforces protection keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyRegister {
    /// Neither is there.
    None = 0,
    /// PKRU: keys of user pages, so all pages are user pages.
    Pkru = 1,
    /// `IA32_PKRS`: keys of supervisor pages.
    Pkrs = 2,
}

/// The mechanism in use.
pub fn key_register() -> KeyRegister {
    match KEY_REGISTER.load(Ordering::Relaxed) {
        1 => KeyRegister::Pkru,
        2 => KeyRegister::Pkrs,
        _ => KeyRegister::None,
    }
}

/// The mechanism in use, as the gates name it.
#[cfg(feature = "overlay")]
pub(crate) fn backend() -> uio_isolation::backend::Backend {
    use uio_isolation::backend::Backend;
    match key_register() {
        KeyRegister::None => Backend::None,
        KeyRegister::Pkru => Backend::Pku,
        KeyRegister::Pkrs => Backend::Pks,
    }
}

/// Bit 24 of CR4: protection keys for supervisor pages.
const CR4_PKS: u64 = 1 << 24;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChoice {
    /// PKU if there, else PKS.
    Auto,
    /// Only PKU.
    Pku,
    /// Only PKS.
    Pks,
    /// No protection keys.
    None,
}

/// Sets up control registers and picks the key mechanism. Called once, early.
pub fn init(choice: KeyChoice) {
    let leaf = core::arch::x86_64::__cpuid_count(7, 0);
    let pku = leaf.ecx & (1 << 3) != 0;
    let pks = leaf.ecx & (1 << 31) != 0;
    let register = match choice {
        // Without the overlay there is nothing to keep apart.
        _ if !cfg!(feature = "overlay") => KeyRegister::None,
        KeyChoice::Auto | KeyChoice::Pku if pku => KeyRegister::Pkru,
        KeyChoice::Auto | KeyChoice::Pks if pks => KeyRegister::Pkrs,
        _ => KeyRegister::None,
    };
    // SAFETY: the flags set are those that long-mode code with SSE needs; write protection and NX only take
    // rights away. PGE stays off: two sets of page tables differ in their user bits, and global entries would
    // leak from one into the other. OSXSAVE stays off: nothing uses AVX, and `xrstor` (which can load PKRU)
    // is then an invalid opcode.
    unsafe {
        Cr0::update(|flags| {
            flags.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR);
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
        });
        Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE));
        let mut cr4 = Cr4::read_raw() | Cr4Flags::OSFXSR.bits() | Cr4Flags::OSXMMEXCPT_ENABLE.bits();
        match register {
            KeyRegister::Pkru => cr4 |= Cr4Flags::PROTECTION_KEY_USER.bits(),
            KeyRegister::Pkrs => cr4 |= CR4_PKS,
            KeyRegister::None => {}
        }
        Cr4::write_raw(cr4);
    }
    KEY_REGISTER.store(register as u8, Ordering::Relaxed);
    #[cfg(feature = "overlay")]
    // SAFETY: the register was switched on above, and this is ring 0. It is selected once.
    let _ = unsafe { uio_isolation::backend::select(backend()) };
}

/// Whether interrupts are on.
#[must_use]
pub fn interrupts_enabled() -> bool {
    x86_64::instructions::interrupts::are_enabled()
}

/// Cycle counter.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    // SAFETY: CR4.TSD is never set, so RDTSC is allowed and has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The hypervisor's signature (CPUID leaf 0x4000_0000), or `None` on bare metal.
#[must_use]
pub fn hypervisor() -> Option<[u8; 12]> {
    if core::arch::x86_64::__cpuid(1).ecx & (1 << 31) == 0 {
        return None;
    }
    let leaf = core::arch::x86_64::__cpuid(0x4000_0000);
    let mut signature = [0; 12];
    signature[..4].copy_from_slice(&leaf.ebx.to_le_bytes());
    signature[4..8].copy_from_slice(&leaf.ecx.to_le_bytes());
    signature[8..].copy_from_slice(&leaf.edx.to_le_bytes());
    Some(signature)
}
