//! PREVAIL on small programs of each kind.

use uio_protocol::bpf::{MapKind, MapSpec, ObjectImage, ProgramImage, ProgramKind};

use super::*;
use crate::engine::ContextLayout;

/// One instruction: opcode, destination, source, offset, immediate.
const fn op(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> u64 {
    opcode as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u16 as u64) << 16
        | (imm as u32 as u64) << 32
}

const EXIT: u64 = op(0x95, 0, 0, 0, 0);

fn judge(kind: ProgramKind, layout: ContextLayout, slots: &[u64]) -> Result<(), Rejected> {
    let map = MapSpec {
        name: "counts".into(),
        kind: MapKind::Array,
        key_bytes: 4,
        value_bytes: 8,
        max_entries: 16,
        flags: 0,
        read_only: false,
        pinned: false,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    };
    let program = ProgramImage {
        name: "test".into(),
        kind,
        target: String::new(),
        slots: slots.to_vec(),
        functions: vec![0],
    };
    let subject = Subject {
        object: ObjectImage { name: "test".into(), maps: vec![map], programs: vec![program] },
        layouts: vec![layout],
        source: uio_bpf_objects::SourceInfo::default(),
    };
    Prevail.judge(&subject, 0, &Options::default()).map(|_| ()).map_err(|rejected| *rejected)
}

fn packet(slots: &[u64]) -> Result<(), Rejected> {
    judge(ProgramKind::Packet, ContextLayout::Native, slots)
}

/// Reads the byte behind `data` if the packet has it; `bytes` is the size of the context's fields.
fn reads_a_byte(bytes: u8, checked: i32) -> [u64; 9] {
    let load = if bytes == 8 { 0x79 } else { 0x61 };
    [
        op(load, 2, 1, 0, 0),
        op(load, 3, 1, i16::from(bytes), 0),
        op(0xbf, 4, 2, 0, 0),
        op(0x07, 4, 0, 0, checked),
        op(0xb7, 0, 0, 0, 0),
        // if r4 > r3 goto exit
        op(0x2d, 4, 3, 2, 0),
        op(0x71, 0, 2, 3, 0),
        op(0xb7, 0, 0, 0, 2),
        EXIT,
    ]
}

#[test]
fn native_packets() {
    assert_eq!(packet(&reads_a_byte(8, 4)), Ok(()));
    let rejected = packet(&reads_a_byte(8, 3)).expect_err("one byte short");
    assert_eq!(rejected.slot, Some(6), "{}", rejected.reason);
}

#[test]
fn packets_of_linux() {
    let linux = |slots: &[u64]| judge(ProgramKind::Packet, ContextLayout::LinuxXdp, slots);
    assert_eq!(linux(&reads_a_byte(4, 4)), Ok(()));
    assert!(linux(&reads_a_byte(4, 3)).is_err());
    // A layout taken for the other does not pass.
    assert!(packet(&reads_a_byte(4, 4)).is_err());
}

#[test]
fn hidden_fields_are_hidden() {
    assert!(packet(&[op(0x61, 0, 1, 16, 0), EXIT]).is_ok(), "the port");
    assert!(packet(&[op(0x79, 0, 1, 32, 0), EXIT]).is_err(), "the head");
}

#[test]
fn maps_by_their_index() {
    let lookup = |index, helper| {
        [
            op(0x62, 10, 0, -4, 1),
            op(0x18, 1, 5, 0, index),
            0,
            op(0xbf, 2, 10, 0, 0),
            op(0x07, 2, 0, 0, -4),
            op(0x85, 0, 0, 0, helper),
            // if r0 == 0, do not read
            op(0x15, 0, 0, 1, 0),
            op(0x79, 0, 0, 0, 0),
            op(0xb7, 0, 0, 0, 0),
            EXIT,
        ]
    };
    assert_eq!(packet(&lookup(0, 1)), Ok(()));
    assert!(packet(&lookup(1, 1)).is_err(), "no such map");
    let rejected = packet(&lookup(0, 9999)).expect_err("no such helper");
    assert_eq!(rejected.slot, Some(5), "{}", rejected.reason);
    let mut unchecked = lookup(0, 1);
    unchecked[6] = op(0xb7, 3, 0, 0, 0);
    assert!(packet(&unchecked).is_err(), "null");
}

#[test]
fn raw_memory_with_its_size() {
    let raw = |slots: &[u64]| judge(ProgramKind::Raw { memory_bytes: 16 }, ContextLayout::Native, slots);
    assert_eq!(raw(&[op(0x79, 0, 1, 8, 0), op(0x0f, 0, 2, 0, 0), EXIT]), Ok(()));
    let rejected = raw(&[op(0xb7, 0, 0, 0, 0), op(0x79, 0, 1, 16, 0), EXIT]).expect_err("behind it");
    assert_eq!(rejected.slot, Some(1), "{}", rejected.reason);
}

#[test]
fn what_is_no_program_is_rejected() {
    for slots in [&[][..], &[0xff], &[op(0x05, 0, 0, 100, 0), EXIT], &[op(0xb7, 0, 0, 0, 0)]] {
        assert!(packet(slots).is_err(), "{slots:x?}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let lock = include_str!("../../../../../Cargo.lock");
    let entry =
        lock.split("[[package]]").find(|entry| entry.contains("name = \"prevail\"\n")).expect("linked");
    assert!(entry.contains(&format!("version = \"{VERSION}\"\n")));
}
