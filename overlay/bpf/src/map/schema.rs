//! What a map is like: checked descriptions.

use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::bpf::{MapKind, MapSpec};
use uio_protocol::limits::{BPF_KEY_BYTES_MAX, BPF_NAME_BYTES_MAX, BPF_VALUE_BYTES_MAX};

use super::{MapError, lpm, ring};

/// Linux's flags of map creation (`BPF_F_*`) that mean something here, or that mean nothing and do no harm.
pub mod flags {
    /// Entries are allocated when needed: here all are reserved anyway.
    pub const NO_PREALLOC: u32 = 1;
    /// Eviction per processor: there is one.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// Memory of a given node: there is one.
    pub const NUMA_NODE: u32 = 1 << 2;
    /// The shell may not write it.
    pub const READ_ONLY: u32 = 1 << 3;
    /// A hash without a random seed: here every hash has one.
    pub const ZERO_SEED: u32 = 1 << 6;
    /// Programs may not write it.
    pub const READ_ONLY_PROGRAM: u32 = 1 << 7;
    /// Can be mapped by processes: there are none.
    pub const MAPPABLE: u32 = 1 << 10;
    /// As an inner map it may have another number of entries than its description.
    pub const INNER_MAP: u32 = 1 << 12;
    /// All of them.
    pub const KNOWN: u32 = NO_PREALLOC
        | NO_COMMON_LRU
        | NUMA_NODE
        | READ_ONLY
        | ZERO_SEED
        | READ_ONLY_PROGRAM
        | MAPPABLE
        | INNER_MAP;
}

/// Bytes of the values of maps that hold programs or maps: Linux's file descriptors.
const REFERENCE_BYTES: u32 = 4;
/// Bytes of an index.
const INDEX_BYTES: u32 = 4;

/// Whether the contents of such a map never change: read-only data that the checker may know the bytes of. Neither
/// programs nor the shell write it.
#[must_use]
pub fn is_constant(spec: &MapSpec) -> bool {
    spec.kind == MapKind::Array && spec.max_entries == 1 && is_read_only(spec)
}

/// Whether programs may not write such a map.
#[must_use]
pub const fn is_read_only(spec: &MapSpec) -> bool {
    spec.read_only || spec.flags & flags::READ_ONLY_PROGRAM != 0
}

/// Whether `spec` describes a possible map, apart from the memory it takes.
pub(super) fn check(spec: &MapSpec, inner: Option<&MapSpec>) -> Result<(), MapError> {
    let &MapSpec { kind, key_bytes, value_bytes, max_entries, .. } = spec;
    if spec.name.len() > BPF_NAME_BYTES_MAX {
        return Err(MapError::Name { bytes: spec.name.len() });
    }
    if spec.flags & !flags::KNOWN != 0 {
        return Err(MapError::Flags(spec.flags & !flags::KNOWN));
    }
    let keys = match kind {
        MapKind::Hash
        | MapKind::PerCpuHash
        | MapKind::LruHash
        | MapKind::LruPerCpuHash
        | MapKind::HashOfMaps => 1..=BPF_KEY_BYTES_MAX,
        MapKind::Array | MapKind::PerCpuArray | MapKind::ProgArray | MapKind::ArrayOfMaps => {
            INDEX_BYTES..=INDEX_BYTES
        }
        MapKind::LpmTrie => lpm::PREFIX_BYTES + 1..=lpm::PREFIX_BYTES + lpm::DATA_BYTES_MAX,
        MapKind::Queue | MapKind::Stack | MapKind::RingBuffer => 0..=0,
    };
    if !keys.contains(&key_bytes) {
        return Err(MapError::KeyBytes { kind, bytes: key_bytes });
    }
    let values = match kind {
        MapKind::ProgArray | MapKind::ArrayOfMaps | MapKind::HashOfMaps => REFERENCE_BYTES..=REFERENCE_BYTES,
        MapKind::RingBuffer => 0..=0,
        _ => 1..=BPF_VALUE_BYTES_MAX,
    };
    if !values.contains(&value_bytes) {
        return Err(MapError::ValueBytes { kind, bytes: value_bytes });
    }
    let possible = match kind {
        MapKind::RingBuffer => max_entries >= ring::BYTES_MIN && max_entries.is_power_of_two(),
        _ => max_entries > 0,
    };
    if !possible {
        return Err(MapError::Entries { kind, entries: max_entries });
    }
    if !spec.initial.is_empty()
        && (kind != MapKind::Array || max_entries != 1 || spec.initial.len() != value_bytes as usize)
    {
        return Err(MapError::Initial { bytes: spec.initial.len() });
    }
    match (holds_maps(kind), inner) {
        (false, None) => Ok(()),
        (true, Some(inner)) if !holds_maps(inner.kind) && inner.kind != MapKind::ProgArray => {
            check(inner, None)
        }
        _ => Err(MapError::Inner),
    }
}

/// Whether its values are maps.
pub(super) const fn holds_maps(kind: MapKind) -> bool {
    matches!(kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps)
}

/// Whether programs may take one map for the other: what the verifier looks at is equal.
pub(super) fn same_shape(left: &MapSpec, right: &MapSpec) -> bool {
    left.kind == right.kind
        && left.key_bytes == right.key_bytes
        && left.value_bytes == right.value_bytes
        && left.flags == right.flags
        && left.read_only == right.read_only
}

/// Whether `map` can be an inner map where `description` describes them. Compiled code may know how many entries an
/// array has, unless it says that this may differ.
pub(super) fn fits_inner(map: &MapSpec, description: &MapSpec) -> bool {
    let counted =
        matches!(map.kind, MapKind::Array | MapKind::PerCpuArray) && map.flags & flags::INNER_MAP == 0;
    same_shape(map, description) && (!counted || map.max_entries == description.max_entries)
}

/// Whether two descriptions of the types of keys or values differ; an object without any does not say.
pub(super) fn types_differ(left: &[u8], right: &[u8]) -> bool {
    !left.is_empty() && !right.is_empty() && left != right
}

/// Copies what a map keeps of its description: all but its first contents.
pub(super) fn keep(spec: &MapSpec) -> Result<MapSpec, MapError> {
    let mut name = String::new();
    name.try_reserve_exact(spec.name.len())
        .map_err(|_| MapError::Memory { bytes: spec.name.len() as u64 })?;
    name.push_str(&spec.name);
    Ok(MapSpec {
        name,
        initial: Vec::new(),
        key_type: copy(&spec.key_type)?,
        value_type: copy(&spec.value_type)?,
        ..*spec
    })
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>, MapError> {
    let mut copied = Vec::new();
    copied.try_reserve_exact(bytes.len()).map_err(|_| MapError::Memory { bytes: bytes.len() as u64 })?;
    copied.extend_from_slice(bytes);
    Ok(copied)
}
