//! What a hostile program or proof could make the check grow with, or break it with.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::offset_of;

use uio_bpf::context::PacketContext;
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};

use crate::analysis::{Options, RejectionReason, analyse};
use crate::check::CheckReason;
use crate::domain::Scalar;
use crate::facts::{Facts, FrameFacts};
use crate::program::Program;
use crate::proof::ProofError;
use crate::reason::Reason;
use crate::stack::Slot;
use crate::state::{Distance, MAX_DISTANCES, MAX_VARIABLE_RANGES, PacketFacts, State};
use crate::transfer::{Next, Usage, step};
use crate::value::Value;

/// Far more than any of the limits.
const MANY: usize = 100;

fn encode(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

const EXIT: u64 = 0x95;

fn object(kind: ProgramKind, slots: Vec<u64>, functions: Vec<u32>) -> ObjectImage {
    let program = ProgramImage { name: String::new(), kind, target: String::new(), slots, functions };
    ObjectImage { name: String::new(), maps: Vec::new(), programs: alloc::vec![program] }
}

/// A packet program that has R2 and R3 point to the packet's start and end, then does `body` many times.
fn repeated(body: &[u64]) -> ObjectImage {
    let mut slots = alloc::vec![encode(0x79, 2, 1, 0, 0), encode(0x79, 3, 1, 8, 0)];
    for _ in 0..MANY {
        slots.extend_from_slice(body);
    }
    slots.extend([encode(0xb7, 0, 0, 0, 1), EXIT]);
    object(ProgramKind::Packet, slots, alloc::vec![0])
}

/// The state at the end of straight code; comparisons fall through.
fn last_state(object: &ObjectImage) -> State {
    let program = Program::new(object, 0).expect("a program");
    let mut usage = Usage::new(&program);
    let (mut state, mut slot) = (program.entry(), 0);
    while let Some(operation) = program.code.get(slot) {
        match step(&program, &mut usage, &mut state, slot, operation).expect("safe") {
            Next::Stop => break,
            Next::One(edge) | Next::Two(edge, ..) => slot = edge.to,
        }
    }
    state
}

#[test]
fn distances_do_not_add_up() {
    let state = last_state(&repeated(&[encode(0xbf, 4, 3, 0, 0), encode(0x1f, 4, 2, 0, 0)]));
    let distances = &state.shared.packet.distances;
    assert_eq!(distances.len(), MAX_DISTANCES);
    let newest = distances.last().map(|distance| distance.id);
    assert_eq!(newest, Some(state.registers[4].id), "the newest is kept");
}

#[test]
fn variable_ranges_do_not_add_up() {
    let port = offset_of!(PacketContext, port) as i16;
    let state = last_state(&repeated(&[
        encode(0x61, 5, 1, port, 0),
        encode(0x57, 5, 0, 0, 0xff),
        encode(0xbf, 6, 2, 0, 0),
        encode(0x0f, 6, 5, 0, 0),
        encode(0xbf, 7, 6, 0, 0),
        encode(0x07, 7, 0, 0, 4),
        encode(0x2d, 7, 3, 0, 0),
    ]));
    assert_eq!(state.shared.packet.variable.len(), MAX_VARIABLE_RANGES);
    assert_eq!(state.shared.packet.range(state.registers[6].id), 4, "the newest is kept");
}

#[test]
fn proofs_do_not_state_more() {
    let stated = |distances: usize, variable: usize| {
        let packet = PacketFacts {
            distances: alloc::vec![Distance { id: 1, base: 0, fixed: 0 }; distances],
            variable: alloc::vec![(1, 1); variable],
            ..PacketFacts::default()
        };
        Facts { frames: alloc::vec![FrameFacts::default()], packet, ..Facts::default() }.state().map(|_| ())
    };
    assert_eq!(stated(MAX_DISTANCES, MAX_VARIABLE_RANGES), Ok(()));
    assert_eq!(stated(MAX_DISTANCES + 1, 0), Err(ProofError::State));
    assert_eq!(stated(0, MAX_VARIABLE_RANGES + 1), Err(ProofError::State));
}

/// A call at `slot` of the function at `target`.
fn call(slot: i32, target: i32) -> u64 {
    encode(0x85, 0, 1, 0, target - slot - 1)
}

#[test]
fn the_deepest_chain_of_calls_bounds_the_stack() {
    let touch = |bytes: i16| encode(0x7a, 10, 0, -bytes, 0);
    let zero = encode(0xb7, 0, 0, 0, 0);
    let slots = alloc::vec![
        // The entry calls the large leaf and the one that calls it, the latter twice.
        touch(16),
        call(1, 6),
        call(2, 6),
        call(3, 10),
        zero,
        EXIT,
        touch(8),
        call(7, 10),
        zero,
        EXIT,
        touch(64),
        zero,
        EXIT,
    ];
    let object = object(ProgramKind::Timer, slots, alloc::vec![0, 6, 10]);
    let checked = analyse(&object, 0, &Options::default()).expect("safe").checked;
    assert_eq!(checked.frame_bytes, [16, 8, 64]);
    assert_eq!((checked.stack_bytes, checked.call_depth), (16 + 8 + 64, 3));
}

#[test]
fn functions_that_call_each_other_without_recursion_have_a_bound() {
    let touch = |bytes: i16| encode(0x7a, 10, 0, -bytes, 0);
    let (zero, one) = (encode(0xb7, 1, 0, 0, 0), encode(0xb7, 1, 0, 0, 1));
    let result = encode(0xb7, 0, 0, 0, 0);
    let unless = encode(0x15, 1, 0, 2, 0);
    let slots = alloc::vec![
        one,
        call(1, 6),
        one,
        call(3, 12),
        result,
        EXIT,
        // Each calls the other only where R1 is not 0.
        touch(8),
        unless,
        zero,
        call(9, 12),
        result,
        EXIT,
        touch(16),
        unless,
        zero,
        call(15, 6),
        result,
        EXIT,
    ];
    let object = object(ProgramKind::Timer, slots, alloc::vec![0, 6, 12]);
    let checked = analyse(&object, 0, &Options::default()).expect("safe").checked;
    assert_eq!((checked.stack_bytes, checked.call_depth), (8 + 16, 3));
}

#[test]
fn without_memory_r1_may_be_null() {
    let verdict = |memory_bytes: u32, slots: Vec<u64>| {
        let object = object(ProgramKind::Raw { memory_bytes }, slots, alloc::vec![0]);
        analyse(&object, 0, &Options::default()).map(|_| ()).map_err(|rejection| rejection.reason)
    };
    // Reads stack that was never written, if R1 is 0.
    let tested =
        alloc::vec![encode(0xb7, 0, 0, 0, 0), encode(0x55, 1, 0, 1, 0), encode(0x79, 0, 10, -8, 0), EXIT,];
    assert_eq!(verdict(8, tested.clone()), Ok(()));
    let uninitialised = Reason::UninitialisedStack { offset: -8, bytes: 8 };
    assert_eq!(verdict(0, tested), Err(RejectionReason::Check(CheckReason::Unsafe(uninitialised))));
    let read = alloc::vec![encode(0x71, 0, 1, 0, 0), EXIT];
    assert_eq!(verdict(8, read.clone()), Ok(()));
    assert!(matches!(
        verdict(0, read),
        Err(RejectionReason::Check(CheckReason::Unsafe(Reason::NotMemory { register: 1, .. })))
    ));
}

#[test]
fn impossible_slots_cover_nothing() {
    let covered = |bytes: u8| {
        let mut state = State::new();
        let value = Value::scalar(Scalar::UNKNOWN);
        Rc::make_mut(&mut state.frame_mut().stack).store(0, 8, value);
        let slot = Slot { index: 0, initialised: 0xff, start: 0, bytes, value };
        let frame = FrameFacts { stack: alloc::vec![slot], ..FrameFacts::default() };
        Facts { frames: alloc::vec![frame], ..Facts::default() }.include(&state)
    };
    assert!(covered(8));
    assert!(!covered(9) && !covered(64) && !covered(255));
}
