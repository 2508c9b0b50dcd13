//! Maps of maps, and program arrays.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use uio_protocol::bpf::{MapKind, MapSpec, ProgramKind};

use super::{entries, map, spec};
use crate::instruction;
use crate::map::{AccessError, Map, MapError, flags};
use crate::program::{Executable, Parts, Program};

fn inner(name: &str, entries: u32) -> Arc<Map> {
    let spec = MapSpec { name: name.to_string(), ..spec(MapKind::Hash, 4, 8, entries) };
    Map::new(&spec, None, 0).unwrap()
}

fn found(map: &Map, key: &[u8]) -> *const Map {
    // SAFETY: the tests give keys of the map's size.
    unsafe { map.find(key.as_ptr()) }.cast::<Map>().cast_const()
}

#[test]
fn maps_of_maps_give_inner_maps() {
    let description = spec(MapKind::Hash, 4, 8, 10);
    for (kind, key) in [(MapKind::ArrayOfMaps, &b"\x01\0\0\0"[..]), (MapKind::HashOfMaps, &b"tenant"[..])] {
        let outer = Map::new(&spec(kind, key.len() as u32, 4, 4), Some(&description), 3).unwrap();
        let (first, second) = (inner("first", 10), inner("second", 20));
        assert!(found(&outer, key).is_null());
        assert_eq!(outer.inner_map(key).err(), Some(AccessError::NotFound));
        assert!(!outer.set_map(key, Some(first.clone())).unwrap().is_some());
        assert_eq!(found(&outer, key), Arc::as_ptr(&first));
        let replaced = outer.set_map(key, Some(second.clone())).unwrap();
        assert_eq!(Arc::strong_count(&first), 2, "held for programs that still use it");
        // SAFETY: no program runs.
        let released = unsafe { replaced.release() }.unwrap();
        assert!(Arc::ptr_eq(&released, &first));
        assert!(Arc::ptr_eq(&outer.inner_map(key).unwrap(), &second));
        assert_eq!(entries(&outer, 10), [(key.to_vec(), b"second".to_vec())]);
        assert_eq!(outer.entry_count(), 1);
        let removed = outer.set_map(key, None).unwrap();
        assert!(found(&outer, key).is_null());
        drop(removed);
        assert_eq!(Arc::strong_count(&second), 2, "what is not released stays");
        drop(outer.set_map(key, Some(first.clone())).unwrap());
        drop(released);
        drop(outer);
        assert_eq!(Arc::strong_count(&first), 1, "the outer map lets go of what it holds");
    }
}

#[test]
fn inner_maps_fit_their_description() {
    let description = spec(MapKind::Array, 4, 8, 10);
    let outer = Map::new(&spec(MapKind::ArrayOfMaps, 4, 4, 1), Some(&description), 0).unwrap();
    for other in [
        spec(MapKind::Array, 4, 4, 10),
        spec(MapKind::Array, 4, 8, 11),
        spec(MapKind::Hash, 4, 8, 10),
        MapSpec { read_only: true, ..description.clone() },
    ] {
        let other = Map::new(&other, None, 0).unwrap();
        assert_eq!(outer.set_map(&[0; 4], Some(other)).err(), Some(AccessError::Mismatch));
    }
    let plain = map(MapKind::Array, 4, 8, 10);
    assert!(outer.set_map(&[0; 4], Some(plain.clone())).is_ok());
    assert_eq!(plain.set_map(&[0; 4], None).err(), Some(AccessError::Invalid));
    assert_eq!(outer.set_map(&[1; 4], Some(plain)).err(), Some(AccessError::Full));
    let any = MapSpec { flags: flags::INNER_MAP, ..description.clone() };
    let outer = Map::new(&spec(MapKind::ArrayOfMaps, 4, 4, 1), Some(&any), 0).unwrap();
    let larger = Map::new(&MapSpec { max_entries: 11, ..any }, None, 0).unwrap();
    assert!(outer.set_map(&[0; 4], Some(larger)).is_ok());
    let nested = spec(MapKind::ArrayOfMaps, 4, 4, 1);
    assert_eq!(Map::new(&nested, Some(&nested), 0).err(), Some(MapError::Inner));
    assert_eq!(Map::new(&description, Some(&nested), 0).err(), Some(MapError::Inner));
}

pub(crate) fn program(kind: ProgramKind) -> Arc<Program> {
    // `exit`.
    let operations = instruction::decode(&[0x95]).unwrap();
    let parts = Parts {
        kind,
        operations,
        functions: std::vec![0],
        maps: Vec::new(),
        helpers: crate::helper::FUNCTIONS,
        fuelled: Vec::new(),
    };
    Arc::new(Program::interpreted(Executable::new(parts).unwrap()))
}

#[test]
fn program_arrays_hold_programs() {
    let map = map(MapKind::ProgArray, 4, 4, 2);
    assert!(map.program(0).is_null());
    let program = program(ProgramKind::Packet);
    assert!(map.set_program(1, Some(program.clone())).is_ok());
    assert_eq!(map.program(1), Arc::as_ptr(&program));
    assert!(map.program(2).is_null());
    assert_eq!(map.set_program(2, Some(program.clone())).err(), Some(AccessError::Full));
    assert_eq!(map.entry_count(), 1);
    assert_eq!(entries(&map, 5), [(1u32.to_le_bytes().to_vec(), Vec::new())]);
    let cleared = map.set_program(1, None).unwrap();
    assert!(map.program(1).is_null());
    // SAFETY: no program runs.
    drop(unsafe { cleared.release() });
    assert_eq!(Arc::strong_count(&program), 1);
    assert_eq!(super::map(MapKind::Array, 4, 4, 1).set_program(0, None).err(), Some(AccessError::Invalid));
}
