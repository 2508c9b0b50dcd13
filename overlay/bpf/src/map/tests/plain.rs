//! Arrays, queues, stacks, and what may be made at all.

use alloc::string::ToString;
use alloc::vec::Vec;
use std::collections::VecDeque;

use proptest::prelude::*;
use uio_protocol::bpf::{MapKind, MapSpec};
use uio_protocol::limits::{BPF_MAP_BYTES_MAX, BPF_VALUE_BYTES_MAX};

use super::{entries, map, spec, value};
use crate::map::{AccessError, Map, MapError, PAGE_SLOTS_MAX, UpdateFlags, flags};

#[test]
fn arrays_have_all_their_entries() {
    for kind in [MapKind::Array, MapKind::PerCpuArray] {
        let map = map(kind, 4, 3, 5);
        assert_eq!(value(&map, &4u32.to_le_bytes()), Some(std::vec![0; 3]));
        assert_eq!(value(&map, &5u32.to_le_bytes()), None);
        map.update(&2u32.to_le_bytes(), b"abc", UpdateFlags::Any).unwrap();
        map.update(&3u32.to_le_bytes(), b"def", UpdateFlags::Exist).unwrap();
        let late = map.update(&5u32.to_le_bytes(), b"abc", UpdateFlags::Any);
        assert_eq!(late, Err(AccessError::Full));
        let new = map.update(&2u32.to_le_bytes(), b"abc", UpdateFlags::NoExist);
        assert_eq!(new, Err(AccessError::Exists));
        assert_eq!(map.delete(&2u32.to_le_bytes()), Err(AccessError::Invalid));
        let all: Vec<Vec<u8>> = entries(&map, 2).into_iter().map(|(_, value)| value).collect();
        assert_eq!(all, [b"\0\0\0", b"\0\0\0", b"abc", b"def", b"\0\0\0"]);
        assert_eq!(map.entry_count(), 5);
    }
}

#[test]
fn array_layout_is_where_values_are() {
    let map = map(MapKind::Array, 4, 12, 3);
    let layout = map.array_layout().unwrap();
    assert_eq!((layout.stride, layout.entries), (16, 3));
    for index in 0..3u32 {
        // SAFETY: a key of four bytes.
        let value = unsafe { map.find(index.to_le_bytes().as_ptr()) };
        assert_eq!(value.addr() as u64, layout.base + u64::from(index * layout.stride));
    }
    assert_eq!(map.value_base().unwrap().addr() as u64, layout.base);
    assert!(super::map(MapKind::Hash, 4, 4, 3).array_layout().is_none());
}

#[test]
fn pages_are_bounded() {
    let map = map(MapKind::Hash, 4, 4, 3 * PAGE_SLOTS_MAX);
    // Entries are taken in order, so this is the last slot.
    for key in 0..3 * PAGE_SLOTS_MAX {
        map.update(&key.to_le_bytes(), &[0; 4], UpdateFlags::Any).unwrap();
    }
    for key in 0..3 * PAGE_SLOTS_MAX - 1 {
        map.delete(&key.to_le_bytes()).unwrap();
    }
    let first = map.page(0, 10, 1000).unwrap();
    assert_eq!((first.entries.len(), first.next), (0, Some(PAGE_SLOTS_MAX)));
    let last = map.page(2 * PAGE_SLOTS_MAX, 10, 1000).unwrap();
    assert_eq!((last.entries.len(), last.next), (1, None));
    let array = super::map(MapKind::Array, 4, 100, 10);
    let page = array.page(0, 100, 250).unwrap();
    assert_eq!((page.entries.len(), page.next), (3, Some(3)), "one more than fits ends a page");
    assert_eq!(array.page(10, 100, 250).unwrap().next, None);
    assert_eq!(array.page(u32::MAX, 100, 250).unwrap().entries.len(), 0);
}

proptest! {
    #[test]
    fn queues_and_stacks(
        is_stack in any::<bool>(),
        steps in prop::collection::vec(prop_oneof![(any::<u16>(), any::<bool>()).prop_map(Some), Just(None)], 0..100),
    ) {
        let map = map(if is_stack { MapKind::Stack } else { MapKind::Queue }, 0, 2, 5);
        let mut model = VecDeque::new();
        for step in steps {
            if let Some((new, replace)) = step {
                // SAFETY: a value of two bytes.
                let pushed = unsafe { map.push_raw(new.to_le_bytes().as_ptr(), replace) };
                if model.len() == 5 && !replace {
                    prop_assert_eq!(pushed, Err(AccessError::Full));
                } else {
                    prop_assert_eq!(pushed, Ok(()));
                    if model.len() == 5 {
                        model.pop_front();
                    }
                    model.push_back(new);
                }
            } else {
                let expected = if is_stack { model.back() } else { model.front() }.copied();
                let mut next = [1; 2];
                prop_assert_eq!(map.peek(&mut next).ok().map(|()| u16::from_le_bytes(next)), expected);
                prop_assert_eq!(map.pop(&mut next).ok().map(|()| u16::from_le_bytes(next)), expected);
                if expected.is_none() {
                    prop_assert_eq!(next, [0; 2], "zeros if there is none");
                }
                if is_stack { model.pop_back() } else { model.pop_front() };
            }
            prop_assert_eq!(map.entry_count() as usize, model.len());
        }
        let all: Vec<u16> =
            entries(&map, 2).iter().map(|(_, value)| u16::from_le_bytes([value[0], value[1]])).collect();
        prop_assert_eq!(all, Vec::from(model));
    }
}

fn refused(spec: &MapSpec) -> MapError {
    Map::new(spec, None, 0).err().expect("no such map")
}

#[test]
fn refuses_what_cannot_be() {
    use MapKind::{Array, Hash, LpmTrie, LruHash, ProgArray, Queue, RingBuffer};
    for (kind, bytes) in [(Hash, 0), (Hash, 513), (Array, 8), (LpmTrie, 4), (LpmTrie, 261), (Queue, 4)] {
        assert_eq!(refused(&spec(kind, bytes, 4, 1)), MapError::KeyBytes { kind, bytes });
    }
    for (kind, key, bytes) in [(Hash, 4, 0), (Array, 4, BPF_VALUE_BYTES_MAX + 1), (ProgArray, 4, 8)] {
        assert_eq!(refused(&spec(kind, key, bytes, 1)), MapError::ValueBytes { kind, bytes });
    }
    assert_eq!(refused(&spec(RingBuffer, 0, 4, 4096)), MapError::ValueBytes { kind: RingBuffer, bytes: 4 });
    for entries in [0, 2048, 4097] {
        let error = refused(&spec(RingBuffer, 0, 0, entries));
        assert_eq!(error, MapError::Entries { kind: RingBuffer, entries });
    }
    assert_eq!(refused(&spec(Hash, 4, 4, 0)), MapError::Entries { kind: Hash, entries: 0 });
    for kind in [Hash, LruHash, Array, LpmTrie] {
        let key = if kind == LpmTrie { 8 } else { 4 };
        let error = refused(&spec(kind, key, 1024, u32::MAX));
        assert!(matches!(error, MapError::TooLarge { bytes } if bytes > BPF_MAP_BYTES_MAX), "{error}");
    }
    let many = refused(&spec(Queue, 0, BPF_VALUE_BYTES_MAX, 33));
    assert_eq!(many, MapError::TooLarge { bytes: 33 * u64::from(BPF_VALUE_BYTES_MAX) });
    assert_eq!(refused(&MapSpec { flags: 1 << 8, ..spec(Hash, 4, 4, 1) }), MapError::Flags(1 << 8));
    assert_eq!(
        refused(&MapSpec { name: "n".repeat(65), ..spec(Hash, 4, 4, 1) }),
        MapError::Name { bytes: 65 }
    );
    let contents = MapSpec { initial: std::vec![1; 3], ..spec(Array, 4, 4, 1) };
    assert_eq!(refused(&contents), MapError::Initial { bytes: 3 });
    let contents = MapSpec { initial: std::vec![1; 4], ..spec(Hash, 4, 4, 1) };
    assert_eq!(refused(&contents), MapError::Initial { bytes: 4 });
    assert_eq!(refused(&spec(MapKind::ArrayOfMaps, 4, 4, 1)), MapError::Inner);
}

#[test]
fn refuses_wrong_sizes() {
    let map = map(MapKind::Hash, 4, 8, 1);
    let short = Err(AccessError::Size { expected: 4, given: 3 });
    assert_eq!(map.lookup(&[0; 3], &mut [0; 8]), short);
    assert_eq!(map.update(&[0; 3], &[0; 8], UpdateFlags::Any), short);
    assert_eq!(map.delete(&[0; 3]), short);
    let long = Err(AccessError::Size { expected: 8, given: 9 });
    assert_eq!(map.lookup(&[0; 4], &mut [0; 9]), long);
    assert_eq!(map.update(&[0; 4], &[0; 9], UpdateFlags::Any), long);
    assert_eq!(map.push(&[0; 8]), Err(AccessError::Invalid));
}

#[test]
fn constants_stay() {
    let rodata = MapSpec {
        name: ".rodata".to_string(),
        initial: b"text\0".to_vec(),
        read_only: true,
        ..spec(MapKind::Array, 4, 5, 1)
    };
    let map = Map::new(&rodata, None, 0).unwrap();
    assert_eq!(value(&map, &[0; 4]), Some(b"text\0".to_vec()));
    assert_eq!(map.update(&[0; 4], b"other", UpdateFlags::Any), Err(AccessError::ReadOnly));
    assert!(map.matches(&rodata, None));
    assert!(!map.matches(&MapSpec { initial: b"tent\0".to_vec(), ..rodata.clone() }, None));
    assert!(!map.matches(&MapSpec { initial: Vec::new(), ..rodata }, None), "nothing means zeros");
    assert!(map.spec().initial.is_empty());
}

#[test]
fn read_only_for_one_side() {
    let by_shell = MapSpec { flags: flags::READ_ONLY_PROGRAM, ..spec(MapKind::Hash, 4, 4, 1) };
    let map = Map::new(&by_shell, None, 0).unwrap();
    assert_eq!(map.update(&[0; 4], &[1; 4], UpdateFlags::Any), Ok(()));
    // SAFETY: a key and a value of four bytes.
    let (set, removed) =
        unsafe { (map.set([0; 4].as_ptr(), [1; 4].as_ptr(), UpdateFlags::Any), map.remove([0; 4].as_ptr())) };
    assert_eq!((set, removed), (Err(AccessError::ReadOnly), Err(AccessError::ReadOnly)));
    let by_programs = MapSpec { flags: flags::READ_ONLY, ..spec(MapKind::Hash, 4, 4, 1) };
    let map = Map::new(&by_programs, None, 0).unwrap();
    assert_eq!(map.update(&[0; 4], &[1; 4], UpdateFlags::Any), Err(AccessError::ReadOnly));
    // SAFETY: a key and a value of four bytes.
    assert_eq!(unsafe { map.set([0; 4].as_ptr(), [1; 4].as_ptr(), UpdateFlags::Any) }, Ok(()));
}

#[test]
fn shares_by_schema() {
    let own = MapSpec { key_type: std::vec![1], ..spec(MapKind::Hash, 4, 8, 10) };
    let map = Map::new(&own, None, 0).unwrap();
    assert!(map.matches(&own, None));
    assert!(map.matches(&MapSpec { name: "other".to_string(), pinned: true, ..own.clone() }, None));
    assert!(map.matches(&MapSpec { key_type: Vec::new(), ..own.clone() }, None), "without types");
    for other in [
        MapSpec { kind: MapKind::LruHash, ..own.clone() },
        MapSpec { key_bytes: 8, ..own.clone() },
        MapSpec { value_bytes: 4, ..own.clone() },
        MapSpec { max_entries: 11, ..own.clone() },
        MapSpec { flags: 1, ..own.clone() },
        MapSpec { read_only: true, ..own.clone() },
        MapSpec { key_type: std::vec![2], ..own.clone() },
    ] {
        assert!(!map.matches(&other, None), "{other:?}");
    }
    assert!(!map.matches(&own, Some(&own)));
}
