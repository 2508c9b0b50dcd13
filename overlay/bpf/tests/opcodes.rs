//! Every arithmetic operation, conversion, comparison and access, with registers and constants, at the numbers where they
//! change their mind, against definitions in wide integers.

mod support;

use support::{executable, run_everywhere};

const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    31,
    63,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x1234_5678_9abc_def0,
    u64::MAX,
];

fn encode(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

const EXIT: u64 = 0x95;

/// `r = value`
fn load(register: u8, value: u64) -> [u64; 2] {
    [encode(0x18, register, 0, 0, value as i32), (value >> 32) << 32]
}

/// A number of `bits` bits, with or without sign.
fn signed(value: u64, bits: u32) -> i128 {
    let value = unsigned(value, bits);
    if value >> (bits - 1) == 1 { value - (1 << bits) } else { value }
}

fn unsigned(value: u64, bits: u32) -> i128 {
    i128::from(value) & ((1_i128 << bits) - 1)
}

fn reference(op: u8, is_signed: bool, bits: u32, left: u64, right: u64) -> u64 {
    let (a, b) = (unsigned(left, bits), unsigned(right, bits));
    let (sa, sb) = (signed(left, bits), signed(right, bits));
    let count = b & i128::from(bits - 1);
    let result = match op {
        0x00 => a + b,
        0x10 => a - b,
        0x20 => a.wrapping_mul(b),
        0x30 if b == 0 => 0,
        0x30 if is_signed => sa / sb,
        0x30 => a / b,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << count,
        0x70 => a >> count,
        0x90 if b == 0 => a,
        0x90 if is_signed => sa % sb,
        0x90 => a % b,
        0xa0 => a ^ b,
        0xb0 => b,
        0xc0 => sa >> count,
        _ => unreachable!("no such operation"),
    };
    (result & ((1_i128 << bits) - 1)) as u64
}

const OPERATIONS: [(u8, bool); 14] = [
    (0x00, false),
    (0x10, false),
    (0x20, false),
    (0x30, false),
    (0x30, true),
    (0x40, false),
    (0x50, false),
    (0x60, false),
    (0x70, false),
    (0x90, false),
    (0x90, true),
    (0xa0, false),
    (0xb0, false),
    (0xc0, false),
];

/// Runs `middle` with `left` in `destination` and `right` in `source`, and gives what `destination` holds then. Every other
/// register is checked to hold what it held.
fn compute(destination: u8, source: u8, left: u64, right: u64, middle: u64) -> u64 {
    let mut slots = Vec::new();
    for register in 0..10 {
        slots.extend(load(register, 0x1111_1111_1111_1111 * u64::from(register)));
    }
    slots.extend(load(source, right));
    slots.extend(load(destination, left));
    slots.push(middle);
    for register in 0..10 {
        slots.push(encode(0x7b, 10, register, -8 - 8 * i16::from(register), 0));
    }
    let result_at = -8 - 8 * i16::from(destination);
    for register in (0..10).filter(|register| *register != source && *register != destination) {
        slots.push(encode(0x79, 1, 10, -8 - 8 * i16::from(register), 0));
        slots.extend(load(2, 0x1111_1111_1111_1111 * u64::from(register)));
        // To the end with 0 in R0 if it changed.
        slots.push(encode(0x1d, 1, 2, 2, 0));
        slots.push(encode(0xb7, 0, 0, 0, 0xbad));
        slots.push(EXIT);
    }
    slots.push(encode(0x79, 0, 10, result_at, 0));
    slots.push(EXIT);
    run_everywhere(&executable(&slots), &[]).expect("ends")
}

#[test]
fn arithmetic_with_registers() {
    // Where machine registers have parts of their own in dividing and shifting.
    let places = [(0, 1), (1, 0), (3, 4), (4, 3), (3, 0), (0, 3), (4, 2), (6, 4), (9, 5), (0, 6), (7, 8)];
    for (op, is_signed) in OPERATIONS {
        for (class, bits) in [(0x0c, 32), (0x0f, 64)] {
            for (index, left) in NUMBERS.into_iter().enumerate() {
                for (jndex, right) in NUMBERS.into_iter().enumerate() {
                    let (destination, source) = places[(index + jndex * 5) % places.len()];
                    let middle = encode(op | class, destination, source, i16::from(is_signed), 0);
                    let result = compute(destination, source, left, right, middle);
                    let expected = reference(op, is_signed, bits, left, right);
                    assert_eq!(result, expected, "{op:#x} {is_signed} {bits} {left:#x} {right:#x}");
                }
            }
        }
    }
}

#[test]
fn division_in_every_pair_of_registers() {
    for (op, is_signed) in [(0x30, false), (0x30, true), (0x90, false), (0x90, true)] {
        for destination in 0..10 {
            for source in (0..10).filter(|source| *source != destination) {
                for (left, right) in [(1000, 7), (1000, 0), (u64::MAX, u64::MAX), (1 << 63, u64::MAX)] {
                    let middle = encode(op | 0x0f, destination, source, i16::from(is_signed), 0);
                    let result = compute(destination, source, left, right, middle);
                    assert_eq!(result, reference(op, is_signed, 64, left, right));
                }
            }
        }
    }
}

#[test]
fn arithmetic_with_itself() {
    for (op, is_signed) in OPERATIONS {
        for (class, bits) in [(0x0c, 32), (0x0f, 64)] {
            for register in 0..10 {
                for value in [0, 5, 0xffff_ffff_8000_0000, u64::MAX] {
                    let middle = encode(op | class, register, register, i16::from(is_signed), 0);
                    let result = compute(register, register, value, value, middle);
                    assert_eq!(result, reference(op, is_signed, bits, value, value), "{op:#x} {register}");
                }
            }
        }
    }
}

#[test]
fn arithmetic_with_constants() {
    let constants = [0, 1, -1, 2, 8, 10, 100, 127, 128, -128, 0x8000, 70_000, i32::MAX, i32::MIN];
    for (op, is_signed) in OPERATIONS {
        for (class, bits) in [(0x04, 32), (0x07, 64)] {
            for (index, left) in NUMBERS.into_iter().enumerate() {
                for constant in constants {
                    let destination = (index % 10) as u8;
                    let source = (destination + 1) % 10;
                    let middle = encode(op | class, destination, 0, i16::from(is_signed), constant);
                    let result = compute(destination, source, left, 0x1111_1111, middle);
                    let expected = reference(op, is_signed, bits, left, i64::from(constant) as u64);
                    assert_eq!(result, expected, "{op:#x} {is_signed} {bits} {left:#x} {constant}");
                }
            }
        }
    }
}

#[test]
fn conversions() {
    for (index, value) in NUMBERS.into_iter().enumerate() {
        let register = (index % 10) as u8;
        let other = (register + 3) % 10;
        let check = |middle, expected: u64| {
            assert_eq!(compute(register, other, value, value, middle), expected, "{middle:#x} {value:#x}");
        };
        check(encode(0x84, register, 0, 0, 0), u64::from((value as u32).wrapping_neg()));
        check(encode(0x87, register, 0, 0, 0), value.wrapping_neg());
        for (opcode, is_swap) in [(0xd4, false), (0xdc, true), (0xd7, true)] {
            let bytes = value.to_le_bytes();
            for width in [2, 4, 8] {
                let mut part = bytes[..width].to_vec();
                if is_swap {
                    part.reverse();
                }
                part.resize(8, 0);
                let expected = u64::from_le_bytes(part.try_into().expect("eight"));
                check(encode(opcode, register, 0, 0, width as i32 * 8), expected);
            }
        }
        for bits in [8, 16, 32] {
            let extended = signed(value, bits as u32) as u64;
            check(encode(0xbf, register, other, bits, 0), extended);
            if bits < 32 {
                check(encode(0xbc, register, other, bits, 0), extended & 0xffff_ffff);
            }
        }
    }
}

fn holds(condition: u8, bits: u32, left: u64, right: u64) -> bool {
    let (a, b) = (unsigned(left, bits), unsigned(right, bits));
    let (sa, sb) = (signed(left, bits), signed(right, bits));
    match condition {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0x60 => sa > sb,
        0x70 => sa >= sb,
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => sa < sb,
        0xd0 => sa <= sb,
        _ => unreachable!("no such condition"),
    }
}

#[test]
fn conditions() {
    let constants = [0, 1, -1, 127, -128, 255, 70_000, -70_000, i32::MAX, i32::MIN];
    for condition in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0] {
        for (class, bits) in [(6, 32), (5, 64)] {
            let taken = |right: u64, jump| {
                let mut results = Vec::new();
                for left in NUMBERS {
                    let mut slots = Vec::new();
                    slots.extend(load(1, left));
                    slots.extend(load(2, right));
                    slots.extend([encode(0xb7, 0, 0, 0, 1), jump, encode(0xb7, 0, 0, 0, 0), EXIT]);
                    let result = run_everywhere(&executable(&slots), &[]).expect("ends");
                    results.push((result == 1, left));
                }
                results
            };
            for right in NUMBERS {
                for (is_taken, left) in taken(right, encode(condition | 8 | class, 1, 2, 1, 0)) {
                    assert_eq!(is_taken, holds(condition, bits, left, right), "{condition:#x} {left:#x}");
                }
            }
            for constant in constants {
                for (is_taken, left) in taken(0, encode(condition | class, 1, 0, 1, constant)) {
                    let right = i64::from(constant) as u64;
                    assert_eq!(is_taken, holds(condition, bits, left, right), "{condition:#x} {left:#x}");
                }
            }
        }
    }
}

#[test]
fn accesses_through_every_register() {
    for base in 0..10 {
        for value in (0..11).filter(|value| *value != base) {
            for offset in [0_i16, 5, -5, 127, 128, -128, -129, 300] {
                for (size, bytes) in [(0x00, 4), (0x08, 2), (0x10, 1), (0x18, 8)] {
                    let mut memory = vec![0x5a; 1024];
                    // The base is 512 bytes in.
                    let mut slots = vec![encode(0xbf, base, 1, 0, 0), encode(0x07, base, 0, 0, 512)];
                    let stored = 0x8182_8384_8586_8788_u64;
                    if value == 10 {
                        slots.push(encode(0x62 | size, base, 0, offset, stored as i32));
                    } else {
                        slots.extend(load(value, stored));
                        slots.push(encode(0x63 | size, base, value, offset, 0));
                    }
                    if base != 0 {
                        slots.push(encode(0x61 | size, 0, base, offset, 0));
                    } else {
                        slots.push(encode(0x61 | size, 5, base, offset, 0));
                        slots.push(encode(0xbf, 0, 5, 0, 0));
                    }
                    slots.push(EXIT);
                    let stored = if value == 10 { stored as i32 as i64 as u64 } else { stored };
                    let expected = if bytes == 8 { stored } else { stored & ((1 << (bytes * 8)) - 1) };
                    assert_eq!(run_everywhere(&executable(&slots), &memory), Ok(expected));
                    let executable = executable(&slots);
                    let place = (512 + offset) as usize;
                    support::interpret(&executable, &mut memory).expect("ends");
                    assert_eq!(memory[place..place + bytes], stored.to_le_bytes()[..bytes]);
                    assert_eq!(memory[place + bytes], 0x5a);
                    assert_eq!(memory[place - 1], 0x5a);
                }
            }
        }
    }
}
