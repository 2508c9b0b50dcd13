//! Symbols and source positions of a linked image.

mod support;

use uio_debuginfo::{Image, ImageError, SymbolKind};

#[test]
fn identifies_the_image() {
    let image = support::guest();
    assert_eq!(image.build_id().map(<[u8]>::len), Some(20));
    let start = image.symbol_by_linkage_name("_start").expect("is linked");
    assert_eq!(image.entry(), start.address);
    assert!(start.address >= 0xffff_ffff_8000_0000);
    assert!(image.contains_code(start.address) && !image.contains_code(0x1000));
}

#[test]
fn finds_symbols_by_every_kind_of_name() {
    let image = support::guest();
    let by_linkage = image.symbol_by_linkage_name("set_count").expect("is linked");
    assert_eq!(by_linkage.kind, SymbolKind::Function);
    assert_eq!(image.find_symbols("set_count"), [by_linkage]);
    let sum = image.find_symbols("Point::sum");
    assert_eq!(sum.len(), 1);
    assert_eq!(sum[0].demangled(), "guest::model::Point::sum");
    assert_eq!(image.find_symbols("guest::model::Point::sum"), sum);
    assert_eq!(image.find_symbols("sum"), sum);
    assert_eq!(image.find_symbols(sum[0].name), sum);
    let area = image.find_symbols("Point::area");
    assert_eq!(area.len(), 1, "trait implementations go by their type: {area:?}");
    assert_eq!(image.find_symbols("guest::generic").len(), 2, "two instances");
    assert!(image.find_symbols("oint::sum").is_empty());
    assert_eq!(image.near("set_coutn", 3), ["set_count"]);
}

#[test]
fn searches_and_completes() {
    let image = support::guest();
    let names = |pattern: &str| {
        image.search(pattern).iter().map(uio_debuginfo::Symbol::demangled).collect::<Vec<_>>()
    };
    assert_eq!(names("set_*"), ["set_count"]);
    assert_eq!(names("et_coun"), ["set_count"]);
    assert!(names("*::Point::*").contains(&"guest::model::Point::sum".to_owned()));
    assert!(names("zzz*").is_empty());
    assert_eq!(image.complete_symbol("set_", 10), ["set_count"]);
    assert_eq!(image.complete_symbol("guest::model::Point::s", 10), ["guest::model::Point::sum"]);
    assert_eq!(image.complete_symbol("", 3).len(), 3);
}

#[test]
fn lists_variables() {
    fn shared_between_threads<T: Send + Sync>(_: &T) {}
    let space = support::guest_space();
    shared_between_threads(&space);
    let list = |pattern: &str| {
        let found = space.search_variables(pattern).expect("has debug information");
        found
            .iter()
            .map(|found| format!("{}: {}", found.name, space.type_name(&found.type_ref)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list("guest::SMALL*"),
        ["guest::SMALL: core::sync::atomic::AtomicU32", "guest::SMALL_RATIO: f32"]
    );
    assert_eq!(list("PRIM"), ["guest::PRIMES: [u32; 300]"]);
    assert!(list("*nothing*").is_empty());
    assert_eq!(space.search("set_*").len(), 1);
}

#[test]
fn describes_addresses() {
    let image = support::guest();
    let function = image.find_symbols("outer_work")[0];
    assert!(function.size > 8);
    assert_eq!(image.describe(function.address).as_deref(), Some("outer_work"));
    assert_eq!(image.describe(function.address + 4).as_deref(), Some("outer_work+0x4"));
    assert_eq!(image.describe(0x1234), None);
}

#[test]
fn shows_inlined_frames_with_lines() {
    let image = support::guest();
    let function = image.find_symbols("outer_work")[0];
    let frames = (0..function.size)
        .map(|offset| image.source_frames(function.address + offset))
        .find(|frames| frames.iter().any(|frame| frame.function.as_deref() == Some("guest::inlined_step")))
        .expect("the call was inlined");
    let last = frames.last().expect("not empty");
    assert_eq!(last.function.as_deref(), Some("outer_work"));
    assert!(!last.inlined && frames[0].inlined);
    for frame in frames.iter().filter(|frame| frame.function.as_deref() != Some("core::hint::black_box")) {
        let location = frame.location.as_ref().expect("has a line");
        assert!(location.line > 0, "{location}");
    }
    let source: Vec<&str> = include_str!("fixtures/guest.rs").lines().collect();
    let call = last.location.as_ref().expect("has a line");
    assert!(call.file.ends_with("guest.rs"), "{call}");
    assert!(source[call.line as usize - 1].contains("inlined_step(seed) + inlined_step"), "{call}");
    let store = image.find_symbols("set_count")[0];
    assert!(image.source_location(store.address).is_some());
}

#[test]
fn opening_and_parsing_see_the_same() {
    let path = support::guest_path();
    let (opened, parsed) =
        (support::guest(), Image::parse(&std::fs::read(&path).expect("is there")).expect("parses"));
    assert!(opened.symbols().eq(parsed.symbols()) && opened.symbols().count() > 20);
    assert_eq!(opened.build_id(), parsed.build_id());
    let address = opened.find_symbols("outer_work")[0].address;
    assert_eq!(opened.source_frames(address), parsed.source_frames(address));
}

#[test]
fn notices_that_a_file_changed() {
    use uio_debuginfo::{FileMemory, PrintLimits, Space};
    let bytes = std::fs::read(support::guest_path()).expect("is there");
    let ask = |path: &std::path::Path, change: &dyn Fn()| {
        std::fs::write(path, &bytes).expect("is writable");
        let image = std::sync::Arc::new(Image::open(path).expect("parses"));
        change();
        let space = Space::new(image.clone());
        let printed = space.print("COUNT", &mut FileMemory(&image), None, PrintLimits::default());
        printed.map(|printed| printed.datum.to_text()).map_err(|error| error.to_string())
    };
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("changing");
    let replaced = ask(&path, &|| {
        std::fs::remove_file(&path).expect("is there");
        std::fs::write(&path, "another").expect("is writable");
    });
    assert_eq!(replaced, Ok("41".to_owned()), "the old file is still open");
    let changed = ask(&path, &|| std::fs::write(&path, &bytes[..5000]).expect("is writable"));
    assert!(
        changed.as_ref().is_err_and(|error| error.contains("changed since it was opened")),
        "{changed:?}"
    );
}

#[test]
fn refuses_what_is_no_image() {
    assert!(matches!(Image::parse(b"#!/bin/sh\n"), Err(ImageError::Elf(_))));
    assert!(matches!(Image::parse(&[]), Err(ImageError::Elf(_))));
    let mut other = std::fs::read(support::guest_path()).expect("is there");
    other[18] = 183; // e_machine: AArch64
    assert!(matches!(Image::parse(&other), Err(ImageError::Machine { machine: 183, .. })));
    assert!(matches!(Image::open("/nonexistent"), Err(ImageError::Io { .. })));
    assert!(matches!(
        Image::place(&std::fs::read(support::guest_path()).expect("is there"), &[]),
        Err(ImageError::NotRelocatable(2))
    ));
}
