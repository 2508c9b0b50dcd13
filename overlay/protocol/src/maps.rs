//! eBPF maps in a guest, and what a shell may ask of them.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::bpf::MapKind;
use crate::programs::ProgramId;

/// Names a map. Not used again while the guest lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MapId(pub u32);

/// A map in the guest: its schema and who uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInfo {
    /// Its number.
    pub id: MapId,
    /// Name as the object declares it.
    pub name: String,
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Most entries; bytes of data for a ring buffer.
    pub max_entries: u32,
    /// Linux's `BPF_F_*` of its creation.
    pub flags: u32,
    /// Whether programs may not write it.
    pub read_only: bool,
    /// Name under which programs share it. A map that is not pinned goes with its last program.
    pub pinned: Option<String>,
    /// Entries in it; bytes not yet read for a ring buffer.
    pub entries: u32,
    /// Records that found no room in a ring buffer.
    pub lost: u64,
    /// Memory that it holds, in bytes.
    pub memory_bytes: u64,
    /// Programs that use it.
    pub programs: Vec<ProgramId>,
    /// Whether descriptions of its types are there.
    pub typed: bool,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value's first bytes, at most [`crate::limits::CHUNK_BYTES_MAX`] of them. For maps of programs and of maps,
    /// the number of the program or map, 4 bytes.
    pub value: Vec<u8>,
}

/// What of a map's declaration differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields of MapSpec by name")]
pub enum SchemaField {
    Kind,
    KeyBytes,
    ValueBytes,
    MaxEntries,
    Flags,
    ReadOnly,
    KeyType,
    ValueType,
    Inner,
    Contents,
}

/// Why an operation on a map failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapError {
    /// No entry with that key, or the map is empty.
    NoEntry,
    /// There is an entry with that key, and the operation is to make one.
    EntryExists,
    /// No room for a further entry, or an index past the end.
    Full,
    /// A program is changing it; another try succeeds.
    Busy,
    /// A key of another size.
    KeySize {
        /// The map's.
        expected: u32,
        /// The request's.
        got: u32,
    },
    /// A value of another size.
    ValueSize {
        /// The map's.
        expected: u32,
        /// The request's.
        got: u32,
    },
    /// Maps of this kind have no such operation.
    Unsupported,
    /// It is for reading only.
    ReadOnly,
    /// Another map is pinned under that name.
    NameTaken(MapId),
    /// It is not pinned.
    NotPinned,
    /// What the value names is not there, or does not fit the map: a program, an inner map.
    BadReference {
        /// Why.
        reason: String,
    },
}
