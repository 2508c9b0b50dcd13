//! The trie against a list that is searched from end to end.

use alloc::vec::Vec;

use proptest::prelude::*;
use uio_protocol::bpf::MapKind;

use super::{entries, map, value};
use crate::map::{AccessError, UpdateFlags};

fn key(prefix: u32, data: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_le_bytes().to_vec();
    key.extend_from_slice(data);
    key
}

fn bit(data: &[u8], index: u32) -> bool {
    data[index as usize / 8] >> (7 - index % 8) & 1 == 1
}

fn same_prefix(left: &[u8], right: &[u8], bits: u32) -> bool {
    (0..bits).all(|index| bit(left, index) == bit(right, index))
}

#[derive(Clone, Debug)]
struct Route {
    prefix: u32,
    data: Vec<u8>,
    value: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Update(u32, Vec<u8>, u32, UpdateFlags),
    Delete(u32, Vec<u8>),
    Lookup(u32, Vec<u8>),
}

/// Data of few different bits, so that prefixes overlap.
fn data(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&[0u8, 0x80, 0xc0, 0xff, 1][..]), bytes)
}

fn steps(bytes: usize) -> impl Strategy<Value = Vec<Step>> {
    let bits = bytes as u32 * 8;
    let flags = prop_oneof![4 => Just(UpdateFlags::Any), 1 => Just(UpdateFlags::NoExist), 1 => Just(UpdateFlags::Exist)];
    let step = prop_oneof![
        3 => (0..=bits, data(bytes), any::<u32>(), flags).prop_map(|(p, d, v, f)| Step::Update(p, d, v, f)),
        2 => (0..=bits, data(bytes)).prop_map(|(p, d)| Step::Delete(p, d)),
        3 => (0..=bits, data(bytes)).prop_map(|(p, d)| Step::Lookup(p, d)),
    ];
    prop::collection::vec(step, 0..120)
}

const CAPACITY: usize = 12;

fn check(bytes: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let map = map(MapKind::LpmTrie, bytes as u32 + 4, 4, CAPACITY as u32);
    let mut routes: Vec<Route> = Vec::new();
    let exact = |routes: &[Route], prefix: u32, data: &[u8]| {
        routes.iter().position(|route| route.prefix == prefix && same_prefix(&route.data, data, prefix))
    };
    for step in steps {
        match step {
            Step::Update(prefix, data, new, flags) => {
                let at = exact(&routes, prefix, &data);
                let expected = match (at, flags) {
                    (Some(_), UpdateFlags::NoExist) => Err(AccessError::Exists),
                    (None, UpdateFlags::Exist) => Err(AccessError::NotFound),
                    (None, _) if routes.len() == CAPACITY => Err(AccessError::Full),
                    _ => Ok(()),
                };
                prop_assert_eq!(map.update(&key(prefix, &data), &new.to_le_bytes(), flags), expected);
                match (expected, at) {
                    (Ok(()), Some(at)) => routes[at].value = new,
                    (Ok(()), None) => routes.push(Route { prefix, data, value: new }),
                    _ => {}
                }
            }
            Step::Delete(prefix, data) => {
                let at = exact(&routes, prefix, &data);
                let expected = if at.is_some() { Ok(()) } else { Err(AccessError::NotFound) };
                prop_assert_eq!(map.delete(&key(prefix, &data)), expected);
                if let Some(at) = at {
                    routes.swap_remove(at);
                }
            }
            Step::Lookup(prefix, data) => {
                let best = routes
                    .iter()
                    .filter(|route| route.prefix <= prefix && same_prefix(&route.data, &data, route.prefix))
                    .max_by_key(|route| route.prefix);
                let expected = best.map(|route| route.value.to_le_bytes().to_vec());
                prop_assert_eq!(value(&map, &key(prefix, &data)), expected);
            }
        }
        prop_assert_eq!(map.entry_count() as usize, routes.len());
    }
    prop_assert_eq!(entries(&map, 5).len(), routes.len());
    Ok(())
}

proptest! {
    #[test]
    fn is_longest_prefix_match_of_4_bytes(steps in steps(4)) {
        check(4, steps)?;
    }

    #[test]
    fn is_longest_prefix_match_of_odd_sizes(
        (bytes, steps) in prop::sample::select(&[1usize, 3, 9, 16, 21][..])
            .prop_flat_map(|bytes| (Just(bytes), steps(bytes))),
    ) {
        check(bytes, steps)?;
    }
}

#[test]
fn finds_the_default_route() {
    let map = map(MapKind::LpmTrie, 8, 4, 2);
    map.update(&key(0, &[0; 4]), &[9; 4], UpdateFlags::Any).unwrap();
    assert_eq!(value(&map, &key(32, &[10, 1, 2, 3])), Some(std::vec![9; 4]));
    assert_eq!(value(&map, &key(33, &[10, 1, 2, 3])), None, "longer than the data");
    assert_eq!(map.update(&key(33, &[0; 4]), &[0; 4], UpdateFlags::Any), Err(AccessError::Invalid));
    assert_eq!(map.delete(&key(33, &[0; 4])), Err(AccessError::Invalid));
}

/// Every node that a full trie needs is there, over and over.
#[test]
fn fills_and_empties() {
    let map = map(MapKind::LpmTrie, 8, 4, 256);
    for _ in 0..3 {
        for number in 0..256u32 {
            let address = number.reverse_bits().to_be_bytes();
            map.update(&key(32, &address), &number.to_le_bytes(), UpdateFlags::NoExist).unwrap();
        }
        assert_eq!(map.update(&key(1, &[0; 4]), &[0; 4], UpdateFlags::Any), Err(AccessError::Full));
        for number in 0..256u32 {
            let address = number.reverse_bits().to_be_bytes();
            assert_eq!(value(&map, &key(32, &address)), Some(number.to_le_bytes().to_vec()));
            map.delete(&key(32, &address)).unwrap();
        }
        assert_eq!(map.entry_count(), 0);
    }
}

#[test]
fn lookups_survive_changes_by_others() {
    let map = map(MapKind::LpmTrie, 8, 4, 64);
    map.update(&key(8, &[10, 0, 0, 0]), &[7; 4], UpdateFlags::Any).unwrap();
    let rounds = if cfg!(miri) { 200 } else { 100_000u32 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                let address = [20, (round % 7) as u8, 0, 0];
                let prefix = 9 + round % 8;
                map.update(&key(prefix, &address), &[1; 4], UpdateFlags::Any).expect("room");
                map.delete(&key(prefix, &address)).expect("it is there");
            }
        });
        // On more than one processor changes can come between all tries of a lookup, but not of many lookups.
        for _ in 0..rounds {
            let found = (0..1000).find_map(|_| value(&map, &key(32, &[10, 9, 9, 9])));
            assert_eq!(found, Some(std::vec![7; 4]));
        }
    });
}
