//! Damaged objects: refused or read, never a panic, and what is read holds together.

use std::sync::OnceLock;

use proptest::prelude::*;
use uio_bpf::instruction::{Immediate64, Operation, decode};
use uio_bpf_objects::{ParsedObject, TypeInfo, key_type, linux_context, parse, parse_flat, value_type};
use uio_bpf_samples::{Cpu, PREBUILT, object};

/// Small objects with much in them.
fn objects() -> &'static [Vec<u8>] {
    static OBJECTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let names = ["nat", "loop_helper", "ringbuf_events", "functions", "tail_call", "hello", "timer"];
        let mut objects: Vec<Vec<u8>> = names.iter().map(|name| object(name, Cpu::V3)).collect();
        objects.extend(PREBUILT.iter().map(|(_, bytes)| bytes.to_vec()));
        objects
    })
}

/// What holds for everything that is read.
fn check(mut object: ParsedObject) {
    for (index, program) in object.image.programs.iter().enumerate() {
        let decoded = decode(&program.slots).expect("instructions");
        assert_eq!(program.functions.first(), Some(&0));
        assert!(program.functions.is_sorted_by(|left, right| left < right));
        for (slot, operation) in decoded.iter() {
            if let Operation::LoadImmediate {
                value: Immediate64::Map(map) | Immediate64::MapValue { map, .. },
                ..
            } = operation
            {
                assert!((map as usize) < object.image.maps.len());
            }
            let _ = object.source.line(index, slot);
            assert!(object.source.function(index, program, slot).is_some());
        }
    }
    for map in &object.image.maps {
        assert!(map.initial.is_empty() || map.initial.len() == map.value_bytes as usize);
        assert!(map.inner.is_none_or(|inner| (inner as usize) < object.image.maps.len()));
        for info in [key_type(map), value_type(map)] {
            let bytes = vec![0x5a; info.bytes().min(4096) as usize];
            let _ = info.render(&bytes);
            let _ = info.parse("{ 1, { 2 } }");
        }
    }
    let _ = linux_context::convert(&mut object);
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
    Copy(prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let words = prop_oneof![Just(0), Just(1), Just(u32::MAX), Just(0x7fff_ffff), 0..64u32, any::<u32>()];
    prop_oneof![
        6 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        6 => (any::<prop::sample::Index>(), words).prop_map(|(at, word)| Change::Word(at, word)),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(from, to, count)| Change::Copy(from, to, count)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.len() < 512 {
        return;
    }
    match change {
        Change::Byte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Change::Word(at, word) => {
            let at = at.index(bytes.len() - 4) & !3;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        Change::Copy(from, to, count) => {
            let (from, to) = (from.index(bytes.len() - 256), to.index(bytes.len() - 256));
            bytes.copy_within(from..from + usize::from(*count), to);
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_objects_are_refused_or_hold_together(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..12),
    ) {
        let mut bytes = which.get(objects()).clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        match parse(&bytes, "damaged") {
            Ok(object) => check(object),
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                prop_assert!(!error.suggestion().is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_a_flat_program(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(image) = parse_flat(&bytes, "flat", 8) {
            prop_assert!(decode(&image.programs[0].slots).is_ok());
        }
        prop_assert!(parse(&bytes, "any").is_err());
    }

    #[test]
    fn any_description_of_a_type_is_refused_or_usable(
        bytes in prop::collection::vec(any::<u8>(), 0..128),
        value in prop::collection::vec(any::<u8>(), 0..64),
        text in "[-{}\\[\\]=,.:'\"0-9a-fx ]{0,40}",
    ) {
        if let Ok(info) = TypeInfo::decode(&bytes) {
            let _ = info.render(&value);
            let _ = info.parse(&text);
        }
    }
}

#[test]
fn undamaged_ones_are_read() {
    for bytes in objects() {
        check(parse(bytes, "whole").expect("an object"));
    }
}
