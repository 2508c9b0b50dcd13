//! Concrete results lie in abstract ones: for every operation, width, comparison and conversion.

use alloc::format;

use proptest::prelude::*;

use super::super::concrete::{alu as concrete, holds};
use super::*;

const OPERATIONS: [Alu; 14] = [
    Alu::Add,
    Alu::Subtract,
    Alu::Multiply,
    Alu::Divide,
    Alu::SignedDivide,
    Alu::Modulo,
    Alu::SignedModulo,
    Alu::Or,
    Alu::And,
    Alu::Xor,
    Alu::ShiftLeft,
    Alu::ShiftRight,
    Alu::ShiftRightArithmetic,
    Alu::Move,
];

const CONDITIONS: [Condition; 11] = [
    Condition::Equal,
    Condition::NotEqual,
    Condition::Greater,
    Condition::GreaterOrEqual,
    Condition::Less,
    Condition::LessOrEqual,
    Condition::BitsSet,
    Condition::SignedGreater,
    Condition::SignedGreaterOrEqual,
    Condition::SignedLess,
    Condition::SignedLessOrEqual,
];

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

/// Numbers at which bounds go wrong, and others.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..70,
        2 => (0u64..70).prop_map(u64::wrapping_neg),
        3 => (0u32..64, -2i64..=2).prop_map(|(shift, off)| (1u64 << shift).wrapping_add(off as u64)),
        2 => any::<u32>().prop_map(u64::from),
        2 => any::<i32>().prop_map(|number| number as u64),
        2 => any::<u64>(),
    ]
}

/// A set and a number in it.
fn member() -> impl Strategy<Value = (Scalar, u64)> {
    (number(), number(), number(), number(), 0u8..8).prop_map(|(x, y, z, mask, form)| {
        let signed = |a: u64, b: u64| Scalar::signed((a as i64).min(b as i64), (a as i64).max(b as i64));
        let unsigned = |a: u64, b: u64| Scalar::unsigned(a.min(b), a.max(b));
        let bits = || Scalar { bits: Bits::new(x, mask), ..Scalar::UNKNOWN }.normalise();
        let low = |a: u64, b: u64| {
            let (a, b) = (a as u32, b as u32);
            Scalar { low_umin: a.min(b), low_umax: a.max(b), ..Scalar::UNKNOWN }.normalise()
        };
        let low_signed = |a: u64, b: u64| {
            let (a, b) = (a as i32, b as i32);
            Scalar { low_smin: a.min(b), low_smax: a.max(b), ..Scalar::UNKNOWN }.normalise()
        };
        let set = match form {
            0 => Some(Scalar::constant(x)),
            1 => Some(signed(x, y)),
            2 => Some(unsigned(x, y)),
            3 => bits(),
            4 => low(x, y),
            5 => low_signed(x, y),
            6 => bits().and_then(|set| set.union(&Scalar::constant(z)).intersect(&unsigned(x, y))),
            _ => low_signed(x, y).and_then(|set| set.intersect(&signed(x, z))),
        };
        (set.expect("x is in every one of them"), x)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn arithmetic_contains_every_concrete_result((a, x) in member(), (b, y) in member()) {
        prop_assert!(a.contains(x) && b.contains(y));
        for op in OPERATIONS {
            for width in WIDTHS {
                let result = arithmetic(op, width, &a, &b);
                let number = concrete(op, width, x, y);
                prop_assert!(result.contains(number), "{op:?} {width:?} {x:#x} {y:#x} = {number:#x} not in {result:?}");
            }
        }
    }

    #[test]
    fn constants_stay_constants(x in number(), y in number()) {
        for op in [Alu::Add, Alu::Subtract, Alu::Multiply, Alu::Divide, Alu::Or, Alu::And, Alu::Xor,
            Alu::ShiftLeft, Alu::ShiftRight, Alu::ShiftRightArithmetic, Alu::Move, Alu::Modulo]
        {
            for width in WIDTHS {
                let result = arithmetic(op, width, &Scalar::constant(x), &Scalar::constant(y));
                prop_assert_eq!(result.get(), Some(concrete(op, width, x, y)), "{:?} {:?}", op, width);
            }
        }
    }

    #[test]
    fn a_branch_keeps_every_number_that_takes_it((a, x) in member(), (b, y) in member()) {
        for condition in CONDITIONS {
            for width in WIDTHS {
                let outcome = holds(condition, width, x, y);
                let refined = refine(condition, outcome, width, &a, &b);
                let Some((c, d)) = refined else {
                    return Err(TestCaseError::fail(format!("{condition:?} {outcome} {width:?} {x:#x} {y:#x}: {a:?} {b:?}")));
                };
                prop_assert!(c.contains(x) && d.contains(y), "{condition:?} {outcome} {width:?} {x:#x} {y:#x}: {c:?} {d:?}");
                prop_assert!(a.includes(&c) && b.includes(&d));
            }
        }
    }

    #[test]
    fn a_branch_on_constants_is_decided(x in number(), y in number()) {
        for condition in CONDITIONS {
            for width in WIDTHS {
                let outcome = holds(condition, width, x, y);
                let (a, b) = (Scalar::constant(x), Scalar::constant(y));
                prop_assert!(refine(condition, outcome, width, &a, &b).is_some());
                prop_assert!(refine(condition, !outcome, width, &a, &b).is_none(), "{condition:?} {width:?} {x:#x} {y:#x}");
            }
        }
    }

    #[test]
    fn conversions_contain_every_concrete_result((a, x) in member()) {
        for bytes in [1u8, 2, 4, 8] {
            let mask = if bytes == 8 { u64::MAX } else { (1 << (8 * u32::from(bytes))) - 1 };
            prop_assert!(a.truncate(bytes).contains(x & mask));
        }
        for (bits, extended) in [(8u8, x as i8 as i64), (16, x as i16 as i64), (32, x as i32 as i64)] {
            prop_assert!(a.sign_extend(bits, Width::W64).contains(extended as u64));
            prop_assert!(a.sign_extend(bits, Width::W32).contains(u64::from(extended as u32)));
        }
        for order in [ByteOrder::ToBig, ByteOrder::Swap] {
            prop_assert!(a.convert(order, 16).contains(u64::from((x as u16).swap_bytes())));
            prop_assert!(a.convert(order, 32).contains(u64::from((x as u32).swap_bytes())));
            prop_assert!(a.convert(order, 64).contains(x.swap_bytes()));
        }
        prop_assert!(a.convert(ByteOrder::ToLittle, 16).contains(x & 0xffff));
    }

    #[test]
    fn unions_include_and_inclusion_is_sound((a, x) in member(), (b, y) in member()) {
        let union = a.union(&b);
        prop_assert!(union.includes(&a) && union.includes(&b) && union.contains(x) && union.contains(y));
        if a.includes(&b) {
            prop_assert!(a.contains(y));
        }
        if let Some(both) = a.intersect(&b) {
            prop_assert!(a.includes(&both) && b.includes(&both));
        } else {
            prop_assert!(!(a.contains(y) || b.contains(x)));
        }
    }

    #[test]
    fn parts_rebuild_a_set((a, x) in member()) {
        let again = Scalar::new(a.bits, (a.umin, a.umax), (a.smin, a.smax), a.low(), a.low_signed());
        prop_assert!(again.is_some_and(|again| again.contains(x) && a.includes(&again)));
    }

    /// What a malicious proof may write: nothing of it panics, and only empty sets are refused.
    #[test]
    fn any_parts_are_a_set_or_refused(parts in any::<[u64; 6]>(), low in any::<[u32; 2]>(), low_signed in any::<[i32; 2]>(), x in number()) {
        let bits = Bits::new(parts[0], parts[1]);
        let set = Scalar::new(bits, (parts[2], parts[3]), (parts[4] as i64, parts[5] as i64), (low[0], low[1]), (low_signed[0], low_signed[1]));
        let allowed = bits.contains(x) && (parts[2]..=parts[3]).contains(&x)
            && (parts[4] as i64..=parts[5] as i64).contains(&(x as i64))
            && (low[0]..=low[1]).contains(&(x as u32)) && (low_signed[0]..=low_signed[1]).contains(&(x as i32));
        prop_assert!(!allowed || set.is_some_and(|set| set.contains(x)));
    }
}

/// CVE-2021-31440: minimum and maximum of the low half come from the whole only together.
#[test]
fn the_low_half_is_bounded_only_under_a_common_upper_half() {
    let set = Scalar::unsigned(1, 0x1_0000_0000);
    assert_eq!(set.low(), (0, u32::MAX));
}

/// CVE-2017-16995: a 32-bit move of -1 is zero-extended.
#[test]
fn a_32_bit_move_is_zero_extended() {
    let result = arithmetic(Alu::Move, Width::W32, &Scalar::UNKNOWN, &Scalar::constant(u64::MAX));
    assert_eq!(result.get(), Some(0xffff_ffff));
}

/// CVE-2020-8835: a 32-bit comparison bounds the low half only.
#[test]
fn a_32_bit_comparison_leaves_the_upper_half_unknown() {
    let (set, _) = refine(Condition::LessOrEqual, true, Width::W32, &Scalar::UNKNOWN, &Scalar::constant(1))
        .expect("possible");
    assert!(set.contains(0x1_0000_0001));
    assert_eq!(set.low(), (0, 1));
}
