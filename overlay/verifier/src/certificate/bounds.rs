//! What a program may use at most.

use serde::{Deserialize, Serialize};
use uio_protocol::bpf::{MapKind, MapSpec, ObjectImage};

/// Resources that a signer grants. The guest refuses an object that needs more and ends a run that takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of stack over the deepest chain of calls of any program.
    pub stack_bytes: u32,
    /// Instruction slots of all programs together.
    pub instructions: u32,
    /// Bytes of memory of all maps, as [`map_bytes`] counts.
    pub map_bytes: u64,
    /// Instructions that one run may execute; `None` leaves it to the guest.
    pub fuel: Option<u64>,
    /// Nanoseconds that one run may take; `None` leaves it to the guest.
    pub run_ns: Option<u64>,
}

/// One of [`Bounds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of `Bounds` by name")]
pub enum Bound {
    StackBytes,
    Instructions,
    MapBytes,
}

impl Bound {
    /// What is bounded, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StackBytes => "bytes of stack",
            Self::Instructions => "instructions",
            Self::MapBytes => "bytes of maps",
        }
    }
}

/// Instruction slots of all programs of `object`.
#[must_use]
pub fn instructions(object: &ObjectImage) -> u64 {
    object.programs.iter().map(|program| program.slots.len() as u64).sum()
}

/// Bytes that the keys and values of `object`'s maps take, each rounded up to 8, over all entries.
///
/// It is the size that the object's author chose, the same on every machine; what a guest adds to manage
/// entries does not count.
#[must_use]
pub fn map_bytes(object: &ObjectImage) -> u64 {
    object.maps.iter().map(bytes_of).fold(0, u64::saturating_add)
}

fn bytes_of(map: &MapSpec) -> u64 {
    let entries = u64::from(map.max_entries);
    match map.kind {
        // Its size is given in bytes.
        MapKind::RingBuffer => entries,
        MapKind::Hash
        | MapKind::Array
        | MapKind::ProgArray
        | MapKind::PerCpuHash
        | MapKind::PerCpuArray
        | MapKind::LruHash
        | MapKind::LruPerCpuHash
        | MapKind::LpmTrie
        | MapKind::ArrayOfMaps
        | MapKind::HashOfMaps
        | MapKind::Queue
        | MapKind::Stack => {
            let entry =
                u64::from(map.key_bytes).next_multiple_of(8) + u64::from(map.value_bytes).next_multiple_of(8);
            entries.saturating_mul(entry)
        }
    }
}
