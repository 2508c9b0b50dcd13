//! Maps: memory of fixed size that programs share with each other and with the shell.
//!
//! All memory of a map is reserved when it is made. It lives as long as its last `Arc`: each program that uses it
//! holds one, and whoever keeps its values over a program's replacement holds another.
//!
//! # Who may do what at the same time
//!
//! There is one processor; a timer, a probe or another thread may interrupt anything here. Lookups take no lock and
//! see the map before or after a change. Changes of keys take a lock of the map; who finds it taken gets
//! [`AccessError::Busy`] and never waits. So that programs do not meet a lock held by a preempted thread, the guest
//! makes its own changes, each of them short, without preemption. Values are written in place, word by word: a
//! program that is interrupted while it reads one may see it half changed.
//!
//! Programs hold addresses of values across changes. These stay inside the map's values: an entry that was deleted
//! is given to another key, but its memory is not freed before the map.

pub(crate) mod access;
mod array;
mod error;
mod hash;
mod hasher;
mod lock;
mod lpm;
mod page;
mod queue;
mod references;
mod ring;
mod schema;
mod shell;
mod storage;
#[cfg(test)]
pub(crate) mod tests;

use alloc::sync::Arc;

use uio_protocol::bpf::{MapKind, MapSpec};

pub use error::{AccessError, MapError};
pub use page::{Entry, PAGE_SLOTS_MAX, Page};
pub use references::Retired;
pub use ring::RingState;
pub use schema::{flags, is_constant, is_read_only};

use crate::program::{ArrayLayout, HelperFunction, MapBinding, Program};
use array::Array;
use hash::{Hash, KeyClass};
use lpm::Lpm;
use queue::Queue;
use references::References;
use ring::Ring;

/// Whether an update makes an entry, changes one, or either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFlags {
    /// Either.
    Any,
    /// Only makes one.
    NoExist,
    /// Only changes one.
    Exist,
}

impl UpdateFlags {
    /// From Linux's numbers, `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Any),
            1 => Some(Self::NoExist),
            2 => Some(Self::Exist),
            _ => None,
        }
    }
}

/// A map. Its address, with its `Arc` held, is what programs name it by.
pub struct Map {
    body: Body,
    spec: MapSpec,
    /// For maps of maps: what the inner ones are like.
    inner: Option<MapSpec>,
}

enum Body {
    Array(Array),
    Hash(Hash),
    Lpm(Lpm),
    Queue(Queue),
    Ring(Ring),
    Programs(References<Program>),
    /// Array of maps.
    Maps(References<Map>),
    /// Hash of maps: each value is a word, the address from `Arc::into_raw`.
    HashedMaps(Hash),
}

/// Bytes of the stored values of a hash of maps.
const MAP_ADDRESS_BYTES: u32 = 8;

impl Map {
    /// A map as `spec` says; `inner` describes the inner ones if it holds maps. `seed` is random: it keeps those who
    /// choose keys from choosing colliding ones.
    ///
    /// # Errors
    ///
    /// [`MapError`] for what cannot be, or has no room.
    pub fn new(spec: &MapSpec, inner: Option<&MapSpec>, seed: u64) -> Result<Arc<Self>, MapError> {
        schema::check(spec, inner)?;
        let (key, value, entries) = (spec.key_bytes, spec.value_bytes, spec.max_entries);
        let body = match spec.kind {
            MapKind::Array | MapKind::PerCpuArray => Body::Array(Array::new(value, entries)?),
            MapKind::Hash | MapKind::PerCpuHash => Body::Hash(Hash::new(key, value, entries, false, seed)?),
            MapKind::LruHash | MapKind::LruPerCpuHash => {
                Body::Hash(Hash::new(key, value, entries, true, seed)?)
            }
            MapKind::LpmTrie => Body::Lpm(Lpm::new(key, value, entries)?),
            MapKind::Queue => Body::Queue(Queue::new(value, entries, false)?),
            MapKind::Stack => Body::Queue(Queue::new(value, entries, true)?),
            MapKind::RingBuffer => Body::Ring(Ring::new(entries)?),
            MapKind::ProgArray => Body::Programs(References::new(entries)?),
            MapKind::ArrayOfMaps => Body::Maps(References::new(entries)?),
            MapKind::HashOfMaps => Body::HashedMaps(Hash::new(key, MAP_ADDRESS_BYTES, entries, false, seed)?),
        };
        if let (Body::Array(array), false) = (&body, spec.initial.is_empty()) {
            // SAFETY: `check` made sure that the contents have a value's size.
            let _ = unsafe { array.update(0, spec.initial.as_ptr(), UpdateFlags::Any) };
        }
        let inner = inner.map(schema::keep).transpose()?;
        Ok(Arc::new(Self { body, spec: schema::keep(spec)?, inner }))
    }

    /// Its description, without the first contents.
    #[must_use]
    pub const fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> MapKind {
        self.spec.kind
    }

    /// For maps of maps: what the inner ones are like.
    #[must_use]
    pub const fn inner_spec(&self) -> Option<&MapSpec> {
        self.inner.as_ref()
    }

    /// Bytes reserved for it.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        match &self.body {
            Body::Array(array) => array.bytes(),
            Body::Hash(hash) | Body::HashedMaps(hash) => hash.bytes(),
            Body::Lpm(trie) => trie.bytes(),
            Body::Queue(queue) => queue.bytes(),
            Body::Ring(ring) => ring.bytes(),
            Body::Programs(programs) => programs.bytes(),
            Body::Maps(maps) => maps.bytes(),
        }
    }

    /// Entries in use. All of an array's are; a ring buffer has none.
    #[must_use]
    pub fn entry_count(&self) -> u32 {
        match &self.body {
            Body::Array(array) => array.entries(),
            Body::Hash(hash) | Body::HashedMaps(hash) => hash.used(),
            Body::Lpm(trie) => trie.used(),
            Body::Queue(queue) => queue.used(),
            Body::Ring(_) => 0,
            Body::Programs(programs) => programs.used(),
            Body::Maps(maps) => maps.used(),
        }
    }

    /// Whether a program that was checked against `spec` (and `inner`) can use this map, and its values mean the
    /// same. The names may differ. Contents of constants have to be equal, as checks rely on them.
    #[must_use]
    pub fn matches(&self, spec: &MapSpec, inner: Option<&MapSpec>) -> bool {
        let inner_matches = match (&self.inner, inner) {
            (None, None) => true,
            (Some(own), Some(other)) => {
                schema::same_shape(own, other) && own.max_entries == other.max_entries
            }
            _ => false,
        };
        schema::same_shape(&self.spec, spec)
            && self.spec.max_entries == spec.max_entries
            && !schema::types_differ(&self.spec.key_type, &spec.key_type)
            && !schema::types_differ(&self.spec.value_type, &spec.value_type)
            && inner_matches
            && (!is_constant(spec) || self.holds(&spec.initial))
    }

    /// What loading this map gives a program, and helpers as their argument.
    #[must_use]
    pub fn address(&self) -> u64 {
        core::ptr::from_ref(self).expose_provenance() as u64
    }

    /// Where its values lie, if it is an array.
    #[must_use]
    pub fn array_layout(&self) -> Option<ArrayLayout> {
        match &self.body {
            Body::Array(array) => Some(array.layout()),
            _ => None,
        }
    }

    /// Address of the first value, if it is an array.
    #[must_use]
    pub fn value_base(&self) -> Option<*mut u8> {
        match &self.body {
            Body::Array(array) => Some(array.value(0)),
            _ => None,
        }
    }

    /// A function that does for this map what helper 1 does for any, and quicker. It may be called for this map only.
    #[must_use]
    pub const fn lookup_function(&self) -> HelperFunction {
        match &self.body {
            Body::Array(_) => access::lookup_array,
            Body::Hash(hash) => match hash.class() {
                KeyClass::Four => access::lookup_hash_4,
                KeyClass::Eight => access::lookup_hash_8,
                KeyClass::Sixteen => access::lookup_hash_16,
                KeyClass::Other => access::lookup_hash_other,
            },
            _ => access::lookup_any,
        }
    }

    /// How programs are bound to this map.
    #[must_use]
    pub fn binding(self: &Arc<Self>) -> MapBinding {
        MapBinding {
            address: self.address(),
            array: self.array_layout(),
            lookup: Some(self.lookup_function()),
            owner: Some(self.clone()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if let Body::HashedMaps(hash) = &self.body {
            for value in hash.live_values() {
                // SAFETY: the value of a live entry, and nobody uses this map any more.
                drop(unsafe { shell::take_map(value) });
            }
        }
    }
}
