//! Protection keys and the register that says what each of them allows.
//!
//! PKRU and IA32_PKRS share one layout (Intel SDM vol. 3A, 4.6.2): for key `k`, bit `2k` denies all
//! data accesses and bit `2k + 1` denies writes. Instruction fetches are never checked.

use core::fmt;

use crate::backend::Backend;
use crate::gate;

/// Number of keys that a page-table entry can name (4 bits).
pub const KEY_COUNT: usize = 16;

/// Mask of the PKRU bits that deny something about one key, before shifting by `2 * key`.
const DENY_BITS: u32 = 0b11;

/// A protection key, 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtectionKey(u8);

impl ProtectionKey {
    /// The kernel's memory, page tables, gates' contexts, rings, and everything not listed elsewhere.
    pub const KERNEL: Self = Self(0);
    /// The application's data and stacks.
    pub const APPLICATION: Self = Self(1);
    /// Arguments and output that a domain and the host both write.
    pub const EXCHANGE: Self = Self(2);

    /// The key of that number; `None` above 15.
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < KEY_COUNT { Some(Self(number)) } else { None }
    }

    /// Its number, 0 to 15: what goes into bits 59 to 62 of a page-table entry.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All keys in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..KEY_COUNT as u8).map(Self)
    }

    const fn shift(self) -> u32 {
        self.0 as u32 * 2
    }
}

impl fmt::Debug for ProtectionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "key {}", self.0)
    }
}

/// What a register value allows on the pages of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRights {
    /// No data access.
    None,
    /// Loads only.
    Read,
    /// Loads and stores.
    ReadWrite,
}

impl KeyRights {
    const fn deny_bits(self) -> u32 {
        match self {
            Self::None => 0b11,
            Self::Read => 0b10,
            Self::ReadWrite => 0b00,
        }
    }
}

/// A value of PKRU or of the low half of IA32_PKRS.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Pkru(u32);

impl Pkru {
    /// Everything is allowed: what host code runs with.
    pub const ALLOW_ALL: Self = Self(0);
    /// Nothing is allowed. Not usable in a domain as it stands, since a gate has to read its context.
    pub const DENY_ALL: Self = Self(u32::MAX);

    /// From the register's bits; every value is valid.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The register's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Reads everything, writes only pages of these keys.
    pub const fn reads_all_writes(keys: &[ProtectionKey]) -> Self {
        let mut value = Self(0xaaaa_aaaa);
        let mut index = 0;
        while index < keys.len() {
            value = value.with(keys[index], KeyRights::ReadWrite);
            index += 1;
        }
        value
    }

    /// Reads and writes only pages of these keys.
    ///
    /// A domain also needs [`KeyRights::Read`] on the key of the gates' contexts, see
    /// [`crate::gate`]; [`crate::domain::Domain`] adds it.
    pub const fn reads_writes_only(keys: &[ProtectionKey]) -> Self {
        let mut value = Self::DENY_ALL;
        let mut index = 0;
        while index < keys.len() {
            value = value.with(keys[index], KeyRights::ReadWrite);
            index += 1;
        }
        value
    }

    /// The same with other rights on one key.
    #[must_use]
    pub const fn with(self, key: ProtectionKey, rights: KeyRights) -> Self {
        Self(self.0 & !(DENY_BITS << key.shift()) | rights.deny_bits() << key.shift())
    }

    /// Its rights on one key. Denying access implies denying writes, whatever the second bit says.
    pub const fn rights(self, key: ProtectionKey) -> KeyRights {
        match self.0 >> key.shift() & DENY_BITS {
            0b00 => KeyRights::ReadWrite,
            0b10 => KeyRights::Read,
            _ => KeyRights::None,
        }
    }

    /// Whether this allows nothing that `other` denies, bit by bit.
    pub const fn at_most(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Pkru {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pkru({:#010x}:", self.0)?;
        for key in ProtectionKey::all() {
            let rights = match self.rights(key) {
                KeyRights::None => "-",
                KeyRights::Read => "r",
                KeyRights::ReadWrite => "w",
            };
            formatter.write_str(rights)?;
        }
        formatter.write_str(")")
    }
}

/// The value in the register of the selected backend; [`Pkru::ALLOW_ALL`] if that is none.
pub fn read() -> Pkru {
    match crate::backend::selected() {
        Backend::None => Pkru::ALLOW_ALL,
        // SAFETY: `backend::select` was told this backend by a caller who vouched that the processor has
        // it and that it is switched on; reading the register changes nothing.
        Backend::Pku => Pkru(unsafe { gate::read_pkru() }),
        // SAFETY: as above, and the caller vouched for ring 0, which `rdmsr` needs.
        Backend::Pks => Pkru(unsafe { gate::read_pkrs() }),
    }
}

/// Writes the register of the selected backend; does nothing if that is none.
///
/// One routine for all callers, and guarded, because a domain in ring 0 can call it too: it allows at
/// most what the current thread is entitled to (everything in host code, the domain's value inside
/// one). Asking for more ends in the tampered handler and does not come back.
///
/// # Safety
/// The code that runs next has to get by with the new rights: its stack, and the current
/// [`gate::GateContext`] for the check, must stay readable, the stack writable.
pub unsafe fn write(value: Pkru) {
    match crate::backend::selected() {
        Backend::None => {}
        // SAFETY: the backend is on (see `read`); the caller answers for the new rights.
        Backend::Pku => unsafe { gate::write_pkru(value.0) },
        // SAFETY: as above.
        Backend::Pks => unsafe { gate::write_pkrs(value.0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> ProtectionKey {
        ProtectionKey::new(number).unwrap()
    }

    #[test]
    fn keys_end_at_fifteen() {
        assert_eq!(ProtectionKey::new(15).unwrap().number(), 15);
        assert_eq!(ProtectionKey::new(16), None);
        assert_eq!(ProtectionKey::all().count(), KEY_COUNT);
    }

    #[test]
    fn bits_lie_where_the_manual_says() {
        assert_eq!(Pkru::ALLOW_ALL.with(key(0), KeyRights::Read).bits(), 0b10);
        assert_eq!(Pkru::ALLOW_ALL.with(key(1), KeyRights::None).bits(), 0b1100);
        assert_eq!(Pkru::DENY_ALL.with(key(15), KeyRights::ReadWrite).bits(), 0x3fff_ffff);
        // Linux's initial value: key 0 only, the others access-denied without the write bit.
        let linux = Pkru::from_bits(0x5555_5554);
        assert_eq!(linux.rights(key(0)), KeyRights::ReadWrite);
        assert_eq!(linux.rights(key(1)), KeyRights::None);
    }

    #[test]
    fn builders_grant_what_they_list() {
        let listed = [key(2), key(7)];
        for candidate in ProtectionKey::all() {
            let is_listed = listed.contains(&candidate);
            let reads_all = Pkru::reads_all_writes(&listed).rights(candidate);
            assert_eq!(reads_all, if is_listed { KeyRights::ReadWrite } else { KeyRights::Read });
            let only = Pkru::reads_writes_only(&listed).rights(candidate);
            assert_eq!(only, if is_listed { KeyRights::ReadWrite } else { KeyRights::None });
        }
    }

    #[test]
    fn at_most_is_by_bit() {
        let wide = Pkru::reads_all_writes(&[key(2), key(7)]);
        let narrow = Pkru::reads_all_writes(&[key(2)]);
        assert!(narrow.at_most(wide) && wide.at_most(wide) && wide.at_most(Pkru::ALLOW_ALL));
        assert!(!wide.at_most(narrow) && !Pkru::ALLOW_ALL.at_most(wide));
    }
}
