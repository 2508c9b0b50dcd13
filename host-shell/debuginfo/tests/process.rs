//! Call frames and heap values of a program that ran.

mod support;

use std::sync::Arc;

use support::Dump;
use uio_debuginfo::{FoundBy, Image, PrintLimits, Space, StackEnd};

fn space() -> Space {
    Space::new(Arc::new(Image::open(support::app_path()).expect("the fixture parses")))
}

/// Function names of a stack, innermost first, with those of inlined functions.
fn functions(space: &Space, stack: &uio_debuginfo::Stack) -> Vec<String> {
    space
        .symbolize(stack)
        .into_iter()
        .flat_map(|frame| frame.functions)
        .map(|function| function.function.unwrap_or_default())
        .collect()
}

#[test]
fn unwinds_to_the_start_of_the_process() {
    let (space, dump) = (space(), Dump::take());
    let stack = space.unwind(&dump.registers, &dump.stack(16 * 1024));
    let names = functions(&space, &stack);
    let expected = [
        "app::inlined_middle",
        "app::innermost",
        "app::recurse",
        "app::recurse",
        "app::recurse",
        "app::recurse",
        "app::through_closure::{closure#0}",
    ];
    let closure = |name: &str| name.replace("{{closure}}", "{closure#0}");
    let found: Vec<String> = names.iter().take(expected.len()).map(|name| closure(name)).collect();
    assert_eq!(found, expected, "{names:#?}");
    let rest = &names[expected.len()..];
    assert!(rest.iter().any(|name| name == "app::through_closure"), "{names:#?}");
    assert!(rest.iter().any(|name| name == "app::main"), "{names:#?}");
    assert!(rest.iter().any(|name| name == "main"), "{names:#?}");
    assert!(
        matches!(stack.end, StackEnd::Entry | StackEnd::OutsideModules { .. } | StackEnd::NoRules { .. }),
        "{:?}",
        stack.end
    );
    assert_eq!(stack.frames[0].found_by, FoundBy::Registers);
    assert!(stack.frames[1..].iter().all(|frame| frame.is_return_address));
    assert!(stack.frames.windows(2).all(|pair| pair[0].stack_pointer < pair[1].stack_pointer));
}

#[test]
fn finds_lines_of_callers() {
    let (space, dump) = (space(), Dump::take());
    let stack = space.unwind(&dump.registers, &dump.stack(16 * 1024));
    let source: Vec<&str> = include_str!("fixtures/app.rs").lines().collect();
    for frame in space.symbolize(&stack) {
        for function in frame.functions.iter().filter(|f| f.function.as_deref() == Some("app::recurse")) {
            let at = function.location.as_ref().expect("has a line");
            assert!(source[at.line as usize - 1].contains("recurse(path, depth - 1)"), "{at}");
        }
    }
}

#[test]
fn a_short_snapshot_ends_the_stack() {
    let (space, dump) = (space(), Dump::take());
    let whole = space.unwind(&dump.registers, &dump.stack(16 * 1024));
    let cut = space.unwind(&dump.registers, &dump.stack(300));
    assert!(cut.frames.len() < whole.frames.len() && whole.frames.starts_with(&cut.frames));
    assert!(matches!(cut.end, StackEnd::SnapshotEnds { .. }), "{:?}", cut.end);
    let none = space.unwind(&dump.registers, &[]);
    assert_eq!(none.frames.len(), 1);
}

#[test]
fn a_jump_to_nowhere_still_shows_the_caller() {
    let (space, dump) = (space(), Dump::take());
    let whole = space.unwind(&dump.registers, &dump.stack(16 * 1024));
    // As if `innermost`'s caller had called null: the return address is on top of the stack.
    let caller = whole.frames[1];
    let mut stack = dump.stack(16 * 1024);
    let offset = usize::try_from(caller.stack_pointer - dump.registers.rsp).expect("fits");
    stack.drain(..offset - 8);
    let registers =
        uio_protocol::inspect::Registers { rip: 0, rsp: caller.stack_pointer - 8, ..dump.registers };
    let found = space.unwind(&registers, &stack);
    assert_eq!(found.frames[1].found_by, FoundBy::StackTop);
    assert_eq!(found.frames[1].address, caller.address);
}

#[test]
fn a_call_at_the_end_of_a_function_belongs_to_it() {
    let (space, dump) = (space(), Dump::take());
    // After a call that never returns, the return address is where the next function begins.
    let next = space.image().find_symbols("app::recurse")[0].address;
    let registers = uio_protocol::inspect::Registers { rip: next, ..dump.registers };
    let name = |stack| space.symbolize(&stack)[0].symbol.clone().unwrap_or_default();
    assert!(name(space.unwind(&registers, &[])).contains("app::recurse"));
    assert!(!name(space.unwind_in_call(&registers, &[])).contains("app::recurse"));
}

#[test]
fn survives_garbage_stacks() {
    let space = space();
    let text = space.image().find_symbols("app::recurse")[0].address;
    let mut seed = 1u64;
    for round in 0..200u64 {
        let stack: Vec<u8> = (0..2048)
            .flat_map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (if seed >> 60 == 0 { text + (seed >> 50) % 64 } else { seed >> 20 }).to_le_bytes()
            })
            .collect();
        let registers = uio_protocol::inspect::Registers {
            rip: text + round % 80,
            rsp: 0x7000_0000_0000,
            rbp: 0x7000_0000_0100,
            ..Default::default()
        };
        let found = space.unwind(&registers, &stack);
        assert!(!found.frames.is_empty() && found.frames.len() <= uio_debuginfo::FRAMES_MAX);
    }
}

#[test]
fn prints_heap_values() {
    let (space, mut dump) = (space(), Dump::take());
    let mut text = |expression: &str| match space.print(expression, &mut dump, None, PrintLimits::default()) {
        Ok(printed) => printed.datum.to_text(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text("CONFIG.title"), "\"first\"");
    assert_eq!(text("CONFIG.ports"), "[80, 443]");
    assert_eq!(text("CONFIG.ports[1]"), "443");
    assert_eq!(text("CONFIG.hosts"), "[\"alpha\", \"beta\"]");
    assert_eq!(text("CONFIG.hosts[0][0]"), "97");
    assert_eq!(text("CONFIG.limit"), "Some(&99)");
    assert_eq!(text("*CONFIG.limit.0"), "99");
    assert_eq!(text("CONFIG.parent.0.title"), "\"second\"");
    assert_eq!(text("CONFIG.parent.0.parent"), "None");
    assert_eq!(text("CONFIG.device"), "&app::Disk");
    assert_eq!(text("CONFIG.raw"), "[1, 2, 3]");
    assert_eq!(text("CONFIG.shared"), "5");
    assert_eq!(text("CONFIG.queue"), "[6, 7, 8, 9]");
    let tree = text("CONFIG.tree");
    assert!(tree.starts_with("{\n  0: \"v0\",\n  1: \"v1\",\n"), "{tree}");
    assert!(tree.ends_with("  63: \"v63\",\n  … 36 more\n}"), "{tree}");
    assert_eq!(text("CONFIG.names"), "[1, 3]");
    assert_eq!(text("CONFIG.hashed"), "{9: true}");
    assert_eq!(text("CONFIG.parent.0.tree"), "{}");
    assert_eq!(text("CONFIG.parent.0.hashed"), "{}");
    assert_eq!(text("EMPTY"), "[]");
    assert_eq!(text("LONG[995..]"), "[53, 54, 55, 56, 57]");
    let long = text("LONG");
    assert!(long.starts_with("\"0123") && long.ends_with("\"… (1000 bytes)"), "{long}");
    let whole = text("CONFIG");
    assert!(whole.contains("title: \"first\"") && whole.contains("title: \"second\""), "{whole}");
}
