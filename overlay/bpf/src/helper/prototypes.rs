//! The table of helpers.

use uio_protocol::bpf::MapKind;

use super::{Argument, Effect, Programs, Prototype, Returns};

/// Kinds of maps that have keys and values.
pub const ALL: &[MapKind] = &[
    MapKind::Hash,
    MapKind::Array,
    MapKind::PerCpuHash,
    MapKind::PerCpuArray,
    MapKind::LruHash,
    MapKind::LruPerCpuHash,
    MapKind::LpmTrie,
    MapKind::ArrayOfMaps,
    MapKind::HashOfMaps,
];

/// All helpers, ascending by number.
pub static PROTOTYPES: &[Prototype] = &[Prototype {
    number: 1,
    name: "map_lookup_elem",
    summary: "Finds the value of a key.",
    declaration: "void *(void *map, const void *key)",
    arguments: &[Argument::Map, Argument::MapKey],
    returns: Returns::MapValueOrNull,
    effect: Effect::None,
    programs: Programs::All,
    maps: ALL,
}];
