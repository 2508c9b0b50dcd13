//! Verifier bugs of Linux.

use uio_bpf_measure::encode::{self as op, By};

use crate::support::{
    ARRAY, END, RING, VALUE_BYTES, assert_refused, contained, lookup, packet, program, refused,
    value_and_number, write_there,
};

/// A 32-bit move of -1 was taken for 64 bits of ones, and the way behind the comparison for dead.
#[test]
fn cve_2017_16995_sign_extension_of_32_bit_moves() {
    let program = program(&[
        &value_and_number(),
        &[
            op::alu(op::MOVE, false, 9, By::Immediate(-1), 0),
            op::jump(op::JUMP_NOT_EQUAL, true, 9, By::Immediate(-1), 2),
        ],
        &END,
        &[op::alu(op::MOVE, true, 7, By::Immediate(VALUE_BYTES), 0)],
        &write_there(),
    ]);
    refused(&program, &packet(0));
}

/// A 32-bit comparison was taken to bound all 64 bits.
#[test]
fn cve_2020_8835_bounds_after_32_bit_jumps() {
    let program = program(&[
        &value_and_number(),
        &[op::jump(op::JUMP_LESS_OR_EQUAL, false, 7, By::Immediate(1), 2)],
        &END,
        &write_there(),
    ]);
    refused(&program, &packet(0x1_0000_0001));
}

/// The 32-bit bounds of an or were those of the 64-bit operands, cut.
#[test]
fn cve_2020_27194_bounds_of_or() {
    let wide = op::wide(8, 0, 2, 6);
    let program = program(&[
        &value_and_number(),
        &wide,
        // 1 to 0x6_0000_0001: cut to 32 bits, that looks like 1.
        &[op::jump(op::JUMP_LESS, true, 7, By::Register(8), 2)],
        &END,
        &[op::jump(op::JUMP_NOT_EQUAL, true, 7, By::Immediate(0), 2)],
        &END,
        &[
            op::alu(op::OR, false, 7, By::Immediate(0), 0),
            op::alu(op::SUBTRACT, true, 7, By::Immediate(1), 0),
            op::alu(op::MULTIPLY, true, 7, By::Immediate(VALUE_BYTES), 0),
        ],
        &write_there(),
    ]);
    refused(&program, &packet(3));
}

/// 32-bit bounds were not updated where the low halves were known and the high ones were not.
#[test]
fn cve_2021_3490_bounds_of_bitwise_operations() {
    for operation in [op::AND, op::OR, op::XOR] {
        let (high, both) = (op::wide(8, 0, 0, u32::MAX), op::wide(9, 0, 2, 1));
        let program = program(&[
            &value_and_number(),
            &high,
            &both,
            &[
                // Low half 1, high half unknown; with low half 2, high half 1.
                op::alu(op::AND, true, 7, By::Register(8), 0),
                op::alu(op::ADD, true, 7, By::Immediate(1), 0),
                op::alu(operation, true, 7, By::Register(9), 0),
            ],
            &write_there(),
        ]);
        refused(&program, &packet(3 << 32));
    }
}

/// Minimum and maximum of the low half were copied from the whole one by one.
#[test]
fn cve_2021_31440_halves_bounded_independently() {
    let limit = op::wide(8, 0, 0, 1);
    let program = program(&[
        &value_and_number(),
        &limit,
        // 1 to 0x1_0000_0000: the low half may be 0.
        &[op::jump(op::JUMP_NOT_EQUAL, true, 7, By::Immediate(0), 2)],
        &END,
        &[op::jump(op::JUMP_LESS_OR_EQUAL, true, 7, By::Register(8), 2)],
        &END,
        &[op::jump(op::JUMP_LESS_OR_EQUAL, false, 7, By::Immediate(1), 2)],
        &END,
        &[
            // 1 less the low half: claimed to be 0.
            op::alu(op::MOVE, false, 8, By::Register(7), 0),
            op::alu(op::MOVE, true, 7, By::Immediate(1), 0),
            op::alu(op::SUBTRACT, true, 7, By::Register(8), 0),
            op::alu(op::MULTIPLY, true, 7, By::Immediate(VALUE_BYTES), 0),
        ],
        &write_there(),
    ]);
    refused(&program, &packet(0x1_0000_0000));
}

/// The limit of how far a pointer may be moved was wrong for some directions.
#[test]
fn cve_2021_33200_limits_of_pointer_arithmetic() {
    let masked = |back: bool, start: i32| {
        let operation = if back { op::SUBTRACT } else { op::ADD };
        program(&[
            &value_and_number(),
            &[
                op::alu(op::AND, true, 7, By::Immediate(VALUE_BYTES - 1), 0),
                op::alu(op::ADD, true, 6, By::Immediate(start), 0),
                op::alu(operation, true, 6, By::Register(7), 0),
                op::store(1, 6, 0, By::Immediate(1)),
            ],
            &END,
        ])
    };
    let inputs = [packet(0), packet(1), packet(u64::MAX)];
    contained(&masked(false, 0), &inputs);
    contained(&masked(true, VALUE_BYTES - 1), &inputs);
    refused(&masked(false, 1), &packet(u64::MAX));
    refused(&masked(true, VALUE_BYTES), &packet(0));
    refused(&masked(true, VALUE_BYTES - 2), &packet(u64::MAX));
}

/// A ring buffer gave a record larger than itself.
#[test]
fn cve_2021_3489_size_of_ring_records() {
    let reserve = |bytes: i32| {
        let mut slots = op::wide(1, 5, RING, 0).to_vec();
        slots.extend([
            op::alu(op::MOVE, true, 2, By::Immediate(bytes), 0),
            op::alu(op::MOVE, true, 3, By::Immediate(0), 0),
            op::call(131),
            op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 2),
        ]);
        slots.extend(END);
        slots.extend([
            op::store(8, 0, (bytes.min(16_384) - 8) as i16, By::Immediate(1)),
            op::alu(op::MOVE, true, 1, By::Register(0), 0),
            op::alu(op::MOVE, true, 2, By::Immediate(0), 0),
            op::call(132),
        ]);
        slots.extend(END);
        program(&[&slots])
    };
    // There is no room, so there is no record.
    for bytes in [8, 4_088, 4_096, 16_384, 0x2000_0000] {
        contained(&reserve(bytes), &[packet(0)]);
    }
    // The next one would be negative.
    assert_refused(&reserve(i32::MIN + 64));
}

/// What helpers are given was not looked at closely: a record from its middle, a value of a map as a record.
#[test]
fn cve_2021_4204_arguments_of_helpers() {
    let mut middle = op::wide(1, 5, RING, 0).to_vec();
    middle.extend([
        op::alu(op::MOVE, true, 2, By::Immediate(32), 0),
        op::alu(op::MOVE, true, 3, By::Immediate(0), 0),
        op::call(131),
        op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 2),
    ]);
    middle.extend(END);
    middle.extend([
        op::alu(op::MOVE, true, 1, By::Register(0), 0),
        op::alu(op::ADD, true, 1, By::Immediate(8), 0),
        op::alu(op::MOVE, true, 2, By::Immediate(0), 0),
        op::call(132),
    ]);
    middle.extend(END);
    refused(&program(&[&middle]), &packet(0));
    let value = [
        op::alu(op::MOVE, true, 1, By::Register(6), 0),
        op::alu(op::MOVE, true, 2, By::Immediate(0), 0),
        op::call(132),
    ];
    refused(&program(&[&value_and_number(), &value, &END]), &packet(0));
}

/// Arithmetic on a pointer that may be null gave one that passes for not null.
#[test]
fn cve_2022_23222_arithmetic_on_pointers_that_may_be_null() {
    let moved = [
        op::alu(op::ADD, true, 0, By::Immediate(8), 0),
        op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 2),
        END[0],
        END[1],
        op::store(8, 0, 0, By::Immediate(1)),
    ];
    // There are four values: the fifth is null.
    refused(&program(&[&lookup(ARRAY, 4), &moved, &END]), &packet(0));
}

/// A way was pruned because another one with different bounds had been fine.
#[test]
fn cve_2023_2163_pruning() {
    let ways = [
        op::alu(op::MOVE, true, 8, By::Immediate(0), 0),
        op::jump(op::JUMP_EQUAL, true, 7, By::Immediate(0), 1),
        op::alu(op::MOVE, true, 8, By::Immediate(VALUE_BYTES), 0),
        // The ways meet here, with different numbers in R8, and part again by something else.
        op::alu(op::AND, true, 7, By::Immediate(2), 0),
        op::jump(op::JUMP_EQUAL, true, 7, By::Immediate(0), 1),
        op::alu(op::ADD, true, 8, By::Immediate(0), 0),
        op::alu(op::MOVE, true, 7, By::Register(8), 0),
    ];
    let program = program(&[&value_and_number(), &ways, &write_there()]);
    refused(&program, &packet(1));
}

/// What a comparison said of one register was carried to another that only its low half equals.
#[test]
fn cve_2024_41003_bounds_of_related_registers() {
    let program = program(&[
        &value_and_number(),
        &[
            op::alu(op::MOVE, false, 8, By::Register(7), 0),
            op::jump(op::JUMP_LESS_OR_EQUAL, true, 8, By::Immediate(5), 2),
        ],
        &END,
        &write_there(),
    ]);
    refused(&program, &packet(0x1_0000_0001));
    // Nor to one that was moved by 32-bit arithmetic, which wraps.
    let wrapped = crate::support::program(&[
        &value_and_number(),
        &[
            op::alu(op::MOVE, false, 7, By::Register(7), 0),
            op::alu(op::MOVE, true, 8, By::Register(7), 0),
            op::alu(op::ADD, false, 8, By::Immediate(8), 0),
            op::jump(op::JUMP_LESS_OR_EQUAL, true, 8, By::Immediate(16), 2),
        ],
        &END,
        &write_there(),
    ]);
    refused(&wrapped, &packet(0xffff_fffe));
}

/// Arithmetic on pointers that have no masks under speculation: that on contexts and maps was allowed.
#[test]
fn cve_2020_27170_arithmetic_on_pointers_that_are_not_masked() {
    let number = value_and_number();
    let context = [
        // The context was in R1; the number goes there instead of a constant offset.
        op::alu(op::MOVE, true, 9, By::Register(1), 0),
    ];
    let moved = [
        op::alu(op::AND, true, 7, By::Immediate(16), 0),
        op::alu(op::ADD, true, 9, By::Register(7), 0),
        op::load(4, false, 0, 9, 16),
        op::EXIT,
    ];
    assert_refused(&program(&[&context, &number, &moved]));
    let mut map = op::wide(9, 5, ARRAY, 0).to_vec();
    map.extend(moved);
    assert_refused(&program(&[&number, &map]));
}

/// The masks of pointer arithmetic were computed from the wrong operand: here bounds come from the number that moves
/// the pointer, whichever side it stands on.
#[test]
fn cve_2021_29155_bounds_from_the_wrong_operand() {
    // number += pointer: the sum is the pointer.
    let swapped = |mask: i32| {
        program(&[
            &value_and_number(),
            &[
                op::alu(op::AND, true, 7, By::Immediate(mask), 0),
                op::alu(op::ADD, true, 7, By::Register(6), 0),
                op::store(1, 7, 0, By::Immediate(1)),
            ],
            &END,
        ])
    };
    contained(&swapped(VALUE_BYTES - 1), &[packet(0), packet(u64::MAX)]);
    refused(&swapped(2 * VALUE_BYTES - 1), &packet(u64::MAX));
}

/// Found by the oracle in this verifier: a pointer moved by the most negative number looked as if it had not moved.
#[test]
fn moving_a_pointer_by_the_least_number_is_refused() {
    let least = op::wide(7, 0, 0, 0x8000_0000);
    refused(&program(&[&value_and_number(), &least, &write_there()]), &packet(0));
}

/// Found by the oracle in this verifier: which of two unrelated addresses is larger tells where things are.
#[test]
fn comparing_unrelated_pointers_is_refused() {
    let compare = [op::jump(op::JUMP_GREATER, true, 6, By::Register(10), 2)];
    assert_refused(&program(&[&value_and_number(), &compare, &END, &END]));
}
