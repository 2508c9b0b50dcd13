//! Why maps are not made, and why operations on them fail.

use core::fmt;

use uio_protocol::bpf::MapKind;

/// Why there is no map of this description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Keys of this size do not exist for this kind.
    KeyBytes {
        /// Kind asked for.
        kind: MapKind,
        /// Size asked for.
        bytes: u32,
    },
    /// Values of this size do not exist for this kind.
    ValueBytes {
        /// Kind asked for.
        kind: MapKind,
        /// Size asked for.
        bytes: u32,
    },
    /// This kind cannot have so many entries; a ring buffer takes a power of two of at least a page.
    Entries {
        /// Kind asked for.
        kind: MapKind,
        /// Number asked for.
        entries: u32,
    },
    /// Flags that have no meaning here.
    Flags(u32),
    /// The name is longer than `limits::BPF_NAME_BYTES_MAX`.
    Name {
        /// Its length.
        bytes: usize,
    },
    /// First contents for a map that is no array of one entry, or of another size than its value.
    Initial {
        /// Their size.
        bytes: usize,
    },
    /// A map of maps without a description of the inner ones, one of others with it, or inner maps of maps.
    Inner,
    /// More than `limits::BPF_MAP_BYTES_MAX`.
    TooLarge {
        /// What it would take.
        bytes: u64,
    },
    /// The machine has no room for it.
    Memory {
        /// What it would take.
        bytes: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::KeyBytes { kind, bytes } => {
                write!(formatter, "{} maps have no keys of {bytes} bytes", kind.name())
            }
            Self::ValueBytes { kind, bytes } => {
                write!(formatter, "{} maps have no values of {bytes} bytes", kind.name())
            }
            Self::Entries { kind, entries } => {
                write!(formatter, "{} maps cannot have {entries} entries", kind.name())
            }
            Self::Flags(flags) => write!(formatter, "map flags {flags:#x} are not supported"),
            Self::Name { bytes } => write!(formatter, "a map's name of {bytes} bytes is too long"),
            Self::Initial { bytes } => {
                write!(formatter, "{bytes} bytes of first contents do not fit the map")
            }
            Self::Inner => formatter.write_str("a map of maps needs one description of plain inner maps"),
            Self::TooLarge { bytes } => {
                write!(formatter, "the map would take {bytes} bytes, more than allowed")
            }
            Self::Memory { bytes } => write!(formatter, "no room for the map's {bytes} bytes"),
        }
    }
}

impl core::error::Error for MapError {}

/// Why an operation on a map failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// No such key; or the queue, stack or slot is empty.
    NotFound,
    /// The key exists already, and the flags ask for a new one.
    Exists,
    /// No room for another entry, or an index past the end.
    Full,
    /// This kind of map has no such operation, or no such flags.
    Invalid,
    /// Interrupted an update of the same map. Nothing was changed; another try later succeeds.
    Busy,
    /// The map is not for writing.
    ReadOnly,
    /// A key or value of the wrong size.
    Size {
        /// What the map has.
        expected: u32,
        /// What was given.
        given: usize,
    },
    /// The inner map or the program does not fit the others.
    Mismatch,
}

impl AccessError {
    /// Linux's error number, as helpers return it: negative.
    #[must_use]
    pub const fn errno(self) -> i64 {
        match self {
            Self::NotFound => -2,
            Self::Exists => -17,
            Self::Full => -7,
            Self::Invalid | Self::Size { .. } | Self::Mismatch => -22,
            Self::Busy => -16,
            Self::ReadOnly => -1,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotFound => formatter.write_str("no such entry"),
            Self::Exists => formatter.write_str("the key exists already"),
            Self::Full => formatter.write_str("no room for another entry"),
            Self::Invalid => formatter.write_str("this kind of map cannot do that"),
            Self::Busy => formatter.write_str("the map is being changed, try again"),
            Self::ReadOnly => formatter.write_str("the map is read-only"),
            Self::Size { expected, given } => {
                write!(formatter, "{given} bytes given, the map has {expected}")
            }
            Self::Mismatch => formatter.write_str("it does not fit the map's description"),
        }
    }
}

impl core::error::Error for AccessError {}
