//! Gaps of MorphOS's verifier and runtime, (a) to (g).

use uio_bpf::invocation::Stopped;
use uio_bpf_measure::encode::{self as op, By};
use uio_bpf_measure::oracle::contain;
use uio_bpf_measure::run::{Bound, Contained, Input, Memory, Replayed, ViolationKind};
use uio_protocol::bpf::ProgramKind;
use uio_verifier::analysis::{Options, analyse};

use crate::support::{
    ARRAY, END, HASH, assert_refused, contained, lookup, object, packet, program, refused, violation,
};

/// (a) The index of an array was checked by nobody.
#[test]
fn gap_a_array_index_out_of_bounds() {
    for index in [4, 1_000_000, -1] {
        let unchecked = [op::store(8, 0, 0, By::Immediate(1))];
        refused(&program(&[&lookup(ARRAY, index), &unchecked, &END]), &packet(0));
        let checked =
            [op::jump(op::JUMP_EQUAL, true, 0, By::Immediate(0), 1), op::store(8, 0, 0, By::Immediate(1))];
        contained(&program(&[&lookup(ARRAY, index), &checked, &END]), &[packet(0)]);
    }
}

/// (b) The context could be written, and what was written came back as a packet's address.
#[test]
fn gap_b_writes_to_the_context() {
    let forged = [
        op::store(8, 1, 0, By::Immediate(0x1000)),
        op::load(8, false, 2, 1, 0),
        op::load(1, false, 0, 2, 0),
        op::EXIT,
    ];
    refused(&program(&[&forged]), &packet(0));
    // Atomically neither.
    let atomic =
        [op::alu(op::MOVE, true, 2, By::Immediate(1), 0), op::atomic(true, 1, 0, 2, 0), END[0], END[1]];
    refused(&program(&[&atomic]), &packet(0));
}

/// (c) The arguments behind a format were not checked: `%s` read from any address.
#[test]
fn gap_c_arguments_of_printk() {
    let print = |argument: By| {
        [
            // "%s" and a zero.
            op::store(4, 10, -8, By::Immediate(0x0000_7325)),
            op::alu(op::MOVE, true, 1, By::Register(10), 0),
            op::alu(op::ADD, true, 1, By::Immediate(-8), 0),
            op::alu(op::MOVE, true, 2, By::Immediate(4), 0),
            op::alu(op::MOVE, true, 3, argument, 0),
            op::alu(op::MOVE, true, 4, By::Immediate(0), 0),
            op::alu(op::MOVE, true, 5, By::Immediate(0), 0),
            op::call(6),
            END[0],
            END[1],
        ]
    };
    // Any number: the string is read with care, and an address that cannot be read is no string.
    contained(&program(&[&print(By::Immediate(0x1000))]), &[packet(0)]);
    contained(&program(&[&print(By::Immediate(-1))]), &[packet(0)]);
    // The format itself has to be memory of its size.
    let format = [
        op::alu(op::MOVE, true, 1, By::Immediate(0x1000), 0),
        op::alu(op::MOVE, true, 2, By::Immediate(4), 0),
        op::call(6),
        END[0],
        END[1],
    ];
    refused(&program(&[&format]), &packet(0));
}

/// (d) A value was used after the delete that freed it.
#[test]
fn gap_d_value_used_after_delete() {
    let key = [
        op::store(4, 10, -4, By::Immediate(1)),
        op::store(8, 10, -16, By::Immediate(7)),
        op::store(8, 10, -24, By::Immediate(7)),
        op::store(8, 10, -32, By::Immediate(7)),
        op::alu(op::MOVE, true, 2, By::Register(10), 0),
        op::alu(op::ADD, true, 2, By::Immediate(-4), 0),
        op::alu(op::MOVE, true, 3, By::Register(10), 0),
        op::alu(op::ADD, true, 3, By::Immediate(-32), 0),
        op::alu(op::MOVE, true, 4, By::Immediate(0), 0),
    ];
    let map = op::wide(1, 5, HASH, 0);
    let update = [op::call(2)];
    let keep = [
        op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 1),
        op::EXIT,
        op::alu(op::MOVE, true, 6, By::Register(0), 0),
        op::alu(op::MOVE, true, 2, By::Register(10), 0),
        op::alu(op::ADD, true, 2, By::Immediate(-4), 0),
    ];
    let delete_and_write =
        [op::call(3), op::store(8, 6, 0, By::Immediate(0x55)), op::load(8, false, 0, 6, 0), op::EXIT];
    // The memory stays the map's, so it is a stale value and no more.
    let program = program(&[&key, &map, &update, &lookup(HASH, 1), &keep, &map, &delete_and_write]);
    contained(&program, &[packet(0)]);
}

/// (e) Pointers into the packet survived a call that moved it.
#[test]
fn gap_e_packet_pointers_after_the_packet_moved() {
    let moved = |reload: bool| {
        let mut slots = vec![
            op::alu(op::MOVE, true, 9, By::Register(1), 0),
            op::load(8, false, 6, 1, 0),
            op::load(8, false, 3, 1, 8),
            op::alu(op::MOVE, true, 0, By::Register(6), 0),
            op::alu(op::ADD, true, 0, By::Immediate(40), 0),
            op::jump(op::JUMP_LESS_OR_EQUAL, true, 0, By::Register(3), 2),
        ];
        slots.extend(END);
        // The packet starts 32 bytes later, if it is long enough.
        slots.extend([op::alu(op::MOVE, true, 2, By::Immediate(32), 0), op::call(44)]);
        if reload {
            slots.extend([
                op::load(8, false, 6, 9, 0),
                op::load(8, false, 3, 9, 8),
                op::alu(op::MOVE, true, 0, By::Register(6), 0),
                op::alu(op::ADD, true, 0, By::Immediate(8), 0),
                op::jump(op::JUMP_LESS_OR_EQUAL, true, 0, By::Register(3), 2),
            ]);
            slots.extend(END);
        }
        slots.extend([op::load(8, false, 0, 6, 0), op::alu(op::AND, true, 0, By::Immediate(3), 0), op::EXIT]);
        program(&[&slots])
    };
    refused(&moved(false), &packet(0));
    let short = Input { bytes: vec![1; 40], ..Input::default() };
    contained(&moved(true), &[packet(0), packet(u64::MAX), short]);
}

/// (f) Endless loops passed.
#[test]
fn gap_f_endless_loops() {
    let endless = program(&[&[op::alu(op::MOVE, true, 0, By::Immediate(0), 0), op::go(-1)], &END]);
    let options = Options { fuel: false, ..Options::default() };
    assert!(analyse(&endless, 0, &options).is_err());
    // Or it runs on fuel, and stops.
    if let Ok(analysis) = analyse(&endless, 0, &Options::default()) {
        assert!(!analysis.checked.fuel.is_empty());
        let bound = Bound::new(&endless, 0, &analysis.checked.fuel).unwrap();
        let mut memory = Memory::new(ProgramKind::Packet, &packet(0));
        let end = bound.contain(&mut memory, &Replayed::new(1), 1_000_000, &mut ());
        assert_eq!(end, Contained::Stopped(Stopped::Fuel));
        contained(&endless, &[packet(0)]);
    }
    // Without fuel it would not.
    assert_eq!(contain(&endless, &packet(0), 1), Some(Contained::Endless));
}

/// (g) A hash grew without end.
#[test]
fn gap_g_growth_of_hashes() {
    const KEYS: i32 = 64;
    let fill = [
        op::alu(op::MOVE, true, 6, By::Immediate(0), 0),
        op::store(8, 10, -16, By::Immediate(7)),
        op::store(8, 10, -24, By::Immediate(7)),
        op::store(8, 10, -32, By::Immediate(7)),
        // The head of the loop.
        op::store(4, 10, -4, By::Register(6)),
        op::alu(op::MOVE, true, 2, By::Register(10), 0),
        op::alu(op::ADD, true, 2, By::Immediate(-4), 0),
        op::alu(op::MOVE, true, 3, By::Register(10), 0),
        op::alu(op::ADD, true, 3, By::Immediate(-32), 0),
        op::alu(op::MOVE, true, 4, By::Immediate(0), 0),
    ];
    let map = op::wide(1, 5, HASH, 0);
    let again = [
        op::call(2),
        op::alu(op::ADD, true, 6, By::Immediate(1), 0),
        op::jump(op::JUMP_LESS, true, 6, By::Immediate(KEYS), -11),
    ];
    let program = program(&[&fill, &map, &again, &END]);
    contained(&program, &[packet(0)]);
    let bound = Bound::new(&program, 0, &[]).unwrap();
    let mut memory = Memory::new(ProgramKind::Packet, &packet(0));
    assert_eq!(bound.contain(&mut memory, &Replayed::new(1), 10_000, &mut ()), Contained::Ended(0));
    let (entries, limit) =
        (bound.maps()[HASH as usize].entry_count(), bound.maps()[HASH as usize].spec().max_entries);
    assert!(entries == limit && limit < KEYS as u32, "{entries} of {limit}");
}

/// Stack of a function that was left, or never written, is not read.
#[test]
fn unwritten_stack_is_not_read() {
    let read = program(&[&[op::load(8, false, 0, 10, -8), op::EXIT]]);
    assert!(matches!(violation(&read, &packet(0)), ViolationKind::Unwritten(_)));
    assert_refused(&read);
    let raw = object(ProgramKind::Raw { memory_bytes: 8 }, &[op::load(8, false, 0, 1, 1), op::EXIT]);
    refused(&raw, &Input::default());
}
