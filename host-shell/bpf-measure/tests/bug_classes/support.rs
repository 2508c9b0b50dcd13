//! Programs by hand, and what becomes of them.

use uio_bpf_measure::encode::{self as op, By};
use uio_bpf_measure::oracle::{contain, maps, replay};
use uio_bpf_measure::run::{Contained, Input, ViolationKind};
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};
use uio_verifier::analysis::{Options, Rejection, analyse};

pub(crate) const ARRAY: u32 = 0;
pub(crate) const HASH: u32 = 1;
pub(crate) const RING: u32 = 3;
/// An array with one value: around it is nothing that is the program's.
const SINGLE: u32 = 2;
/// Bytes of that value.
pub(crate) const VALUE_BYTES: i32 = 32;

/// R6 is the value of the single array, R7 the packet's first eight bytes as a number that nobody knows. Ends the program if
/// there is no such value or the packet is shorter.
pub(crate) fn value_and_number() -> Vec<u64> {
    let mut slots = vec![
        op::load(8, false, 2, 1, 0),
        op::load(8, false, 3, 1, 8),
        op::alu(op::MOVE, true, 0, By::Register(2), 0),
        op::alu(op::ADD, true, 0, By::Immediate(8), 0),
        op::jump(op::JUMP_LESS_OR_EQUAL, true, 0, By::Register(3), 2),
        op::alu(op::MOVE, true, 0, By::Immediate(0), 0),
        op::EXIT,
        op::load(8, false, 7, 2, 0),
    ];
    slots.extend(lookup(SINGLE, 0));
    slots.extend([
        op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 1),
        op::EXIT,
        op::alu(op::MOVE, true, 6, By::Register(0), 0),
    ]);
    slots
}

/// R0 is a value of `map`, or null.
pub(crate) fn lookup(map: u32, key: i32) -> Vec<u64> {
    let mut slots = vec![
        op::store(4, 10, -4, By::Immediate(key)),
        op::alu(op::MOVE, true, 2, By::Register(10), 0),
        op::alu(op::ADD, true, 2, By::Immediate(-4), 0),
    ];
    slots.extend(op::wide(1, 5, map, 0));
    slots.push(op::call(1));
    slots
}

/// Writes a byte at R6 + R7, and ends.
pub(crate) fn write_there() -> [u64; 4] {
    [
        op::alu(op::ADD, true, 6, By::Register(7), 0),
        op::store(1, 6, 0, By::Immediate(0x41)),
        op::alu(op::MOVE, true, 0, By::Immediate(0), 0),
        op::EXIT,
    ]
}

/// Ends with 0.
pub(crate) const END: [u64; 2] = [op::alu(op::MOVE, true, 0, By::Immediate(0), 0), op::EXIT];

/// A packet program from pieces, with the maps of generated programs.
pub(crate) fn program(pieces: &[&[u64]]) -> ObjectImage {
    object(ProgramKind::Packet, &pieces.concat())
}

pub(crate) fn object(kind: ProgramKind, slots: &[u64]) -> ObjectImage {
    let program = ProgramImage {
        name: "program".into(),
        kind,
        target: String::new(),
        slots: slots.to_vec(),
        functions: vec![0],
    };
    ObjectImage { name: "bug".into(), maps: maps(), programs: vec![program] }
}

/// A packet that begins with `number`.
pub(crate) fn packet(number: u64) -> Input {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(64, 0);
    Input { bytes, ..Input::default() }
}

/// Why the program is refused, if it is.
fn rejection(object: &ObjectImage) -> Option<Box<Rejection>> {
    analyse(object, 0, &Options::default()).err().map(Box::new)
}

/// The program does harm with `input`, and is refused.
pub(crate) fn refused(object: &ObjectImage, input: &Input) {
    match contain(object, input, 1) {
        Some(Contained::Violated(_)) => {}
        other => panic!("it does no harm: {other:?}"),
    }
    assert_refused(object);
}

/// The program is refused, whether or not a run shows why.
pub(crate) fn assert_refused(object: &ObjectImage) {
    assert!(rejection(object).is_some(), "accepted");
}

/// The program is accepted, and all engines stay inside and agree, whatever the input.
pub(crate) fn contained(object: &ObjectImage, inputs: &[Input]) {
    if let Some(rejection) = rejection(object) {
        panic!("refused: {rejection}");
    }
    for input in inputs {
        if let Err(finding) = replay(object, input, 1) {
            panic!("{finding}");
        }
    }
}

/// What the program tries, contained.
pub(crate) fn violation(object: &ObjectImage, input: &Input) -> ViolationKind {
    match contain(object, input, 1) {
        Some(Contained::Violated(violation)) => violation.kind,
        other => panic!("it does no harm: {other:?}"),
    }
}
