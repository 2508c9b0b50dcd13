//! What a domain may reach, and the register value that says so.

use crate::pkru::{KeyRights, Pkru, ProtectionKey};

/// What a domain may read besides its own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// Every page. The default: extensions look into the application.
    Everything,
    /// Only the exchange pages and those of one more key: the one under which the gates' contexts and the
    /// [`crate::gate`] statics lie, since a gate reads them with the domain's rights. If that is
    /// [`ProtectionKey::KERNEL`], all kernel memory stays readable; a key of its own closes that too.
    OwnAnd(ProtectionKey),
}

/// A protection domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    key: ProtectionKey,
    reads: ReadPolicy,
}

impl Domain {
    /// The domain that writes pages of `key` and of [`ProtectionKey::EXCHANGE`].
    ///
    /// # Errors
    /// [`ReservedKey`] for a key below [`crate::keys::FIRST_DOMAIN_KEY`].
    pub const fn new(key: ProtectionKey, reads: ReadPolicy) -> Result<Self, ReservedKey> {
        if key.number() < crate::keys::FIRST_DOMAIN_KEY {
            return Err(ReservedKey { key });
        }
        Ok(Self { key, reads })
    }

    /// The key of its pages.
    pub const fn key(self) -> ProtectionKey {
        self.key
    }

    /// What it may read.
    pub const fn reads(self) -> ReadPolicy {
        self.reads
    }

    /// The register value that its code runs with.
    pub const fn pkru(self) -> Pkru {
        let writes = [self.key, ProtectionKey::EXCHANGE];
        match self.reads {
            ReadPolicy::Everything => Pkru::reads_all_writes(&writes),
            ReadPolicy::OwnAnd(gates) => {
                let own = Pkru::reads_writes_only(&writes);
                // Never more than reading, even if the caller names one of the keys above: a context that
                // the domain can write would undo the gates.
                own.with(gates, KeyRights::Read)
            }
        }
    }
}

/// A domain cannot have a reserved key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedKey {
    /// The key.
    pub key: ProtectionKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> ProtectionKey {
        ProtectionKey::new(number).unwrap()
    }

    #[test]
    fn reserved_keys_are_refused() {
        for number in 0..3 {
            assert_eq!(
                Domain::new(key(number), ReadPolicy::Everything),
                Err(ReservedKey { key: key(number) })
            );
        }
        assert!(Domain::new(key(3), ReadPolicy::Everything).is_ok());
    }

    #[test]
    fn writes_only_its_own_and_the_exchange_pages() {
        for reads in [ReadPolicy::Everything, ReadPolicy::OwnAnd(key(0)), ReadPolicy::OwnAnd(key(4))] {
            let pkru = Domain::new(key(9), reads).unwrap().pkru();
            for other in ProtectionKey::all() {
                let writes = pkru.rights(other) == KeyRights::ReadWrite;
                assert_eq!(writes, [2, 9].contains(&other.number()), "{reads:?} {other:?}");
            }
        }
    }

    #[test]
    fn reads_what_its_policy_says() {
        let all = Domain::new(key(9), ReadPolicy::Everything).unwrap().pkru();
        let own = Domain::new(key(9), ReadPolicy::OwnAnd(key(4))).unwrap().pkru();
        for other in ProtectionKey::all() {
            assert_ne!(all.rights(other), KeyRights::None);
            assert_eq!(own.rights(other) != KeyRights::None, [2, 4, 9].contains(&other.number()));
        }
    }
}
