//! Every sample, at every version of the instruction set.

use uio_bpf::instruction::decode;
use uio_bpf_objects::{ContextLayout, ParsedObject, linux_context, parse};
use uio_bpf_samples::{Cpu, object, rejected, rejected_object, rejected_reason, samples};
use uio_protocol::bpf::{MapKind, ProgramKind};

fn parsed(bytes: &[u8], name: &str) -> ParsedObject {
    parse(bytes, name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What has to hold for every object.
fn check(object: &ParsedObject) {
    let name = &object.image.name;
    assert_eq!(object.image.programs.len(), object.source.programs.len());
    for (index, program) in object.image.programs.iter().enumerate() {
        let what = format!("{name}: {}", program.name);
        let decoded = decode(&program.slots).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(program.functions[0], 0, "{what}");
        assert!(program.functions.is_sorted_by(|left, right| left < right), "{what}");
        assert_eq!(program.functions.len(), object.source.programs[index].functions.len(), "{what}");
        assert_eq!(object.source.function(index, program, 0), Some(program.name.as_str()), "{what}");
        for (slot, _) in decoded.iter() {
            let line = object.source.line(index, slot).unwrap_or_else(|| panic!("{what}: no line of {slot}"));
            assert!(line.file.ends_with(".c") || line.file.ends_with(".h"), "{what}: {line:?}");
            assert!(line.line > 0, "{what}: {line:?}");
        }
    }
}

#[test]
fn every_sample_becomes_an_image() {
    let names = samples();
    assert!(names.len() >= 22, "{names:?}");
    for name in &names {
        for cpu in Cpu::COMMON {
            let mut object = parsed(&object(name, cpu), name);
            check(&object);
            linux_context::convert(&mut object).unwrap_or_else(|error| panic!("{name}: {error}"));
            check(&object);
            if cpu == Cpu::V3 {
                for program in &object.image.programs {
                    println!(
                        "{name}: {} {:?} `{}` {} instructions in {} functions",
                        program.name,
                        program.kind,
                        program.target,
                        decode(&program.slots).unwrap().iter().count(),
                        program.functions.len()
                    );
                }
            }
        }
    }
}

#[test]
fn programs_to_be_rejected_are_sound_objects() {
    let names = rejected();
    assert!(names.len() >= 12, "{names:?}");
    for name in &names {
        assert!(!rejected_reason(name).is_empty(), "{name}");
        for cpu in Cpu::COMMON {
            let mut object = parsed(&rejected_object(name, cpu), name);
            check(&object);
            linux_context::convert(&mut object).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn firewalls_of_all_sizes() {
    for (rules, least) in [(10, 25), (100, 100), (1000, 1000), (10_000, 9_000)] {
        let object = parsed(&uio_bpf_samples::firewall(rules, Cpu::V3), "firewall");
        check(&object);
        let slots = object.image.programs[0].slots.len();
        println!("firewall of {rules} rules: {slots} instructions");
        assert!((least..3 * least).contains(&slots), "{slots} instructions for {rules} rules");
    }
}

#[test]
fn several_programs_share_functions_and_maps() {
    let functions = parsed(&object("functions", Cpu::V3), "functions");
    let names: Vec<_> = functions.image.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["spread", "known"]);
    assert_eq!(functions.source.programs[0].functions, ["spread", "flow_hash", "mixed"]);
    assert_eq!(functions.source.programs[1].functions, ["known", "protocol"]);
    assert_eq!(functions.image.programs[0].target, "spread");

    let histogram = parsed(&object("histogram", Cpu::V3), "histogram");
    let targets: Vec<_> = histogram.image.programs.iter().map(|program| program.target.as_str()).collect();
    assert_eq!(targets, ["packet_in", "packet_in%return"]);
    assert!(histogram.image.programs.iter().all(|program| program.kind == ProgramKind::Tracing));
    assert_eq!(histogram.image.maps.len(), 2);

    let tail_call = parsed(&object("tail_call", Cpu::V3), "tail_call");
    assert_eq!(tail_call.image.programs.len(), 3);
    assert_eq!(tail_call.image.maps[0].kind, MapKind::ProgArray);
    assert_eq!(tail_call.source.programs[0].layout, ContextLayout::LinuxXdp);
}

#[test]
fn the_callback_of_a_helper_is_a_function_of_the_program() {
    let object = parsed(&object("loop_helper", Cpu::V3), "loop_helper");
    assert_eq!(object.source.programs[0].functions, ["loop_helper", "count_zero"]);
}

#[test]
fn maps_have_the_schema_of_their_definition() {
    let nat = parsed(&object("nat", Cpu::V3), "nat");
    let maps: Vec<_> = nat
        .image
        .maps
        .iter()
        .map(|map| (map.name.as_str(), map.kind, map.key_bytes, map.value_bytes, map.max_entries, map.pinned))
        .collect();
    assert_eq!(
        maps,
        [
            ("connections", MapKind::Hash, 16, 12, 8192, false),
            ("begun", MapKind::Array, 4, 8, 1, false),
            ("counts", MapKind::Array, 4, 8, 3, false),
        ]
    );
    let key = uio_bpf_objects::key_type(&nat.image.maps[0]);
    let value = [1, 0, 0, 10, 2, 0, 0, 10, 0, 80, 1, 0, 17, 0, 0, 0];
    assert_eq!(
        key.render(&value),
        "{ source_address = 167772161, target_address = 167772162, source_port = 20480, target_port = 1, protocol = 17 }"
    );
    assert_eq!(
        key.parse("{ 1.0.0.10, .target_port = 0x0001, protocol = 17, target_address = 167772162, source_port=20480 }"),
        Ok(value.to_vec())
    );

    let v2 = parsed(&object("state_migration_v2", Cpu::V3), "state_migration_v2");
    assert!(v2.image.maps.iter().all(|map| map.pinned));
    let events = parsed(&object("ringbuf_events", Cpu::V3), "ringbuf_events");
    assert_eq!((events.image.maps[0].kind, events.image.maps[0].max_entries), (MapKind::RingBuffer, 65536));
    let bss = &events.image.maps[1];
    assert_eq!((bss.name.as_str(), bss.value_bytes, bss.read_only), (".bss", 8, false));
    assert_eq!(uio_bpf_objects::value_type(bss).render(&[5]), "{ lost = 5 }");
    let (variable, inside) = events.source.variable(1, 3).unwrap();
    assert_eq!((variable.name.as_str(), variable.bytes, inside), ("lost", 8, 3));
}

#[test]
fn constants_are_read_only_maps() {
    let hello = parsed(&object("hello", Cpu::V3), "hello");
    let map = &hello.image.maps[0];
    assert!(map.read_only && map.name.starts_with(".rodata"), "{map:?}");
    assert!(map.initial.starts_with(b"hello: "), "{map:?}");
    assert_eq!(hello.image.programs[0].kind, ProgramKind::Raw { memory_bytes: 64 });
}
