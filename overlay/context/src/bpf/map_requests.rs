//! What each request about maps does.
//!
//! The overlay changes maps with interrupts off, as programs' helpers do: nobody ever meets a change half done.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use uio_bpf::map::{AccessError, UpdateFlags};
use uio_protocol::bpf::MapKind;
use uio_protocol::error::RpcError;
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::maps::{MapEntry, MapError, MapId, MapInfo};
use uio_protocol::programs::ProgramId;
use uio_protocol::rpc::{Reply, Request};

use super::maps::{Entry, MapSlot};
use crate::overlay::Overlay;
use crate::paging::page;
use crate::upload::limit;

/// Entries of one page.
const ENTRIES_MAX: usize = 4096;

/// Bytes of the values of maps that hold programs or maps: a number.
const REFERENCE_BYTES: usize = 4;

impl Overlay {
    /// Serves a request about maps.
    pub(crate) fn dispatch_maps(&mut self, request: Request) -> Result<Reply, RpcError> {
        let reply = match request {
            Request::Maps { skip } => {
                let infos: Vec<MapInfo> = self.bpf.maps.iter().map(|entry| self.map_info(entry)).collect();
                let (maps, more) = page(infos, skip);
                Reply::Maps { maps, more }
            }
            Request::MapTypes(map) => {
                let spec = self.bpf.maps.get(map)?.slot.map.spec();
                Reply::MapTypes { key: spec.key_type.clone(), value: spec.value_type.clone() }
            }
            Request::MapEntries { map, cursor } => self.map_entries(map, cursor)?,
            Request::MapLookup { map, key, offset } => {
                let value = self.map_lookup(map, &key)?;
                Reply::Bytes(value.into_iter().skip(offset as usize).take(CHUNK_BYTES_MAX).collect())
            }
            Request::MapUpdate { map, key, value, flags } => {
                self.map_update(map, &key, &value, flags)?;
                Reply::Done
            }
            Request::MapDelete { map, key } => {
                self.map_delete(map, &key)?;
                Reply::Done
            }
            Request::MapTake(map) => Reply::Bytes(self.map_take(map)?),
            Request::MapPin { map, name } => {
                self.bpf.maps.pin(map, &name)?;
                Reply::Done
            }
            Request::MapUnpin(map) => {
                self.bpf.maps.unpin(map)?;
                Reply::Done
            }
            _ => return Err(RpcError::Malformed),
        };
        Ok(reply)
    }

    fn map_info(&self, entry: &Entry) -> MapInfo {
        let map = &entry.slot.map;
        let spec = map.spec();
        let ring = map.ring_state();
        let users = self
            .bpf
            .programs
            .iter()
            .filter(|(_, program)| program.maps.iter().any(|used| used.id == entry.slot.id));
        MapInfo {
            id: entry.slot.id,
            name: spec.name.clone(),
            kind: spec.kind,
            key_bytes: spec.key_bytes,
            value_bytes: spec.value_bytes,
            max_entries: spec.max_entries,
            flags: spec.flags,
            read_only: uio_bpf::map::is_read_only(spec),
            pinned: entry.pinned.clone(),
            entries: ring.map_or_else(|| map.entry_count(), |ring| ring.available_bytes as u32),
            lost: ring.map_or(0, |ring| ring.lost),
            memory_bytes: map.memory_bytes(),
            programs: users.map(|(id, _)| id).collect(),
            typed: !spec.key_type.is_empty() || !spec.value_type.is_empty(),
        }
    }

    fn map_entries(&self, map: MapId, cursor: u32) -> Result<Reply, RpcError> {
        let slot = &self.bpf.maps.get(map)?.slot;
        let spec = slot.map.spec();
        // So that entries with what is written around them fit a frame.
        let most = (CHUNK_BYTES_MAX / (spec.key_bytes as usize + spec.value_bytes as usize + 8)).max(1);
        let page = exclusive(|| slot.map.page(cursor, most.min(ENTRIES_MAX), CHUNK_BYTES_MAX))?;
        let mut entries: Vec<MapEntry> =
            page.entries.into_iter().map(|entry| MapEntry { key: entry.key, value: entry.value }).collect();
        for entry in &mut entries {
            match spec.kind {
                MapKind::ProgArray => entry.value = slot.held(&entry.key).map_or(Vec::new(), number),
                MapKind::ArrayOfMaps | MapKind::HashOfMaps => {
                    entry.value = self.inner_id(slot, &entry.key).map_or(Vec::new(), |id| number(id.0));
                }
                _ => entry.value.truncate(CHUNK_BYTES_MAX),
            }
        }
        Ok(Reply::MapEntries { entries, next: page.next })
    }

    fn map_lookup(&self, map: MapId, key: &[u8]) -> Result<Vec<u8>, RpcError> {
        let slot = &self.bpf.maps.get(map)?.slot;
        let spec = slot.map.spec();
        check_key(slot, key)?;
        match spec.kind {
            MapKind::ProgArray => slot.held(key).map(number).ok_or(RpcError::Map(MapError::NoEntry)),
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => {
                self.inner_id(slot, key).map(|id| number(id.0)).ok_or(RpcError::Map(MapError::NoEntry))
            }
            MapKind::Queue | MapKind::Stack => {
                let mut value = vec![0; spec.value_bytes as usize];
                exclusive(|| slot.map.peek(&mut value))?;
                Ok(value)
            }
            _ => {
                let mut value = vec![0; spec.value_bytes as usize];
                exclusive(|| slot.map.lookup(key, &mut value))?;
                Ok(value)
            }
        }
    }

    fn map_update(&mut self, map: MapId, key: &[u8], value: &[u8], flags: u64) -> Result<(), RpcError> {
        limit("bytes of a value", CHUNK_BYTES_MAX, value.len())?;
        let slot = self.bpf.maps.get(map)?.slot.clone();
        let unsupported = RpcError::Map(MapError::Unsupported);
        let flags = UpdateFlags::from_number(flags).ok_or(unsupported)?;
        check_key(&slot, key)?;
        match slot.map.kind() {
            MapKind::ProgArray => self.set_program(&slot, key, Some(ProgramId(reference(value)?))),
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => {
                self.set_inner(&slot, key, Some(MapId(reference(value)?)))
            }
            MapKind::Queue | MapKind::Stack => exclusive(|| slot.map.push(value)),
            _ => exclusive(|| slot.map.update(key, value, flags)),
        }
    }

    fn map_delete(&mut self, map: MapId, key: &[u8]) -> Result<(), RpcError> {
        let slot = self.bpf.maps.get(map)?.slot.clone();
        check_key(&slot, key)?;
        match slot.map.kind() {
            MapKind::ProgArray => self.set_program(&slot, key, None),
            MapKind::ArrayOfMaps | MapKind::HashOfMaps => self.set_inner(&slot, key, None),
            _ => exclusive(|| slot.map.delete(key)),
        }
    }

    fn map_take(&self, map: MapId) -> Result<Vec<u8>, RpcError> {
        let slot = &self.bpf.maps.get(map)?.slot;
        if slot.map.kind() == MapKind::RingBuffer {
            let mut record = None;
            // One record, whatever its size: the second ends the walk.
            exclusive(|| {
                slot.map.drain(usize::MAX, |bytes| {
                    if record.is_some() {
                        return ControlFlow::Break(());
                    }
                    record = Some(bytes[..bytes.len().min(CHUNK_BYTES_MAX)].to_vec());
                    ControlFlow::Continue(())
                })
            })?;
            return record.ok_or(RpcError::Map(MapError::NoEntry));
        }
        let mut value = vec![0; slot.map.spec().value_bytes as usize];
        exclusive(|| slot.map.pop(&mut value))?;
        value.truncate(CHUNK_BYTES_MAX);
        Ok(value)
    }

    /// Sets or clears a program for tail calls. The old one lives on until no run may still be in it.
    fn set_program(
        &mut self,
        slot: &Arc<MapSlot>,
        key: &[u8],
        program: Option<ProgramId>,
    ) -> Result<(), RpcError> {
        let program = match program {
            None if slot.held(key).is_none() => return Err(RpcError::Map(MapError::NoEntry)),
            None => None,
            Some(id) => Some(self.find_program(id).map_err(|_| bad_reference("there is no such program"))?),
        };
        let index = u32::from_le_bytes(key.try_into().unwrap_or_default());
        let runnable = program.as_ref().map(|program| program.runnable.clone());
        let retired = exclusive(|| slot.map.set_program(index, runnable))?;
        let old = slot.hold(index, program);
        self.bpf.retire_program(retired, old);
        self.tidy_bpf();
        Ok(())
    }

    fn set_inner(&mut self, slot: &Arc<MapSlot>, key: &[u8], inner: Option<MapId>) -> Result<(), RpcError> {
        let inner = match inner {
            None => None,
            Some(id) => {
                let entry = self.bpf.maps.get(id).map_err(|_| bad_reference("there is no such map"))?;
                Some(entry.slot.map.clone())
            }
        };
        let retired = exclusive(|| slot.map.set_map(key, inner))?;
        self.bpf.retire_map(retired);
        self.tidy_bpf();
        Ok(())
    }

    /// Number of the inner map of a key.
    fn inner_id(&self, slot: &MapSlot, key: &[u8]) -> Option<MapId> {
        let inner = critical_section::with(|_| slot.map.inner_map(key)).ok()?;
        self.bpf.maps.iter().find(|entry| Arc::ptr_eq(&entry.slot.map, &inner)).map(|entry| entry.slot.id)
    }
}

/// An access with interrupts off.
fn exclusive<R>(access: impl FnOnce() -> Result<R, AccessError>) -> Result<R, RpcError> {
    critical_section::with(|_| access()).map_err(|error| RpcError::Map(access_error(error)))
}

fn access_error(error: AccessError) -> MapError {
    match error {
        AccessError::NotFound => MapError::NoEntry,
        AccessError::Exists => MapError::EntryExists,
        AccessError::Full => MapError::Full,
        AccessError::Invalid => MapError::Unsupported,
        AccessError::Busy => MapError::Busy,
        AccessError::ReadOnly => MapError::ReadOnly,
        AccessError::Size { expected, given } => MapError::ValueSize { expected, got: given as u32 },
        AccessError::Mismatch => {
            MapError::BadReference { reason: "it is not like the map's inner maps".to_string() }
        }
    }
}

fn check_key(slot: &MapSlot, key: &[u8]) -> Result<(), RpcError> {
    let expected = slot.map.spec().key_bytes;
    if key.len() != expected as usize {
        return Err(RpcError::Map(MapError::KeySize { expected, got: key.len() as u32 }));
    }
    Ok(())
}

/// The number that a value of a map of references holds.
fn reference(value: &[u8]) -> Result<u32, RpcError> {
    let got = value.len() as u32;
    let bytes = value
        .try_into()
        .map_err(|_| RpcError::Map(MapError::ValueSize { expected: REFERENCE_BYTES as u32, got }))?;
    Ok(u32::from_le_bytes(bytes))
}

fn number(id: u32) -> Vec<u8> {
    id.to_le_bytes().to_vec()
}

fn bad_reference(reason: &str) -> RpcError {
    RpcError::Map(MapError::BadReference { reason: String::from(reason) })
}
