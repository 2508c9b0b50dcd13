//! Hash tables against `std`'s, and eviction against its rule.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use uio_protocol::bpf::MapKind;

use super::{entries, map, value};
use crate::map::{AccessError, Map, UpdateFlags};

const CAPACITY: u32 = 8;

#[derive(Clone, Debug)]
enum Step {
    Update { key: u8, value: u32, flags: UpdateFlags },
    Delete { key: u8 },
    Lookup { key: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![Just(UpdateFlags::Any), Just(UpdateFlags::NoExist), Just(UpdateFlags::Exist)];
    let step = prop_oneof![
        (0..20u8, any::<u32>(), flags).prop_map(|(key, value, flags)| Step::Update { key, value, flags }),
        (0..20u8).prop_map(|key| Step::Delete { key }),
        (0..20u8).prop_map(|key| Step::Lookup { key }),
    ];
    prop::collection::vec(step, 0..200)
}

/// A key of any size that differs from others in its last byte, where code that reads too little would not see it.
fn wide(key: u8, bytes: u32) -> Vec<u8> {
    let mut wide = std::vec![0xa5; bytes as usize];
    wide[bytes as usize - 1] = key;
    wide
}

proptest! {
    #[test]
    fn is_a_hash_map(
        steps in steps(),
        key_bytes in prop::sample::select(&[1u32, 2, 3, 4, 7, 8, 9, 12, 16, 17, 31, 40, 512][..]),
    ) {
        let map = map(MapKind::Hash, key_bytes, 4, CAPACITY);
        let mut model: HashMap<Vec<u8>, u32> = HashMap::new();
        for step in steps {
            match step {
                Step::Update { key, value, flags } => {
                    let key = wide(key, key_bytes);
                    let expected = match (model.contains_key(&key), flags) {
                        (true, UpdateFlags::NoExist) => Err(AccessError::Exists),
                        (false, UpdateFlags::Exist) => Err(AccessError::NotFound),
                        (false, _) if model.len() == CAPACITY as usize => Err(AccessError::Full),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(map.update(&key, &value.to_le_bytes(), flags), expected);
                    if expected.is_ok() {
                        model.insert(key, value);
                    }
                }
                Step::Delete { key } => {
                    let key = wide(key, key_bytes);
                    prop_assert_eq!(map.delete(&key).is_ok(), model.remove(&key).is_some());
                }
                Step::Lookup { key } => {
                    let key = wide(key, key_bytes);
                    let expected = model.get(&key).map(|value| value.to_le_bytes().to_vec());
                    prop_assert_eq!(value(&map, &key), expected);
                }
            }
            prop_assert_eq!(map.entry_count() as usize, model.len());
        }
        let mut all = entries(&map, 3);
        all.sort();
        let mut expected: Vec<_> =
            model.into_iter().map(|(key, value)| (key, value.to_le_bytes().to_vec())).collect();
        expected.sort();
        prop_assert_eq!(all, expected);
    }

    /// The rule: a hand goes round; it takes the first entry that was not used since it last went by.
    #[test]
    fn evicts_by_second_chance(keys in prop::collection::vec((0..24u32, any::<bool>()), 0..300)) {
        let map = map(MapKind::LruHash, 4, 4, CAPACITY);
        // Slots in the order of the table, with whether each was used.
        let mut slots: Vec<(u32, bool)> = Vec::new();
        let mut hand = 0;
        for (key, is_update) in keys {
            let known = slots.iter_mut().find(|slot| slot.0 == key);
            if !is_update {
                prop_assert_eq!(find(&map, key).is_some(), known.is_some());
                if let Some(slot) = known {
                    slot.1 = true;
                }
                continue;
            }
            map.update(&key.to_le_bytes(), &[0; 4], UpdateFlags::Any).expect("always room");
            if let Some(slot) = known {
                slot.1 = true;
            } else if slots.len() < CAPACITY as usize {
                slots.push((key, false));
            } else {
                while std::mem::replace(&mut slots[hand].1, false) {
                    hand = (hand + 1) % CAPACITY as usize;
                }
                slots[hand] = (key, false);
                hand = (hand + 1) % CAPACITY as usize;
            }
            let mut present: Vec<u32> = entries(&map, 100).iter().map(|(key, _)| number(key)).collect();
            let mut expected: Vec<u32> = slots.iter().map(|slot| slot.0).collect();
            present.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(present, expected);
        }
    }
}

fn number(key: &[u8]) -> u32 {
    u32::from_le_bytes(key.try_into().expect("four bytes"))
}

/// A lookup as a program makes it: it counts as use.
fn find(map: &Arc<Map>, key: u32) -> Option<*mut u8> {
    let key = key.to_le_bytes();
    // SAFETY: a key of four bytes for a map of such keys.
    let value = unsafe { map.find(key.as_ptr()) };
    (!value.is_null()).then_some(value)
}

#[test]
fn keeps_what_is_used_while_much_comes_by() {
    let map = map(MapKind::LruHash, 4, 4, 64);
    for key in 0..16u32 {
        map.update(&key.to_le_bytes(), &[1; 4], UpdateFlags::Any).unwrap();
    }
    for stranger in 1000..3000u32 {
        map.update(&stranger.to_le_bytes(), &[0; 4], UpdateFlags::Any).unwrap();
        // Used much more often than the hand goes round.
        for key in 0..16 {
            assert!(find(&map, key).is_some(), "{key} evicted by {stranger}");
        }
    }
    assert_eq!(map.entry_count(), 64);
}

/// With everything used, an insertion looks at a bounded number of entries.
#[test]
fn evicts_in_bounded_work() {
    let capacity = 100_000u32;
    let map = map(MapKind::LruHash, 4, 4, capacity);
    for key in 0..capacity {
        map.update(&key.to_le_bytes(), &[0; 4], UpdateFlags::Any).unwrap();
        find(&map, key).unwrap();
    }
    map.update(&capacity.to_le_bytes(), &[0; 4], UpdateFlags::Any).unwrap();
    let gone: Vec<u32> = (0..capacity).filter(|key| value(&map, &key.to_le_bytes()).is_none()).collect();
    // The hand started at the first and gave up after its scan.
    assert_eq!(gone, [crate::map::hash::EVICTION_SCAN_MAX]);
}

/// A stale address of a value stays in the map: the next key gets the same place.
#[test]
fn reuses_deleted_entries_in_place() {
    let map = map(MapKind::Hash, 8, 16, 4);
    map.update(&1u64.to_le_bytes(), &[1; 16], UpdateFlags::Any).unwrap();
    // SAFETY: a key of eight bytes.
    let stale = unsafe { map.find(1u64.to_le_bytes().as_ptr()) };
    map.delete(&1u64.to_le_bytes()).unwrap();
    // SAFETY: the map lives, and with it all its values, free or not.
    unsafe { stale.write(9) };
    assert_eq!(value(&map, &1u64.to_le_bytes()), None);
    map.update(&2u64.to_le_bytes(), &[2; 16], UpdateFlags::Any).unwrap();
    // SAFETY: a key of eight bytes.
    assert_eq!(unsafe { map.find(2u64.to_le_bytes().as_ptr()) }, stale);
    assert_eq!(value(&map, &2u64.to_le_bytes()), Some(std::vec![2; 16]));
}

#[test]
fn specialised_lookups_find_what_the_general_one_finds() {
    for key_bytes in [4, 8, 16, 24] {
        let map = map(MapKind::Hash, key_bytes, 8, 64);
        for key in 0..40 {
            map.update(&wide(key, key_bytes), &u64::from(key).to_le_bytes(), UpdateFlags::Any).unwrap();
        }
        for key in 0..60 {
            let key = wide(key, key_bytes);
            let address = key.as_ptr().expose_provenance() as u64;
            // SAFETY: the function of this map, called with it and a key of its size; it looks at nothing else.
            let quick = unsafe { map.lookup_function()(map.address(), address, 0, 0, 0, std::ptr::null()) };
            // SAFETY: a key of its size.
            assert_eq!(quick, unsafe { map.find(key.as_ptr()) }.addr() as u64);
        }
    }
}

/// Lookups while another thread changes everything: each finds its key, which is never touched, or at least nothing
/// outside the map.
#[test]
fn lookups_survive_changes_by_others() {
    let map = map(MapKind::Hash, 4, 8, 64);
    for key in 0..8u32 {
        map.update(&key.to_le_bytes(), &[7; 8], UpdateFlags::Any).unwrap();
    }
    let rounds = if cfg!(miri) { 200 } else { 200_000u32 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut live = VecDeque::new();
            for key in 100..100 + rounds {
                if live.len() == 50 {
                    let old: u32 = live.pop_front().expect("not empty");
                    map.delete(&old.to_le_bytes()).expect("it is there");
                }
                map.update(&key.to_le_bytes(), &[0; 8], UpdateFlags::Any).expect("there is room");
                live.push_back(key);
            }
        });
        // On more than one processor changes can come between all tries of a lookup, but not of many lookups.
        for round in 0..rounds {
            let key = (round % 8).to_le_bytes();
            let found = (0..1000).find_map(|_| value(&map, &key));
            assert_eq!(found, Some(std::vec![7; 8]));
        }
    });
}

#[test]
fn busy_while_interrupting_a_change() {
    let map = map(MapKind::Hash, 4, 4, 4);
    map.update(&[0; 4], &[1; 4], UpdateFlags::Any).unwrap();
    let crate::map::Body::Hash(hash) = &map.body else { panic!("a hash") };
    let mut interrupted = None;
    let key = [0; 4];
    // SAFETY: a key of four bytes.
    let deleted = unsafe {
        hash.delete(key.as_ptr(), |_| {
            interrupted = Some((
                map.update(&[1; 4], &[1; 4], UpdateFlags::Any),
                map.delete(&[0; 4]),
                value(&map, &[0; 4]),
            ));
        })
    };
    assert_eq!(deleted, Ok(()));
    let (update, delete, lookup) = interrupted.unwrap();
    assert_eq!((update, delete), (Err(AccessError::Busy), Err(AccessError::Busy)));
    assert_eq!(lookup, Some(std::vec![1; 4]), "lookups do not wait");
    assert_eq!(map.update(&[1; 4], &[1; 4], UpdateFlags::Any), Ok(()));
}
