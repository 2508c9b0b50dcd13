//! Digests: what a certificate names instead of the thing itself.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uio_protocol::bpf::{MapKind, MapSpec};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// Names a key: the first 8 bytes of the SHA-256 of its 32 public bytes.
///
/// It selects among the keys of a policy, which refuses two keys of one id; so a collision gains nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 8]);

/// Separates this hash from every other use of SHA-256 in the project.
const MAP_SCHEMA_DOMAIN: &[u8] = b"uio map schema v1\0";

impl Digest {
    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl KeyId {
    /// The id of an ed25519 public key.
    #[must_use]
    pub fn of(public_key: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&Digest::of(public_key).0[..8]);
        Self(id)
    }
}

/// Digest of an object: SHA-256 of the postcard bytes of its `ObjectImage`, as they are in the package.
#[must_use]
pub fn object_digest(object_bytes: &[u8]) -> Digest {
    Digest::of(object_bytes)
}

/// Digest of what the maps of an object look like: everything of them but their first contents.
///
/// Equal digests mean that a new version finds the state of the old one as it left it.
#[must_use]
pub fn map_schema_digest(maps: &[MapSpec]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(MAP_SCHEMA_DOMAIN);
    for map in maps {
        let MapSpec {
            name,
            kind,
            key_bytes,
            value_bytes,
            max_entries,
            flags,
            read_only,
            pinned,
            inner,
            initial: _,
            key_type,
            value_type,
        } = map;
        // Every field has a length or a fixed size, so that no two lists give the same bytes.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update([number(*kind), u8::from(*read_only), u8::from(*pinned)]);
        for word in [*key_bytes, *value_bytes, *max_entries, *flags, inner.map_or(u32::MAX, |index| index)] {
            hash.update(word.to_le_bytes());
        }
        for description in [key_type, value_type] {
            hash.update((description.len() as u64).to_le_bytes());
            hash.update(description);
        }
    }
    Digest(hash.finalize().into())
}

const fn number(kind: MapKind) -> u8 {
    kind as u8
}

fn hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, formatter)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, formatter)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, formatter)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, formatter)
    }
}
