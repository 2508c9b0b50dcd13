//! What the linker does with images made by hand, good and bad.

mod adversarial;
mod build;

use build::{BASES, Table, UNDEFINED, image, linked, relocate, section, symbol, u32_at, u64_at, zeroed};
use uio_linker::{Bases, StubBytes, Target, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{Binding, Definition, ExtensionImage, RelocationKind as Kind, SectionKind};
use uio_protocol::inspect::ExtensionId;
use uio_protocol::limits::{
    CHUNK_BYTES_MAX, RELOCATIONS_MAX, SECTIONS_MAX, SYMBOL_NAME_BYTES_MAX, SYMBOLS_MAX, UPLOAD_BYTES_MAX,
};

/// An address in the guest's kernel, within reach of [`BASES`].
const NEAR: GuestAddress = GuestAddress(0xffff_ffff_8000_2000);
/// An address in the low half, out of reach.
const FAR: GuestAddress = GuestAddress(0x5555_0000_1000);

fn at(section: u16, offset: u32) -> Definition {
    Definition::Section { section, offset }
}

/// The absolute address that a 32-bit displacement at `offset` of the text leads to.
fn destination(text: &[u8], offset: usize) -> u64 {
    let displacement = u32_at(text, offset).cast_signed();
    BASES.text.0.wrapping_add(offset as u64 + 4).wrapping_add_signed(i64::from(displacement))
}

#[test]
fn groups_are_separate_and_aligned() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 16, &[0x90; 5]);
    let bss = zeroed(&mut image, 64, 100);
    let data = section(&mut image, SectionKind::Data, 1, &[1; 3]);
    let more_text = section(&mut image, SectionKind::Text, 32, &[0xc3; 4096]);
    let constants = section(&mut image, SectionKind::ReadOnly, 8, &[2; 9]);
    let pages = plan(&image, &Table::default()).unwrap().pages();
    assert_eq!((pages.text, pages.read_only, pages.data), (2, 1, 1));
    let linked = linked(&image, &Table::default()).unwrap();
    let start = |section: u16| linked.placed[usize::from(section)].start;
    assert_eq!(start(text), BASES.text);
    assert_eq!(start(more_text).0, BASES.text.0 + 32);
    assert_eq!(start(constants), BASES.read_only);
    assert_eq!(start(data), BASES.data);
    assert_eq!(start(bss).0, BASES.data.0 + 64);
    assert_eq!(linked.text.len(), 8192);
    assert_eq!(linked.text[..6], [0x90, 0x90, 0x90, 0x90, 0x90, 0xcc]);
    assert_eq!(linked.text[32 + 4096..], [0xcc; 4096 - 32]);
    assert_eq!(linked.data, [1; 3]);
    assert_eq!(linked.zeroed_bytes, 61 + 100);
    assert_eq!(linked.text_place(40).section, ".s3");
    assert_eq!(linked.text_place(40).offset, 8);
    assert_eq!(linked.text_place(5).section, "stubs and veneers");
}

#[test]
fn an_empty_image_takes_nothing() {
    let image = image();
    let plan = plan(&image, &Table::default()).unwrap();
    assert_eq!((plan.pages().text, plan.pages().read_only, plan.pages().data), (0, 0, 0));
    let nowhere = GuestAddress(1);
    let linked = link(&plan, Bases { text: nowhere, read_only: nowhere, data: nowhere }).unwrap();
    assert!(linked.text.is_empty() && linked.exports.is_empty());
}

#[test]
fn own_definitions_come_first() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 1, &[0; 16]);
    symbol(&mut image, "memcpy", at(text, 4), Binding::Weak);
    let wanted = symbol(&mut image, "memcpy", UNDEFINED, Binding::Global);
    relocate(&mut image, (text, 8), Kind::Abs64, wanted, 0);
    let table = Table::new(&[("memcpy", Target::Address(FAR))]);
    let linked = linked(&image, &table).unwrap();
    assert_eq!(u64_at(&linked.text, 8), BASES.text.0 + 4);
    assert_eq!(table.asked.get(), 0);
}

#[test]
fn hints_reach_the_resolver() {
    let mut image = image();
    let data = section(&mut image, SectionKind::Data, 8, &[0; 8]);
    let hinted = symbol(&mut image, "count", Definition::Undefined { hint: Some(NEAR) }, Binding::Global);
    relocate(&mut image, (data, 0), Kind::Abs64, hinted, 3);
    assert_eq!(u64_at(&linked(&image, &Table::default()).unwrap().data, 0), NEAR.0 + 3);
    let exported = Table::new(&[("count", Target::Address(FAR))]);
    assert_eq!(u64_at(&linked(&image, &exported).unwrap().data, 0), FAR.0 + 3);
    image.symbols[0].definition = Definition::Undefined { hint: Some(GuestAddress(0)) };
    assert!(matches!(linked(&image, &Table::default()), Err(LoadError::BadHint { .. })));
}

#[test]
fn weak_symbols_may_be_missing() {
    let mut image = image();
    let data = section(&mut image, SectionKind::Data, 8, &[0xff; 8]);
    let weak = symbol(&mut image, "absent", UNDEFINED, Binding::Weak);
    relocate(&mut image, (data, 0), Kind::Abs64, weak, 0);
    assert_eq!(u64_at(&linked(&image, &Table::default()).unwrap().data, 0), 0);
}

#[test]
fn unused_undefined_symbols_are_not_looked_up() {
    let mut image = image();
    symbol(&mut image, "absent", UNDEFINED, Binding::Global);
    let table = Table::default();
    linked(&image, &table).unwrap();
    assert_eq!(table.asked.get(), 0);
}

#[test]
fn a_stub_is_made_once_and_serves_calls_and_pointers() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 16, &[0xe8, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0]);
    let data = section(&mut image, SectionKind::Data, 8, &[0; 16]);
    let gate = symbol(&mut image, "gate", UNDEFINED, Binding::Global);
    let again = symbol(&mut image, "gate", UNDEFINED, Binding::Weak);
    relocate(&mut image, (text, 1), Kind::Plt32, gate, -4);
    relocate(&mut image, (text, 6), Kind::Pc32, again, -4);
    relocate(&mut image, (data, 0), Kind::Abs64, gate, 0);
    relocate(&mut image, (data, 8), Kind::Abs32Signed, again, 0);
    let code = [0xb8, 1, 0, 0, 0, 0xcd, 0x81, 0xc3];
    let table = Table::new(&[("gate", Target::Stub(StubBytes::new(&code).unwrap()))]);
    let linked = linked(&image, &table).unwrap();
    let stub = BASES.text.0 + 16;
    assert_eq!(linked.text[16..24], code);
    assert_eq!(linked.text[24..], [0xcc; 4096 - 24]);
    assert_eq!(destination(&linked.text, 1), stub);
    assert_eq!(destination(&linked.text, 6), stub);
    assert_eq!(u64_at(&linked.data, 0), stub);
    assert_eq!(u32_at(&linked.data, 8), stub as u32);
    assert_eq!(table.asked.get(), 1);
}

#[test]
fn stubs_have_a_size_limit() {
    assert!(StubBytes::new(&[]).is_none());
    assert!(StubBytes::new(&[0x90; 33]).is_none());
    assert_eq!(StubBytes::new(&[0x90; 32]).unwrap().as_slice(), [0x90; 32]);
}

#[test]
fn far_calls_take_a_veneer_and_near_ones_do_not() {
    for (target, far) in [(FAR, true), (NEAR, false)] {
        let mut image = image();
        // call, jmp, je, call by PC32
        let code = [0xe8, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0, 0x0f, 0x84, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0];
        let text = section(&mut image, SectionKind::Text, 16, &code);
        let function = symbol(&mut image, "function", UNDEFINED, Binding::Global);
        relocate(&mut image, (text, 1), Kind::Plt32, function, -4);
        relocate(&mut image, (text, 6), Kind::Pc32, function, -4);
        relocate(&mut image, (text, 12), Kind::Pc32, function, -4);
        relocate(&mut image, (text, 17), Kind::Pc32, function, -4);
        let table = Table::new(&[("function", Target::Address(target))]);
        let linked = linked(&image, &table).unwrap();
        let veneer = BASES.text.0 + 32;
        let expected = if far { veneer } else { target.0 };
        for field in [1, 6, 12, 17] {
            assert_eq!(destination(&linked.text, field), expected, "{target} {field}");
        }
        assert_eq!(linked.text[32..34], [0x49, 0xbb]);
        assert_eq!(u64_at(&linked.text, 34), target.0);
        assert_eq!(linked.text[42..45], [0x41, 0xff, 0xe3]);
    }
}

#[test]
fn other_displacements_out_of_reach_are_errors() {
    let cases: [(&[u8], u32, Kind, i64); 4] = [
        // lea rax, [rip + function]
        (&[0x48, 0x8d, 0x05, 0, 0, 0, 0], 3, Kind::Pc32, -4),
        // call function + 1
        (&[0xe8, 0, 0, 0, 0], 1, Kind::Pc32, -3),
        // mov eax, function
        (&[0xb8, 0, 0, 0, 0], 1, Kind::Abs32, 0),
        (&[0x48, 0xc7, 0xc0, 0, 0, 0, 0], 3, Kind::Abs32Signed, 0),
    ];
    for (code, offset, kind, addend) in cases {
        let mut image = image();
        let text = section(&mut image, SectionKind::Text, 1, code);
        let function = symbol(&mut image, "function", UNDEFINED, Binding::Global);
        relocate(&mut image, (text, offset), kind, function, addend);
        let error = linked(&image, &Table::new(&[("function", Target::Address(FAR))])).unwrap_err();
        let LoadError::Overflow { place, kind: found, symbol, .. } = error else { panic!("{error:?}") };
        assert_eq!((place.section.as_str(), place.offset, found), (".s0", offset, kind));
        assert_eq!(symbol, "function");
    }
}

#[test]
fn the_global_offset_table_is_shared_and_relaxed() {
    let mut image = image();
    // mov rax, [rip+far]; mov rax, [rip+near]; cmp rax, [rip+near]
    let code = [
        0x48, 0x8b, 0x05, 0, 0, 0, 0, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0x48, 0x3b, 0x05, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0,
    ];
    let text = section(&mut image, SectionKind::Text, 16, &code);
    let constants = section(&mut image, SectionKind::ReadOnly, 8, &[0; 40]);
    let far = symbol(&mut image, "far", UNDEFINED, Binding::Global);
    let near = symbol(&mut image, "near", UNDEFINED, Binding::Global);
    let table = symbol(&mut image, "_GLOBAL_OFFSET_TABLE_", UNDEFINED, Binding::Global);
    relocate(&mut image, (text, 3), Kind::RexGotPcRelX, far, -4);
    relocate(&mut image, (text, 10), Kind::RexGotPcRelX, near, -4);
    relocate(&mut image, (text, 17), Kind::RexGotPcRelX, near, -4);
    relocate(&mut image, (text, 21), Kind::GotPc64, table, 0);
    relocate(&mut image, (constants, 0), Kind::Got64, near, 0);
    relocate(&mut image, (constants, 8), Kind::GotOff64, near, 0);
    relocate(&mut image, (constants, 16), Kind::Size64, near, 1);
    relocate(&mut image, (constants, 24), Kind::Got32, far, 0);
    relocate(&mut image, (constants, 28), Kind::Size32, far, 0);
    relocate(&mut image, (constants, 32), Kind::Abs64, table, 0);
    let linked =
        linked(&image, &Table::new(&[("far", Target::Address(FAR)), ("near", Target::Address(NEAR))]))
            .unwrap();
    let got = BASES.read_only.0;
    assert_eq!([u64_at(&linked.read_only, 0), u64_at(&linked.read_only, 8)], [FAR.0, NEAR.0]);
    assert_eq!(linked.text[1], 0x8b, "far is still loaded");
    assert_eq!(destination(&linked.text, 3), got);
    assert_eq!(linked.text[8], 0x8d, "near is computed");
    assert_eq!(destination(&linked.text, 10), NEAR.0);
    assert_eq!(linked.text[15], 0x3b, "a comparison is left alone");
    assert_eq!(destination(&linked.text, 17), got + 8);
    assert_eq!(u64_at(&linked.text, 21), got.wrapping_sub(BASES.text.0 + 21));
    let constants = &linked.read_only[16..];
    assert_eq!(u64_at(constants, 0), 8);
    assert_eq!(u64_at(constants, 8), NEAR.0.wrapping_sub(got));
    assert_eq!(u64_at(constants, 16), 0x31);
    assert_eq!(u32_at(constants, 24), 0);
    assert_eq!(u32_at(constants, 28), 0x30);
    assert_eq!(u64_at(constants, 32), got);
}

#[test]
fn constructors_are_listed_and_must_be_own_code() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 16, &[0xc3; 8]);
    let starts = section(&mut image, SectionKind::Constructors, 8, &[0; 16]);
    let ends = section(&mut image, SectionKind::Destructors, 8, &[0; 16]);
    let first = symbol(&mut image, "", at(text, 0), Binding::Local);
    for list in [starts, ends] {
        relocate(&mut image, (list, 0), Kind::Abs64, first, 2);
        relocate(&mut image, (list, 8), Kind::Abs64, first, 5);
    }
    let good = linked(&image, &Table::default()).unwrap();
    let function = |offset| GuestAddress(BASES.text.0 + offset);
    assert_eq!(good.constructors, [function(2), function(5)]);
    assert_eq!(good.destructors, [function(5), function(2)]);
    for bad in [-1i64, 8, i64::MIN] {
        image.relocations[1].addend = bad;
        assert!(matches!(linked(&image, &Table::default()), Err(LoadError::BadImage { .. })), "{bad}");
    }
}

#[test]
fn exports_are_global_definitions_and_entries_are_code() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 1, &[0xc3; 8]);
    let data = section(&mut image, SectionKind::Data, 1, &[0; 8]);
    symbol(&mut image, "main", at(text, 2), Binding::Global);
    symbol(&mut image, "state", at(data, 4), Binding::Weak);
    symbol(&mut image, "hidden", at(text, 3), Binding::Local);
    symbol(&mut image, "kernel", Definition::Absolute(NEAR.0), Binding::Global);
    symbol(&mut image, "end", at(text, 8), Binding::Global);
    symbol(&mut image, "elsewhere", UNDEFINED, Binding::Global);
    let linked = linked(&image, &Table::default()).unwrap();
    let names: Vec<_> = linked.exports.iter().map(|export| export.name.as_str()).collect();
    assert_eq!(names, ["end", "kernel", "main", "state"]);
    assert_eq!(linked.entry("main"), Some(GuestAddress(BASES.text.0 + 2)));
    assert_eq!(linked.export("state").unwrap().address, GuestAddress(BASES.data.0 + 4));
    for name in ["state", "hidden", "kernel", "end", "elsewhere", ""] {
        assert_eq!(linked.entry(name), None, "{name}");
    }
}

#[test]
fn uses_of_other_extensions_are_reported() {
    let mut image = image();
    let data = section(&mut image, SectionKind::Data, 8, &[0; 16]);
    let other = symbol(&mut image, "other", UNDEFINED, Binding::Global);
    relocate(&mut image, (data, 0), Kind::Abs64, other, 0);
    relocate(&mut image, (data, 8), Kind::Abs64, other, 8);
    let target = Target::Extension { extension: ExtensionId(4), address: FAR };
    let table = Table::new(&[("other", target)]);
    assert_eq!(plan(&image, &table).unwrap().uses().len(), 1);
    let linked = linked(&image, &table).unwrap();
    assert_eq!((linked.uses[0].extension, linked.uses[0].symbol.as_str()), (ExtensionId(4), "other"));
    assert_eq!(linked.uses.len(), 1);
}

#[test]
fn global_names_are_defined_once() {
    let mut image = image();
    let text = section(&mut image, SectionKind::Text, 1, &[0; 8]);
    symbol(&mut image, "twice", at(text, 0), Binding::Local);
    symbol(&mut image, "twice", at(text, 0), Binding::Global);
    assert!(linked(&image, &Table::default()).is_ok());
    symbol(&mut image, "twice", Definition::Absolute(1), Binding::Weak);
    assert_eq!(
        linked(&image, &Table::default()).unwrap_err(),
        LoadError::DuplicateSymbol { name: "twice".into() }
    );
}

#[test]
fn all_missing_symbols_are_listed_with_near_ones() {
    let mut image = image();
    let data = section(&mut image, SectionKind::Data, 8, &[0; 8]);
    for name in ["uio_prind", "zzz", "set_cuont"] {
        let index = symbol(&mut image, name, UNDEFINED, Binding::Global);
        relocate(&mut image, (data, 0), Kind::Abs64, index, 0);
    }
    let table = Table::new(
        &["uio_print", "uio_printf", "set_count", "other"].map(|name| (name, Target::Address(FAR))),
    );
    let LoadError::Undefined(missing) = linked(&image, &table).unwrap_err() else { panic!() };
    let missing: Vec<_> =
        missing.iter().map(|symbol| (symbol.name.as_str(), symbol.near.join(" "))).collect();
    let expected = [("set_cuont", "set_count"), ("uio_prind", "uio_print uio_printf"), ("zzz", "")];
    assert_eq!(missing, expected.map(|(name, near)| (name, near.to_string())));
}

#[test]
fn a_list_of_missing_symbols_fits_a_reply() {
    for name_bytes in [6, 100, SYMBOL_NAME_BYTES_MAX] {
        let mut image = image();
        let data = section(&mut image, SectionKind::Data, 8, &[0; 8]);
        for index in 0..20_000 {
            let name = format!("{index:0name_bytes$}");
            let index = symbol(&mut image, &name, UNDEFINED, Binding::Global);
            relocate(&mut image, (data, 0), Kind::Abs64, index, 0);
        }
        let error = linked(&image, &Table::new(&[("000001", Target::Address(FAR))])).unwrap_err();
        let bytes = postcard::to_allocvec(&error).unwrap().len();
        assert!(bytes <= CHUNK_BYTES_MAX + 16, "{bytes}");
        let LoadError::Undefined(missing) = error else { panic!() };
        assert!(missing.len() >= CHUNK_BYTES_MAX / (name_bytes + 10) - 1, "{}", missing.len());
    }
}

/// A change that makes a good image bad, and its name.
type Damage = (&'static str, fn(&mut ExtensionImage));

#[test]
fn inconsistent_images_are_refused() {
    let good = || {
        let mut image = image();
        let text = section(&mut image, SectionKind::Text, 16, &[0; 16]);
        zeroed(&mut image, 8, 8);
        section(&mut image, SectionKind::Constructors, 8, &[]);
        let own = symbol(&mut image, "own", at(text, 16), Binding::Global);
        symbol(&mut image, "other", UNDEFINED, Binding::Weak);
        relocate(&mut image, (text, 8), Kind::Abs64, own, 0);
        image
    };
    assert!(linked(&good(), &Table::default()).is_ok());
    let damages: [Damage; 27] = [
        ("no name", |image| image.name.clear()),
        ("long name", |image| image.name = "x".repeat(SYMBOL_NAME_BYTES_MAX + 1)),
        ("sections", |image| image.sections.resize(SECTIONS_MAX + 1, image.sections[1].clone())),
        ("symbols", |image| image.symbols.resize(SYMBOLS_MAX + 1, image.symbols[1].clone())),
        ("relocations", |image| image.relocations.resize(RELOCATIONS_MAX + 1, image.relocations[0])),
        ("section name", |image| image.sections[0].name = "x".repeat(SYMBOL_NAME_BYTES_MAX + 1)),
        ("alignment 0", |image| image.sections[0].alignment = 0),
        ("alignment 3", |image| image.sections[0].alignment = 3),
        ("alignment 8192", |image| image.sections[1].alignment = 8192),
        ("size above contents", |image| image.sections[0].size = 17),
        ("size below contents", |image| image.sections[0].size = 15),
        ("contents of zeroed", |image| image.sections[1].bytes = vec![0; 8]),
        ("half a pointer", |image| {
            image.sections[2].bytes = vec![0; 4];
            image.sections[2].size = 4;
        }),
        ("contents in all", |image| {
            let bytes = UPLOAD_BYTES_MAX / 2 + 1;
            for index in 0..2 {
                image.sections[index].kind = SectionKind::Data;
                image.sections[index].bytes = vec![0; bytes];
                image.sections[index].size = u32::try_from(bytes).unwrap();
            }
        }),
        ("symbol name", |image| image.symbols[0].name = "x".repeat(SYMBOL_NAME_BYTES_MAX + 1)),
        ("nameless global", |image| image.symbols[0].name.clear()),
        ("nameless undefined", |image| image.symbols[1].name.clear()),
        ("local undefined", |image| image.symbols[1].binding = Binding::Local),
        ("symbol behind section", |image| image.symbols[0].definition = at(0, 17)),
        ("symbol in no section", |image| image.symbols[0].definition = at(3, 0)),
        ("symbol far behind", |image| image.symbols[0].definition = at(0, u32::MAX)),
        ("relocation of nothing", |image| image.relocations[0].section = 3),
        ("relocation of zeroed", |image| image.relocations[0].section = 1),
        ("relocation over the end", |image| image.relocations[0].offset = 9),
        ("relocation far behind", |image| image.relocations[0].offset = u32::MAX),
        ("relocation by nothing", |image| image.relocations[0].symbol = 2),
        ("relocation by far", |image| image.relocations[0].symbol = u32::MAX),
    ];
    for (what, damage) in damages {
        let mut image = good();
        damage(&mut image);
        let result = plan(&image, &Table::default()).map(|_| ());
        assert!(matches!(result, Err(LoadError::BadImage { .. })), "{what}: {result:?}");
    }
}

#[test]
fn too_much_memory_is_refused() {
    let mut image = image();
    zeroed(&mut image, 4096, 1 << 30);
    assert_eq!(plan(&image, &Table::default()).unwrap().pages().data, 1 << 18);
    zeroed(&mut image, 4096, 1);
    assert!(matches!(plan(&image, &Table::default()), Err(LoadError::NoRoom { .. })));
    for _ in 0..200 {
        zeroed(&mut image, 1, u32::MAX);
    }
    assert!(matches!(plan(&image, &Table::default()), Err(LoadError::NoRoom { .. })));
}

#[test]
fn bases_are_checked() {
    let mut image = image();
    section(&mut image, SectionKind::Text, 1, &[0xc3; 5000]);
    let plan = plan(&image, &Table::default()).unwrap();
    let try_at = |text: u64| link(&plan, Bases { text: GuestAddress(text), ..BASES });
    assert!(try_at(u64::MAX - 8191).is_ok(), "the last two pages");
    for bad in [1, 0xfff, u64::MAX - 4095, u64::MAX] {
        assert!(matches!(try_at(bad), Err(LoadError::BadImage { .. })), "{bad:#x}");
    }
}
