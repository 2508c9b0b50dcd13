//! Which register enforces the keys: PKRU, IA32_PKRS, or none.

use core::arch::x86_64::__cpuid_count;
use core::sync::atomic::{AtomicU8, Ordering};

/// IA32_PKRS, the model-specific register of the supervisor keys (Intel SDM vol. 4).
pub const IA32_PKRS: u32 = 0x6e1;
/// CR4.PKE: keys on user pages; `rdpkru` and `wrpkru` raise `#UD` while it is clear.
pub const CR4_PKE: u64 = 1 << 22;
/// CR4.PKS: keys on supervisor pages.
pub const CR4_PKS: u64 = 1 << 24;
/// CR0.WP: without it, ring 0 ignores the write-deny bits of both registers.
pub const CR0_WP: u64 = 1 << 16;
/// Where the key of a page lies in its page-table entry: bits 59 to 62.
pub const PTE_KEY_SHIFT: u32 = 59;

/// What enforces the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// Nothing. Gates switch stacks and keep the books, but every page stays writable.
    None = 0,
    /// PKRU, which governs user pages in every ring.
    Pku = 1,
    /// IA32_PKRS, which governs supervisor pages; ring 0 only.
    Pks = 2,
}

/// What the processor offers, by CPUID leaf 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// The processor has user keys.
    pub pku: bool,
    /// CR4.PKE is set, so `wrpkru` works now.
    pub pku_enabled: bool,
    /// The processor has supervisor keys. CPUID does not say whether CR4.PKS is set.
    pub pks: bool,
}

/// Asks the processor.
pub fn detect() -> Support {
    const FEATURES_LEAF: u32 = 7;
    let highest = __cpuid_count(0, 0).eax;
    if highest < FEATURES_LEAF {
        return Support { pku: false, pku_enabled: false, pks: false };
    }
    let features = __cpuid_count(FEATURES_LEAF, 0).ecx;
    Support { pku: features & 1 << 3 != 0, pku_enabled: features & 1 << 4 != 0, pks: features & 1 << 31 != 0 }
}

/// [`Backend`] as a number, or [`UNSELECTED`].
static SELECTED: AtomicU8 = AtomicU8::new(UNSELECTED);
const UNSELECTED: u8 = u8::MAX;

/// Another backend was selected before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySelected {
    /// The one in use.
    pub selected: Backend,
}

/// Selects the backend, once, before any domain is entered. Selecting the same one again is harmless.
///
/// # Safety
/// The processor must have the backend and it must be switched on (CR4), for [`Backend::Pks`] also the
/// code that uses it must run in ring 0.
///
/// # Errors
/// [`AlreadySelected`] if another backend was selected before.
pub unsafe fn select(backend: Backend) -> Result<(), AlreadySelected> {
    match SELECTED.compare_exchange(UNSELECTED, backend as u8, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(before) if before == backend as u8 => Ok(()),
        Err(_) => Err(AlreadySelected { selected: selected() }),
    }
}

/// The backend in use: [`Backend::None`] until one is selected.
pub fn selected() -> Backend {
    match SELECTED.load(Ordering::Relaxed) {
        1 => Backend::Pku,
        2 => Backend::Pks,
        _ => Backend::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_stays() {
        assert_eq!(selected(), Backend::None);
        // SAFETY: no backend needs no hardware.
        unsafe {
            assert_eq!(select(Backend::None), Ok(()));
            assert_eq!(select(Backend::None), Ok(()));
        }
        // SAFETY: refused, so nothing comes of it.
        let refused = unsafe { select(Backend::Pku) };
        assert_eq!(refused, Err(AlreadySelected { selected: Backend::None }));
        assert_eq!(selected(), Backend::None);
    }

    #[test]
    fn an_enabled_pku_is_a_present_one() {
        let support = detect();
        assert!(support.pku || !support.pku_enabled, "{support:?}");
    }
}
