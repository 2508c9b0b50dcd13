//! The maps of the guest: which there are, who shares them, how long they live.
//!
//! A map lives while a program uses it or it is pinned. Programs of other objects reach it only by the name of its pin,
//! and only if they declare it alike.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use critical_section::Mutex;
use uio_bpf::map::Map;
use uio_protocol::bpf::{MapSpec, ObjectImage};
use uio_protocol::error::RpcError;
use uio_protocol::limits::{BPF_MAPS_MAX, BPF_MAPS_PER_OBJECT_MAX, BPF_NAME_BYTES_MAX, BPF_TYPE_BYTES_MAX};
use uio_protocol::maps::{MapError, MapId, SchemaField};
use uio_protocol::programs::ProgramError;

use super::program::Program;
use crate::table::Table;
use crate::upload::limit;

/// A map with its number.
pub(crate) struct MapSlot {
    // First: it refers to the programs below.
    pub(crate) map: Arc<Map>,
    pub(crate) id: MapId,
    /// For tail calls: the programs that it refers to, by index. Only the overlay thread looks at them.
    held: Mutex<RefCell<Table<u32, Arc<Program>>>>,
}

impl MapSlot {
    /// Number of the program at a key of a program array.
    pub(crate) fn held(&self, key: &[u8]) -> Option<u32> {
        let index = u32::from_le_bytes(key.try_into().ok()?);
        critical_section::with(|section| {
            self.held.borrow_ref(section).get(&index).map(|program| program.id.0)
        })
    }

    /// Notes which program is at an index; the one that was there.
    pub(crate) fn hold(&self, index: u32, program: Option<Arc<Program>>) -> Option<Arc<Program>> {
        critical_section::with(|section| {
            let mut held = self.held.borrow_ref_mut(section);
            let old = held.remove(&index);
            if let Some(program) = program {
                held.insert(index, program);
            }
            old
        })
    }

    /// Whether it refers to a program.
    pub(crate) fn holds(&self, program: &Arc<Program>) -> bool {
        critical_section::with(|section| {
            self.held.borrow_ref(section).iter().any(|(_, held)| Arc::ptr_eq(held, program))
        })
    }
}

/// A map in the books.
pub(crate) struct Entry {
    pub(crate) slot: Arc<MapSlot>,
    /// Name of its pin.
    pub(crate) pinned: Option<String>,
}

/// All maps that can be asked for.
#[derive(Default)]
pub(crate) struct Maps {
    entries: Table<MapId, Entry>,
    last_id: u32,
}

/// Maps of an object that is being loaded, in its order. Nothing is in the books yet.
pub(crate) struct Bound {
    pub(crate) slots: Vec<Arc<MapSlot>>,
    /// Those that were made for it.
    new: Vec<Entry>,
}

impl Bound {
    /// Drops from what is to be entered all maps but pinned ones: for an object that is gone after one run.
    pub(crate) fn keep_pinned_only(&mut self) {
        self.new.retain(|entry| entry.pinned.is_some());
    }
}

impl Maps {
    /// Finds or makes the maps of an object.
    pub(crate) fn bind(&mut self, object: &ObjectImage, seed: impl Fn() -> u64) -> Result<Bound, RpcError> {
        limit("maps of an object", BPF_MAPS_PER_OBJECT_MAX, object.maps.len())?;
        let mut bound = Bound { slots: Vec::new(), new: Vec::new() };
        for spec in &object.maps {
            limit("bytes of a map's name", BPF_NAME_BYTES_MAX, spec.name.len())?;
            limit("bytes of a type's description", BPF_TYPE_BYTES_MAX, spec.key_type.len())?;
            limit("bytes of a type's description", BPF_TYPE_BYTES_MAX, spec.value_type.len())?;
            let inner = match spec.inner {
                None => None,
                Some(index) => Some(object.maps.get(index as usize).ok_or_else(|| bad_inner(spec, index))?),
            };
            // Of two in one object the first counts, as if the objects had come one after the other.
            let shared = spec.pinned.then(|| {
                let made = bound.new.iter().find(|entry| entry.pinned.as_deref() == Some(&spec.name));
                made.or_else(|| self.pinned(&spec.name))
            });
            if let Some(entry) = shared.flatten() {
                same_schema(&entry.slot, spec, inner)?;
                let slot = entry.slot.clone();
                bound.slots.push(slot);
                continue;
            }
            limit("maps", BPF_MAPS_MAX, self.entries.len() + bound.new.len() + 1)?;
            let map = Map::new(spec, inner, seed()).map_err(|error| bad_map(spec, error))?;
            let pinned = spec.pinned.then(|| spec.name.clone());
            let slot = Arc::new(MapSlot { map, id: self.new_id(), held: Mutex::new(RefCell::default()) });
            bound.slots.push(slot.clone());
            bound.new.push(Entry { slot, pinned });
        }
        Ok(bound)
    }

    /// Enters the maps that were made for an object.
    pub(crate) fn commit(&mut self, bound: Bound) {
        for entry in bound.new {
            self.entries.insert(entry.slot.id, entry);
        }
    }

    /// Drops maps that nobody uses and nobody pinned.
    pub(crate) fn sweep(&mut self) {
        // A map that goes may free an inner one.
        loop {
            let before = self.entries.len();
            self.entries.retain(|entry| {
                let used = Arc::strong_count(&entry.slot) > 1 || Arc::strong_count(&entry.slot.map) > 1;
                entry.pinned.is_some() || used
            });
            if self.entries.len() == before {
                return;
            }
        }
    }

    pub(crate) fn get(&self, id: MapId) -> Result<&Entry, RpcError> {
        self.entries.get(&id).ok_or(RpcError::NoMap(id))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Pins a map.
    pub(crate) fn pin(&mut self, id: MapId, name: &str) -> Result<(), RpcError> {
        limit("bytes of a map's name", BPF_NAME_BYTES_MAX, name.len())?;
        let name =
            if name.is_empty() { self.get(id)?.slot.map.spec().name.clone() } else { name.to_string() };
        if let Some(other) = self.pinned(&name).filter(|other| other.slot.id != id) {
            return Err(RpcError::Map(MapError::NameTaken(other.slot.id)));
        }
        self.entries.get_mut(&id).ok_or(RpcError::NoMap(id))?.pinned = Some(name);
        Ok(())
    }

    /// Undoes a pin; drops the map if nobody uses it.
    pub(crate) fn unpin(&mut self, id: MapId) -> Result<(), RpcError> {
        let entry = self.entries.get_mut(&id).ok_or(RpcError::NoMap(id))?;
        entry.pinned.take().ok_or(RpcError::Map(MapError::NotPinned))?;
        self.sweep();
        Ok(())
    }

    fn pinned(&self, name: &str) -> Option<&Entry> {
        self.iter().find(|entry| entry.pinned.as_deref() == Some(name))
    }

    fn new_id(&mut self) -> MapId {
        self.last_id += 1;
        MapId(self.last_id)
    }
}

fn bad_inner(spec: &MapSpec, index: u32) -> RpcError {
    let reason = alloc::format!("its inner map has index {index}, which the object has not");
    RpcError::Program(ProgramError::BadMap { map: spec.name.clone(), reason })
}

fn bad_map(spec: &MapSpec, error: uio_bpf::map::MapError) -> RpcError {
    match error {
        uio_bpf::map::MapError::Memory { bytes } => RpcError::OutOfMemory { bytes },
        error => {
            RpcError::Program(ProgramError::BadMap { map: spec.name.clone(), reason: error.to_string() })
        }
    }
}

/// Refuses a declaration that differs from the map that is pinned under its name.
fn same_schema(slot: &MapSlot, spec: &MapSpec, inner: Option<&MapSpec>) -> Result<(), RpcError> {
    if slot.map.matches(spec, inner) {
        return Ok(());
    }
    let pinned = slot.map.spec();
    let numbers = [
        (SchemaField::Kind, pinned.kind as u64, spec.kind as u64),
        (SchemaField::KeyBytes, pinned.key_bytes.into(), spec.key_bytes.into()),
        (SchemaField::ValueBytes, pinned.value_bytes.into(), spec.value_bytes.into()),
        (SchemaField::MaxEntries, pinned.max_entries.into(), spec.max_entries.into()),
        (SchemaField::Flags, pinned.flags.into(), spec.flags.into()),
        (SchemaField::ReadOnly, pinned.read_only.into(), spec.read_only.into()),
    ];
    let differs = numbers.into_iter().find(|(_, pinned, declared)| pinned != declared);
    let other = [
        (SchemaField::KeyType, pinned.key_type == spec.key_type),
        (SchemaField::ValueType, pinned.value_type == spec.value_type),
        (SchemaField::Contents, uio_bpf::map::is_constant(spec)),
    ];
    let other = other.into_iter().find(|(_, same)| !same).map_or(SchemaField::Inner, |(field, _)| field);
    let (field, pinned, declared) = differs.unwrap_or((other, 0, 0));
    let map = spec.name.clone();
    Err(RpcError::Program(ProgramError::MapMismatch { map, id: slot.id, field, pinned, declared }))
}
