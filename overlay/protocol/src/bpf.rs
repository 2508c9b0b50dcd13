//! An eBPF object in typed form: what the host makes from an ELF file, and what the guest checks and runs.
//!
//! The host resolves everything symbolic. Instructions stay in the encoding of RFC 9669, with these
//! forms of the 64-bit immediate load (Linux's numbers for the source register):
//!
//! | source register | immediate | meaning |
//! |---|---|---|
//! | 0 | 64 bits | the number |
//! | 4 | slots from the next instruction | address of a subprogram, for callbacks and `callx` |
//! | 5 | index into [`ObjectImage::maps`] | the map |
//! | 6 | index, and an offset in the second half | address inside the value of an array map of one entry |

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// All programs of one object file with the maps that they name.
///
/// A certificate binds the SHA-256 of this value's postcard bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectImage {
    /// The file's stem.
    pub name: String,
    /// Maps, in the order in which instructions number them.
    pub maps: Vec<MapSpec>,
    /// Programs, in the order of the file.
    pub programs: Vec<ProgramImage>,
}

/// One program with all functions that it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramImage {
    /// Name of its entry function.
    pub name: String,
    /// What it is called with, and by whom.
    pub kind: ProgramKind,
    /// The part of the section's name after the kind: what to attach it to (`xdp/filter`: `filter`).
    pub target: String,
    /// Instruction slots of 8 bytes, little-endian. A 64-bit immediate load takes two.
    pub slots: Vec<u64>,
    /// First slot of every function, ascending; the entry is the first and starts at slot 0. A function ends
    /// where the next begins, and nothing jumps or falls from one into another.
    pub functions: Vec<u32>,
}

/// What a program is called with and what its result means. The layout of each kind's context is in `uio-bpf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProgramKind {
    /// A packet filter, classifier or rewriter: the context is a `PacketContext`, the result an XDP action or
    /// an output port. Sections `xdp…`, and `bpffilter` of MorphOS's tenants.
    Packet,
    /// Called at a probe with the interrupted registers. Sections `kprobe…`, `kretprobe…`, `tracing…`.
    Tracing,
    /// Called at intervals; the context holds the time. Sections `timer…`.
    Timer,
    /// Memory of a fixed size in R1 and that size in R2. Sections `raw…`, and flat files without a section.
    Raw {
        /// Bytes at R1. If 0, R1 holds any number, null too, that the program cannot use as an address.
        memory_bytes: u32,
    },
}

/// Kinds of maps, with Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Linux's, BPF_MAP_TYPE_*")]
#[repr(u8)]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerCpuHash = 5,
    PerCpuArray = 6,
    LruHash = 9,
    LruPerCpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
    Queue = 22,
    Stack = 23,
    RingBuffer = 27,
}

impl MapKind {
    /// All kinds, ascending by number.
    pub const ALL: [Self; 13] = [
        Self::Hash,
        Self::Array,
        Self::ProgArray,
        Self::PerCpuHash,
        Self::PerCpuArray,
        Self::LruHash,
        Self::LruPerCpuHash,
        Self::LpmTrie,
        Self::ArrayOfMaps,
        Self::HashOfMaps,
        Self::Queue,
        Self::Stack,
        Self::RingBuffer,
    ];

    /// The kind with Linux's number `number`, if it is one of ours.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }

    /// Name as `bpftool` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Array => "array",
            Self::ProgArray => "prog_array",
            Self::PerCpuHash => "percpu_hash",
            Self::PerCpuArray => "percpu_array",
            Self::LruHash => "lru_hash",
            Self::LruPerCpuHash => "lru_percpu_hash",
            Self::LpmTrie => "lpm_trie",
            Self::ArrayOfMaps => "array_of_maps",
            Self::HashOfMaps => "hash_of_maps",
            Self::Queue => "queue",
            Self::Stack => "stack",
            Self::RingBuffer => "ringbuf",
        }
    }
}

/// A map as an object declares it: its name and schema.
///
/// Two programs that name the same pinned map share it if their schemas are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSpec {
    /// Name of the variable; `.rodata`, `.data` and `.bss` for the sections.
    pub name: String,
    /// Kind.
    pub kind: MapKind,
    /// Bytes of a key; 0 for queues, stacks and ring buffers.
    pub key_bytes: u32,
    /// Bytes of a value; 0 for ring buffers.
    pub value_bytes: u32,
    /// Entries; bytes of data for a ring buffer.
    pub max_entries: u32,
    /// Linux's `BPF_F_*` of map creation, as declared.
    pub flags: u32,
    /// Whether programs may not write it (`.rodata`, `BPF_F_RDONLY_PROG`).
    pub read_only: bool,
    /// Whether it is shared by name with other objects (`LIBBPF_PIN_BY_NAME`). Others belong to their object.
    pub pinned: bool,
    /// For maps of maps, the index in [`ObjectImage::maps`] of the map that describes the inner ones.
    pub inner: Option<u32>,
    /// First contents of an array map of one entry (`.rodata`, `.data`); empty for zeros.
    pub initial: Vec<u8>,
    /// Description of the key's type for people, encoded by the host. The guest keeps it as bytes.
    pub key_type: Vec<u8>,
    /// As [`MapSpec::key_type`], of the value.
    pub value_type: Vec<u8>,
}
