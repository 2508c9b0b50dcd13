//! Arbitrary expressions over a real image: errors, never panics, and errors point into the text.

mod support;

use proptest::prelude::*;
use uio_debuginfo::{FileMemory, PrintLimits};
use uio_protocol::inspect::Registers;

fn parts() -> impl Strategy<Value = String> {
    let words = vec![
        "COUNT",
        "ORIGIN",
        "GRID",
        "PRIMES",
        "MESSAGES",
        "MAYBE",
        "NUMBER",
        "GREETING",
        "SLICE",
        "SHAPE",
        "POINTER",
        "NOWHERE",
        "TUPLE",
        "HUGE",
        "NEGATIVE",
        "RATIO",
        "GUARDED",
        "FIRST",
        "RING",
        "HANDLER",
        "set_count",
        "BITS",
        ".x",
        ".0",
        ".next",
        ".data",
        ".Move",
        "[0]",
        "[1..]",
        "[..2]",
        "[",
        "]",
        "(",
        ")",
        "*",
        "&",
        "-",
        "+",
        " - ",
        " * ",
        " / ",
        " % ",
        " as u64",
        " as i8",
        " as *u32",
        " as f32",
        " as bool",
        "(u16)",
        "(char*)",
        "$rip",
        "$rsp",
        "0",
        "1",
        "0xffffffffffffffff",
        "340282366920938463463374607431768211455",
        "1.5",
        "'x'",
        "true",
        "..",
        " as ",
        "guest::",
        "Color::Red",
        "Point",
    ];
    proptest::collection::vec(prop::sample::select(words), 1..12).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn evaluating_never_panics(expression in parts(), value in parts()) {
        let space = support::guest_space();
        let image = space.image().clone();
        let mut memory = FileMemory(&image);
        let registers = Registers { rip: image.entry(), rsp: 8, ..Registers::default() };
        match space.print(&expression, &mut memory, Some(&registers), PrintLimits::default()) {
            Ok(printed) => {
                prop_assert!(!printed.datum.to_text().is_empty());
                prop_assert!(!printed.to_json().to_string().is_empty());
            }
            Err(error) => {
                prop_assert!(error.span.end <= expression.len() && error.span.start <= error.span.end);
                prop_assert!(error.column() <= expression.chars().count());
            }
        }
        let _ = space.assign(&expression, &value, &mut memory, Some(&registers));
        let _ = space.locate(&expression, &mut memory, None);
        let completion = space.complete(&expression);
        prop_assert!(completion.start <= expression.len());
        if let Ok(signature) = space.function("set_count") {
            let _ = space.prepare_call(&signature, &[&value], &mut memory);
        }
    }

    #[test]
    fn literals_survive_assignment(value in any::<i64>()) {
        let space = support::guest_space();
        let image = space.image().clone();
        let assigned = space.assign("NEGATIVE", &value.to_string(), &mut FileMemory(&image), None);
        prop_assert_eq!(assigned.expect("fits").bytes, value.to_le_bytes().to_vec());
        let small = space.assign("TINY", &value.to_string(), &mut FileMemory(&image), None);
        prop_assert_eq!(small.is_ok(), i8::try_from(value).is_ok());
    }
}

#[test]
fn the_longest_expressions_fit_the_stack_of_a_thread() {
    let space = support::guest_space();
    let image = space.image().clone();
    let limits = PrintLimits::default();
    for expression in [
        format!("COUNT{}", " + 1".repeat(49)),
        format!("{}COUNT{}", "(".repeat(39), ")".repeat(39)),
        format!("{}COUNT", "-".repeat(39)),
        format!("RING{}.value", ".next".repeat(90)),
    ] {
        let printed = space.print(&expression, &mut FileMemory(&image), None, limits);
        assert!(printed.is_ok(), "{expression}: {}", printed.expect_err("is an error"));
    }
}
