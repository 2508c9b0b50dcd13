//! Objects of other compilers than the clang that is installed.

use uio_bpf::instruction::{Alu, Callee, Immediate64, Operation, decode};
use uio_bpf_objects::{ContextLayout, ParsedObject, linux_context, parse};
use uio_bpf_samples::{PREBUILT, prebuilt};
use uio_protocol::bpf::{MapKind, ProgramKind};

fn parsed(name: &str) -> ParsedObject {
    parse(prebuilt(name), name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn operations(object: &ParsedObject, name: &str) -> Vec<Operation> {
    let program = object.image.programs.iter().find(|program| program.name == name);
    let program = program.unwrap_or_else(|| panic!("no program {name}"));
    decode(&program.slots).unwrap().iter().map(|(_, operation)| operation).collect()
}

#[test]
fn all_become_images_with_lines() {
    for (name, bytes) in PREBUILT {
        let mut object = parse(bytes, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        linux_context::convert(&mut object).unwrap_or_else(|error| panic!("{name}: {error}"));
        // GNU's compiler writes no lines into BTF.
        assert_eq!(object.source.line(0, 0).is_some(), name != "gnu", "{name}");
    }
}

#[test]
fn version_4_of_the_instruction_set() {
    let object = parsed("v4");
    let has = |program: &str, wanted: &dyn Fn(&Operation) -> bool| {
        assert!(operations(&object, program).iter().any(wanted), "{program}");
    };
    has("signed_division", &|operation| matches!(operation, Operation::Alu { op: Alu::SignedDivide, .. }));
    has("signed_remainder", &|operation| matches!(operation, Operation::Alu { op: Alu::SignedModulo, .. }));
    has("sign_extension", &|operation| matches!(operation, Operation::MoveSigned { bits: 16, .. }));
    has("sign_extension", &|operation| matches!(operation, Operation::Load { signed: true, .. }));
    has("byte_swap", &|operation| matches!(operation, Operation::Swap { bits: 64, .. }));
    has("long_jump", &|operation| matches!(operation, Operation::Jump { .. }));
    has("atomics", &|operation| matches!(operation, Operation::Atomic { .. }));
    has("indirect_call", &|operation| matches!(operation, Operation::Call(Callee::Register(_))));
    assert!(
        object.image.programs.iter().all(|program| program.kind == ProgramKind::Raw { memory_bytes: 16 })
    );
    // Reached by their addresses alone.
    let index = object.image.programs.iter().position(|program| program.name == "indirect_call").unwrap();
    let program = &object.image.programs[index];
    assert_eq!(object.source.programs[index].functions, ["indirect_call", "twice", "squared"]);
    let addresses: Vec<u32> = operations(&object, "indirect_call")
        .iter()
        .filter_map(|operation| match operation {
            Operation::LoadImmediate { value: Immediate64::Function(slot), .. } => Some(*slot),
            _ => None,
        })
        .collect();
    assert_eq!(addresses, program.functions[1..]);
}

#[test]
fn bpf_gcc() {
    let object = parsed("gnu");
    assert_eq!(object.source.programs[0].functions, ["gnu", "tripled", "tenfold", "doubled"]);
    let maps: Vec<_> =
        object.image.maps.iter().map(|map| (map.name.as_str(), map.kind, map.pinned)).collect();
    assert_eq!(
        maps,
        [
            ("seen", MapKind::Hash, true),
            ("unused", MapKind::Array, false),
            (".data", MapKind::Array, false),
            (".bss", MapKind::Array, false),
        ]
    );
    let operations = operations(&object, "gnu");
    // By name, so by a symbol.
    assert!(operations.contains(&Operation::Call(Callee::Helper(1))));
    let mut variables: Vec<&str> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::LoadImmediate { value: Immediate64::MapValue { map, offset }, .. } => {
                let (variable, inside) = object.source.variable(*map, *offset)?;
                assert_eq!(inside, 0, "{variable:?}");
                Some(variable.name.as_str())
            }
            _ => None,
        })
        .collect();
    variables.sort_unstable();
    assert_eq!(variables, ["calls", "first", "limit", "other", "second", "weights"]);
    let data = &object.image.maps[2];
    assert_eq!(data.initial[..8], 6u64.to_le_bytes(), "other");
    assert_eq!(data.initial[8..16], 5u64.to_le_bytes(), "limit");
}

#[test]
fn a_tenants_program_in_rust() {
    let object = parsed("tenant");
    let program = &object.image.programs[0];
    assert_eq!((program.name.as_str(), program.kind), ("main", ProgramKind::Packet));
    assert_eq!(object.source.programs[0].layout, ContextLayout::Native);
    assert_eq!(program.functions.len(), 2, "{:?}", object.source.programs[0].functions);
    let maps: Vec<_> = object
        .image
        .maps
        .iter()
        .map(|map| (map.name.as_str(), map.kind, map.key_bytes, map.value_bytes, map.max_entries))
        .collect();
    assert_eq!(
        maps,
        [
            ("CONNECTIONS", MapKind::Hash, 16, 12, 1028),
            ("PKTCOUNTER", MapKind::Array, 4, 8, 2),
            (".rodata", MapKind::Array, 4, 8, 1),
            // Of a constant that is merged with equal ones.
            (".rodata.cst4", MapKind::Array, 4, 4, 1),
        ]
    );
    assert!(object.image.maps[2].read_only);
    assert_eq!(object.image.maps[2].initial, b"leetcode");
    let line = object.source.line(0, 0).unwrap();
    assert!(line.file.ends_with("tenant.rs"), "{line:?}");
    // Nothing to rewrite: it was compiled for the native layout.
    let mut converted = object.clone();
    linux_context::convert(&mut converted).unwrap();
    assert_eq!(converted, object);
}
