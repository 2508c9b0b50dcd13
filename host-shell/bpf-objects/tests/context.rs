//! Which loads go to the context, and what becomes of them.

use uio_bpf_objects::linux_context::{Access, convert, find_accesses, rewrite_program};
use uio_bpf_objects::{ParsedObject, from_slots, parse};
use uio_bpf_samples::{Cpu, compile, rejected_object};
use uio_protocol::bpf::{ProgramImage, ProgramKind};

fn slot(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

const EXIT: u64 = 0x95;

fn load(destination: u8, base: u8, offset: i16) -> u64 {
    slot(0x61, destination, base, offset, 0)
}

fn load_long(destination: u8, base: u8, offset: i16) -> u64 {
    slot(0x79, destination, base, offset, 0)
}

fn store_long(base: u8, offset: i16, source: u8) -> u64 {
    slot(0x7b, base, source, offset, 0)
}

fn copy(destination: u8, source: u8) -> u64 {
    slot(0xbf, destination, source, 0, 0)
}

fn add(destination: u8, immediate: i32) -> u64 {
    slot(0x07, destination, 0, 0, immediate)
}

fn jump_if_zero(register: u8, distance: i16) -> u64 {
    slot(0x15, register, 0, distance, 0)
}

fn jump(distance: i16) -> u64 {
    slot(0x05, 0, 0, distance, 0)
}

fn call(distance: i32) -> u64 {
    slot(0x85, 0, 1, 0, distance)
}

fn helper(number: i32) -> u64 {
    slot(0x85, 0, 0, 0, number)
}

fn program(slots: &[u64]) -> ProgramImage {
    let mut program = from_slots(slots.to_vec(), "test", 0).unwrap().programs.remove(0);
    program.kind = ProgramKind::Packet;
    program
}

fn found(slots: &[u64]) -> Vec<(u32, i64)> {
    let accesses = find_accesses(&program(slots)).unwrap();
    accesses.iter().map(|access| (access.slot, access.base_offset)).collect()
}

#[test]
fn through_registers_and_arithmetic() {
    assert_eq!(
        found(&[copy(6, 1), add(6, 4), load(0, 6, 0), load(2, 1, 0), load(3, 2, 0), EXIT]),
        [(2, 4), (3, 0)]
    );
    // r1 - 4: subtraction of an immediate.
    assert_eq!(found(&[slot(0x17, 1, 0, 0, 4), load(0, 1, 8), EXIT]), [(1, -4)]);
    // 32-bit moves and anything else make no address.
    assert_eq!(found(&[slot(0xbc, 2, 1, 0, 0), load(0, 2, 0), EXIT]), []);
    assert_eq!(found(&[copy(2, 1), slot(0x67, 2, 0, 0, 1), load(0, 2, 0), EXIT]), []);
}

#[test]
fn through_the_stack() {
    let spilled = [store_long(10, -8, 1), helper(7), load_long(6, 10, -8), load(0, 6, 4), EXIT];
    assert_eq!(found(&spilled), [(3, 0)]);
    let by_pointer =
        [copy(2, 10), add(2, -16), store_long(2, 8, 1), load_long(6, 10, -8), load(0, 6, 4), EXIT];
    assert_eq!(found(&by_pointer), [(4, 0)]);
    // A byte of it is overwritten.
    let damaged =
        [store_long(10, -8, 1), slot(0x72, 10, 0, -3, 0), load_long(6, 10, -8), load(0, 6, 4), EXIT];
    assert_eq!(found(&damaged), []);
    // After a call only R6 to R9 are left.
    assert_eq!(found(&[copy(6, 1), copy(2, 1), helper(7), load(0, 6, 0), EXIT]), [(3, 0)]);
    assert_eq!(found(&[copy(2, 1), helper(7), copy(0, 2), load(0, 0, 0), EXIT]), []);
}

#[test]
fn through_branches_and_loops() {
    let both = [copy(6, 1), jump_if_zero(2, 1), add(2, 1), load(0, 6, 0), EXIT];
    assert_eq!(found(&both), [(3, 0)]);
    let sometimes = [copy(6, 1), jump_if_zero(2, 1), copy(6, 10), load(0, 6, 0), EXIT];
    let error = find_accesses(&program(&sometimes)).unwrap_err();
    assert_eq!(error.slot, 3);
    let moving = [copy(6, 1), load(0, 6, 0), add(6, 4), jump_if_zero(0, -3), EXIT];
    assert_eq!(find_accesses(&program(&moving)).unwrap_err().slot, 1);
    // The register is the context on one way only, but then nobody loads from it.
    let unused = [copy(6, 1), jump_if_zero(2, 1), copy(6, 10), copy(6, 1), load(0, 6, 0), EXIT];
    assert_eq!(found(&unused), [(4, 0)]);
    // No way leads to the second load.
    assert_eq!(found(&[load(0, 1, 0), jump(1), load(0, 1, 4), EXIT]), [(0, 0)]);
}

#[test]
fn through_functions() {
    // The callee gets the context as its second argument; its own R1 is something else.
    let slots = [copy(2, 1), copy(1, 10), call(1), EXIT, load(0, 2, 12), load(3, 1, 0), EXIT];
    assert_eq!(found(&slots), [(4, 0)]);
    // It saves nothing for its caller, which keeps R6.
    let slots = [copy(6, 1), call(2), load(0, 6, 0), EXIT, load(0, 1, 4), EXIT];
    assert_eq!(found(&slots), [(2, 0), (4, 0)]);
}

#[test]
fn only_fields_can_be_read() {
    let mut wrong = program(&[load_long(0, 1, 0), EXIT]);
    let error = rewrite_program(&mut wrong, &[Access { slot: 0, base_offset: 0 }]).unwrap_err();
    assert!(error.to_string().contains("8 bytes at offset 0"), "{error}");
    assert!(rewrite_program(&mut wrong, &[Access { slot: 9, base_offset: 0 }]).is_err());
    let mut far = program(&[load(0, 1, 0), EXIT]);
    assert!(rewrite_program(&mut far, &[Access { slot: 0, base_offset: 40_000 }]).is_err());
}

fn converted(source: &str, cpu: Cpu) -> ParsedObject {
    let bytes = compile(&format!("#include \"uio_bpf.h\"\n{source}"), "context", cpu, &[]);
    let mut object = parse(&bytes, "context").unwrap();
    convert(&mut object).unwrap();
    object
}

#[test]
fn every_field_of_compiled_programs() {
    let source = r#"
        SEC("xdp") int program(struct xdp_md *context) {
            if ((void *)(long)context->data_meta > (void *)(long)context->data) return 1;
            return context->ingress_ifindex + 2 * context->rx_queue_index + 3 * (context->egress_ifindex + 7)
                   + *(volatile __u8 *)((void *)&context->ingress_ifindex + 1);
        }
    "#;
    for cpu in Cpu::COMMON {
        let object = converted(source, cpu);
        let loads: Vec<(u8, i16)> = object.image.programs[0]
            .slots
            .iter()
            .filter(|slot| matches!(**slot as u8, 0x61 | 0x69 | 0x71 | 0x79))
            .map(|slot| (*slot as u8, (*slot >> 16) as i16))
            .collect();
        for wanted in [(0x79, 24), (0x79, 0), (0x61, 16), (0x61, 20), (0x71, 17)] {
            assert!(loads.contains(&wanted), "{wanted:?} is not in {loads:x?}");
        }
        assert_eq!(loads.len(), 5, "{loads:x?}");
    }
}

#[test]
fn a_converted_object_stays_as_it_is() {
    let mut object = parse(&rejected_object("packet_stale", Cpu::V3), "stale").unwrap();
    convert(&mut object).unwrap();
    let once = object.clone();
    convert(&mut object).unwrap();
    assert_eq!(object, once);
}
