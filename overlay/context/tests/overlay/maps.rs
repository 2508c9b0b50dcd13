//! eBPF maps: shared by name and schema, kept over programs' replacement, read and written by the shell.

use uio_protocol::bpf::{MapKind, MapSpec, ProgramKind};
use uio_protocol::error::RpcError;
use uio_protocol::maps::{MapError, MapId, SchemaField};
use uio_protocol::programs::ProgramError;
use uio_protocol::rpc::{Reply, Request};

use crate::support::bpf::{
    EXIT, PASS, SESSION, ZERO, call, count, key_on_stack, load_map, map, object, program,
};
use crate::support::{Shell, with_machine};

const RAW: ProgramKind = ProgramKind::Raw { memory_bytes: 16 };

fn failed(error: MapError) -> RpcError {
    RpcError::Map(error)
}

/// Loads a program that does nothing, with these maps.
fn with_maps(shell: &mut Shell, maps: Vec<MapSpec>) -> Vec<MapId> {
    // Programs keep the maps that they name: loads of their addresses.
    let mut slots: Vec<u64> = (0..maps.len() as u32).flat_map(|index| load_map(1, index)).collect();
    slots.extend([ZERO, EXIT]);
    let info = shell.load_programs(&object(maps, vec![program("user", RAW, &slots)]), true).remove(0);
    info.maps
}

#[test]
fn values_survive_a_program_s_replacement() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let counting = |pinned| {
            object(vec![map("counts", MapKind::Array, 1, pinned)], vec![program("count", RAW, &count())])
        };
        for interpret in [false, true] {
            let first = shell.load_programs(&counting(true), interpret).remove(0);
            let start = shell.test(first.id, &[], 1).value;
            assert_eq!(shell.test(first.id, &[], 10).value, start + 10);
            // Beside each other they count together.
            let second = shell.load_programs(&counting(true), !interpret).remove(0);
            assert_eq!(second.maps, first.maps);
            shell.unload_program(first.id).unwrap();
            assert_eq!(shell.test(second.id, &[], 1).value, start + 11);
            shell.unload_program(second.id).unwrap();
            let maps = shell.maps();
            assert_eq!((maps.len(), maps[0].pinned.as_deref()), (1, Some("counts")));
            assert_eq!(maps[0].programs, []);
            // One of their own is another map, and goes with its program.
            let own = shell.load_programs(&counting(false), interpret).remove(0);
            assert_eq!(shell.test(own.id, &[], 1).value, 0);
            assert_eq!(shell.maps().len(), 2);
            shell.unload_program(own.id).unwrap();
            assert_eq!(shell.maps().len(), 1);
        }
    });
}

#[test]
fn another_schema_is_refused() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let first = map("counts", MapKind::Hash, 16, true);
        let id = with_maps(shell, vec![MapSpec { value_type: vec![1], ..first.clone() }])[0];
        let others = [
            (MapSpec { kind: MapKind::LruHash, ..first.clone() }, SchemaField::Kind, (1, 9)),
            (MapSpec { key_bytes: 8, ..first.clone() }, SchemaField::KeyBytes, (4, 8)),
            (MapSpec { value_bytes: 16, ..first.clone() }, SchemaField::ValueBytes, (8, 16)),
            (MapSpec { max_entries: 17, ..first.clone() }, SchemaField::MaxEntries, (16, 17)),
            (MapSpec { value_type: vec![2], ..first.clone() }, SchemaField::ValueType, (0, 0)),
        ];
        for (spec, field, (pinned, declared)) in others {
            let object = object(vec![spec], vec![program("other", RAW, &PASS)]);
            let expected =
                ProgramError::MapMismatch { map: "counts".to_string(), id, field, pinned, declared };
            assert_eq!(shell.try_programs(&object, true), Err(RpcError::Program(expected)));
        }
        // An object without descriptions of types does not contradict.
        assert_eq!(with_maps(shell, vec![first]), [id]);
        assert_eq!((shell.programs().len(), shell.maps().len()), (2, 1));
    });
}

#[test]
fn entries_are_read_and_written() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let id = with_maps(shell, vec![map("table", MapKind::Hash, 3, false)])[0];
        let (key, value) = (|n: u32| n.to_le_bytes(), |n: u64| n.to_le_bytes());
        assert_eq!(shell.map_lookup(id, &key(1)), Err(failed(MapError::NoEntry)));
        for n in 0..3 {
            assert_eq!(shell.map_update(id, &key(n), &value(u64::from(n) * 10), 1), Ok(Reply::Done));
        }
        assert_eq!(shell.map_update(id, &key(1), &value(11), 1), Err(failed(MapError::EntryExists)));
        assert_eq!(shell.map_update(id, &key(1), &value(11), 2), Ok(Reply::Done));
        assert_eq!(shell.map_update(id, &key(9), &value(0), 2), Err(failed(MapError::NoEntry)));
        assert_eq!(shell.map_update(id, &key(9), &value(0), 0), Err(failed(MapError::Full)));
        assert_eq!(shell.map_update(id, &key(1), &value(0), 77), Err(failed(MapError::Unsupported)));
        assert_eq!(shell.map_lookup(id, &key(1)), Ok(value(11).to_vec()));
        assert_eq!(shell.maps()[0].entries, 3);
        let mut entries: Vec<_> =
            shell.map_entries(id).into_iter().map(|entry| (entry.key[0], entry.value[0])).collect();
        entries.sort_unstable();
        assert_eq!(entries, [(0, 0), (1, 11), (2, 20)]);
        assert_eq!(shell.map_delete(id, &key(1)), Ok(Reply::Done));
        assert_eq!(shell.map_delete(id, &key(1)), Err(failed(MapError::NoEntry)));
        assert_eq!(shell.map_lookup(id, &[1, 2]), Err(failed(MapError::KeySize { expected: 4, got: 2 })));
        assert_eq!(
            shell.map_update(id, &key(1), &[1], 0),
            Err(failed(MapError::ValueSize { expected: 8, got: 1 }))
        );
        assert_eq!(shell.map_lookup(MapId(99), &key(1)), Err(RpcError::NoMap(MapId(99))));
    });
}

#[test]
fn large_maps_and_values_come_in_pieces() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let large = MapSpec { value_bytes: 100_000, ..map("large", MapKind::Array, 2, false) };
        let many = map("many", MapKind::Hash, 10_000, false);
        let ids = with_maps(shell, vec![large, many]);
        let entries = shell.map_entries(ids[0]);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].value.len(), 32 * 1024, "cut");
        let mut read = 0;
        loop {
            let request = Request::MapLookup { map: ids[0], key: vec![1, 0, 0, 0], offset: read };
            match shell.ask(SESSION, &request) {
                Ok(Reply::Bytes(bytes)) if bytes.is_empty() => break,
                Ok(Reply::Bytes(bytes)) => read += bytes.len() as u32,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(read, 100_000);
        for n in 0..5000_u32 {
            shell.map_update(ids[1], &n.to_le_bytes(), &[7; 8], 0).unwrap();
        }
        let mut keys: Vec<Vec<u8>> = shell.map_entries(ids[1]).into_iter().map(|entry| entry.key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5000);
    });
}

#[test]
fn queues_and_ring_buffers_are_emptied() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let queue = MapSpec { key_bytes: 0, ..map("queue", MapKind::Queue, 2, false) };
        let stack = MapSpec { key_bytes: 0, ..map("stack", MapKind::Stack, 2, false) };
        let ids = with_maps(shell, vec![queue, stack]);
        for (id, first) in [(ids[0], 1), (ids[1], 2)] {
            let take = Request::MapTake(id);
            assert_eq!(shell.ask(SESSION, &take), Err(failed(MapError::NoEntry)));
            for n in [1, 2] {
                assert_eq!(shell.map_update(id, &[], &[n; 8], 0), Ok(Reply::Done));
            }
            assert_eq!(shell.map_update(id, &[], &[3; 8], 0), Err(failed(MapError::Full)));
            assert_eq!(shell.map_lookup(id, &[]), Ok(vec![first; 8]));
            assert_eq!(shell.map_entries(id).len(), 2);
            assert_eq!(shell.ask(SESSION, &take), Ok(Reply::Bytes(vec![first; 8])));
            assert_eq!(shell.ask(SESSION, &take), Ok(Reply::Bytes(vec![3 - first; 8])));
            assert_eq!(shell.ask(SESSION, &take), Err(failed(MapError::NoEntry)));
        }
        // The program gives its key on the stack to the ring: r1 = map 0; r2 = r10 - 4; r3 = 4; r4 = 0; call 130
        let mut slots = load_map(1, 0).to_vec();
        slots.extend(key_on_stack(0x0403_0201));
        slots.extend([0x0000_0004_0000_03b7, 0x0000_0000_0000_04b7, call(130), EXIT]);
        let ring =
            MapSpec { key_bytes: 0, value_bytes: 0, ..map("events", MapKind::RingBuffer, 4096, false) };
        for interpret in [false, true] {
            let object = object(vec![ring.clone()], vec![program("events", RAW, &slots)]);
            let info = shell.load_programs(&object, interpret).remove(0);
            assert_eq!(shell.test(info.id, &[], 2).value, 0);
            let id = info.maps[0];
            let state = shell.maps().into_iter().find(|map| map.id == id).expect("the ring");
            assert!(state.entries >= 2 * 4, "{state:?}");
            for _ in 0..2 {
                assert_eq!(shell.ask(SESSION, &Request::MapTake(id)), Ok(Reply::Bytes(vec![1, 2, 3, 4])));
            }
            assert_eq!(shell.ask(SESSION, &Request::MapTake(id)), Err(failed(MapError::NoEntry)));
        }
    });
}

#[test]
fn maps_hold_maps() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let inner = map("inner", MapKind::Hash, 8, false);
        let outer = MapSpec { value_bytes: 4, inner: Some(0), ..map("outer", MapKind::HashOfMaps, 4, true) };
        let other = map("other", MapKind::Array, 8, false);
        let ids = with_maps(shell, vec![inner, outer, other]);
        let key = [1, 0, 0, 0];
        assert_eq!(shell.map_update(ids[1], &key, &ids[0].0.to_le_bytes(), 0), Ok(Reply::Done));
        assert_eq!(shell.map_lookup(ids[1], &key), Ok(ids[0].0.to_le_bytes().to_vec()));
        let refused = shell.map_update(ids[1], &key, &ids[2].0.to_le_bytes(), 0);
        assert!(matches!(refused, Err(RpcError::Map(MapError::BadReference { .. }))), "{refused:?}");
        let refused = shell.map_update(ids[1], &key, &99_u32.to_le_bytes(), 0);
        assert!(matches!(refused, Err(RpcError::Map(MapError::BadReference { .. }))), "{refused:?}");
        // The outer map is pinned and keeps the inner one.
        let program = shell.programs()[0].id;
        shell.unload_program(program).unwrap();
        let names =
            |shell: &mut Shell| -> Vec<String> { shell.maps().into_iter().map(|map| map.name).collect() };
        assert_eq!(names(shell), ["inner", "outer"]);
        assert_eq!(shell.ask(SESSION, &Request::MapUnpin(ids[1])), Ok(Reply::Done));
        assert_eq!(names(shell), Vec::<String>::new());
    });
}

#[test]
fn pins_are_set_and_taken_back() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let ids =
            with_maps(shell, vec![map("a", MapKind::Hash, 8, false), map("b", MapKind::Hash, 8, false)]);
        let pin = |map, name: &str| Request::MapPin { map, name: name.to_string() };
        assert_eq!(shell.ask(SESSION, &Request::MapUnpin(ids[0])), Err(failed(MapError::NotPinned)));
        assert_eq!(shell.ask(SESSION, &pin(ids[0], "")), Ok(Reply::Done));
        assert_eq!(shell.ask(SESSION, &pin(ids[1], "a")), Err(failed(MapError::NameTaken(ids[0]))));
        assert_eq!(shell.ask(SESSION, &pin(ids[0], "renamed")), Ok(Reply::Done));
        assert!(matches!(shell.ask(SESSION, &pin(ids[0], &"x".repeat(65))), Err(RpcError::Limit { .. })));
        let program = shell.programs()[0].id;
        shell.unload_program(program).unwrap();
        let maps = shell.maps();
        assert_eq!((maps.len(), maps[0].pinned.as_deref()), (1, Some("renamed")));
        // What declares a map pinned by that name gets this one.
        let shared = map("renamed", MapKind::Hash, 8, true);
        assert_eq!(with_maps(shell, vec![shared]), [ids[0]]);
        assert_eq!(shell.ask(SESSION, &Request::MapUnpin(ids[0])), Ok(Reply::Done));
        assert_eq!(shell.maps().len(), 1, "a program uses it");
    });
}
