//! Objects that were placed into a guest: relocated on the host, then used like the image.

mod support;

use std::sync::Arc;

use goblin::elf::Elf;
use uio_debuginfo::{
    FileMemory, Image, InputSection, MemoryError, Placement, PrintLimits, ReadMemory, Space, StackEnd,
};
use uio_protocol::inspect::Registers;

/// First address of the window for loaded code.
const WINDOW: u64 = 0xffff_ffff_c000_0000;

/// Gives every section that is loaded a page of its own, as a guest may.
fn placements(object: &[u8]) -> Vec<Placement> {
    let elf = Elf::parse(object).expect("is an object");
    let mut address = WINDOW;
    let mut found = Vec::new();
    for (index, section) in elf.section_headers.iter().enumerate() {
        let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or("");
        if section.sh_flags & 2 != 0 && name != ".eh_frame" {
            found.push(Placement { section: InputSection::Index(index), address });
            address += section.sh_size.next_multiple_of(0x1000) + 0x1000;
        }
    }
    let common = InputSection::Common("uninitialised_common".to_owned());
    found.push(Placement { section: common, address });
    found
}

fn space_with(object: &[u8]) -> (Space, Arc<Image>) {
    let extension = Arc::new(Image::place(object, &placements(object)).expect("is an object"));
    let mut space = support::guest_space();
    space.add("fixture", extension.clone());
    (space, extension)
}

/// Memory of image and extension as their files have it.
struct Both<'a>(&'a Image, &'a Image);

impl ReadMemory for Both<'_> {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        FileMemory(self.0).read(address, buffer).or_else(|_| FileMemory(self.1).read(address, buffer))
    }
}

fn builds() -> Vec<(String, Vec<u8>)> {
    let mut builds = Vec::new();
    for compiler in ["gcc", "clang"] {
        for flags in [
            &["-O0"][..],
            &["-O2"],
            &["-O1", "-gdwarf-4", "-ffunction-sections", "-fdata-sections"],
            &["-O0", "-fcommon"],
        ] {
            builds.push((format!("{compiler} {flags:?}"), support::c_object(compiler, flags)));
        }
    }
    builds
}

#[test]
fn prints_c_values() {
    for (build, object) in builds() {
        let (space, extension) = space_with(&object);
        let text = |expression: &str| {
            let image = space.image().clone();
            match space.print(expression, &mut Both(&image, &extension), None, PrintLimits::default()) {
                Ok(printed) => printed.datum.to_text(),
                Err(error) => error.to_string(),
            }
        };
        let second = extension.find_symbols("second")[0].address;
        assert_eq!(text("counter"), "3", "{build}");
        assert_eq!(text("counter + COUNT"), "44", "{build}");
        assert_eq!(text("table"), "[[1, 2, 3], [4, 5, 6]]", "{build}");
        assert_eq!(text("table[1][2]"), "6", "{build}");
        assert_eq!(text("first.kind"), "5", "{build}");
        assert_eq!(text("first.flags"), "17", "{build}");
        assert_eq!(text("first.delta"), "-3", "{build}");
        assert_eq!(text("first.parts[3]"), "4", "{build}");
        assert_eq!(text("first.whole"), "67305985", "{build}");
        assert_eq!(text("first.level"), "HIGH", "{build}");
        assert_eq!(text("second.level"), "LOW", "{build}");
        assert_eq!(text("first.next->level as int"), "-1", "{build}");
        assert_eq!(text("first.next"), format!("{second:#x} <second>"), "{build}");
        assert_eq!(text("*first.name"), "102 'f'", "{build}");
        assert!(text("first.name").ends_with("\"from C\""), "{build}: {}", text("first.name"));
        assert!(text("second.name").ends_with("\"second\""), "{build}");
        assert_eq!(text("greeting"), "\"from C\"", "{build}");
        assert_eq!(text("calls"), "40", "{build}");
        assert_eq!(text("ext_inner::calls"), "40", "{build}");
        assert_eq!(text("zeroed"), "[0, 0, 0, 0]", "{build}");
        assert_eq!(text("first.weight"), "0.5", "{build}");
        assert_eq!(text("(unsigned char)first.delta"), "253", "{build}");
        assert_eq!(text("((struct packet *)&second)->whole"), "7", "{build}");
        assert!(text("uninitialised_common").starts_with("0") || build.contains("common"), "{build}");
        assert_eq!(space.complete("first.ne").candidates, ["next"], "{build}");
    }
}

#[test]
fn knows_c_functions_and_lines() {
    let source: Vec<&str> = include_str!("fixtures/extension.c").lines().collect();
    for (build, object) in builds() {
        let (space, extension) = space_with(&object);
        let signature = space.function("ext_outer").expect("is there");
        let described = space.describe_signature(&signature);
        assert!(described.starts_with("ext_outer(count: int, packet: "), "{build}: {described}");
        assert!(
            described.ends_with(") -> long") || described.ends_with(") -> long int"),
            "{build}: {described}"
        );
        let outer = extension.find_symbols("ext_outer")[0];
        assert!(outer.address >= WINDOW && extension.contains_code(outer.address), "{build}");
        let at = extension.source_location(outer.address).expect("has a line");
        let near = &source[at.line as usize - 2..at.line as usize];
        assert!(near.iter().any(|line| line.contains("long ext_outer(")), "{build}: {at}");
        assert_eq!(space.describe(outer.address + 1).as_deref(), Some("ext_outer+0x1"), "{build}");
        let mut memory = FileMemory(&extension);
        let call = space.prepare_call(&signature, &["-1", "&first"], &mut memory).expect("fits");
        assert_eq!(call.registers, [u64::MAX, extension.find_symbols("first")[0].address], "{build}");
        // Text is relocated too, so that calls show their targets.
        let range = space.code_range(outer.address);
        let mut code = vec![0; usize::try_from(range.size).expect("small")];
        memory.read(range.address, &mut code).expect("is in the file");
        let lines = space.disassemble(range.address, &code, None, true);
        assert!(lines.iter().any(|line| line.text == "call ext_inner"), "{build}: {lines:#?}");
    }
}

#[test]
fn unwinds_from_an_extension_into_the_image() {
    for compiler in ["gcc", "clang"] {
        let (space, extension) = space_with(&support::c_object(compiler, &["-O0"]));
        let inner = extension.find_symbols("ext_inner")[0].address;
        let range = space.code_range(extension.find_symbols("ext_outer")[0].address);
        let mut code = vec![0; usize::try_from(range.size).expect("small")];
        FileMemory(&extension).read(range.address, &mut code).expect("is in the file");
        let lines = space.disassemble(range.address, &code, None, false);
        let call = lines.iter().find(|line| line.target == Some(inner)).expect("calls it");
        let after_call = call.address + call.bytes.len() as u64;
        let guest_caller = space.image().find_symbols("_start")[0].address + 40;
        // At the first instruction of `ext_inner`; `ext_outer` keeps a frame pointer at -O0.
        let (rsp, rbp) = (0x5000u64, 0x5040u64);
        let mut stack = vec![0u8; 0x400];
        let mut put = |address: u64, value: u64| {
            let at = usize::try_from(address - rsp).expect("small");
            stack[at..at + 8].copy_from_slice(&value.to_le_bytes());
        };
        put(rsp, after_call);
        put(rbp, 0);
        put(rbp + 8, guest_caller);
        let registers = Registers { rip: inner, rsp, rbp, ..Registers::default() };
        let stack = space.unwind(&registers, &stack);
        let named = space.symbolize(&stack);
        let names: Vec<&str> = named.iter().filter_map(|f| f.functions.last()?.function.as_deref()).collect();
        assert_eq!(names[..3], ["ext_inner", "ext_outer", "_start"], "{compiler}: {stack:?}");
        assert_eq!(named[1].extension.as_deref(), Some("fixture"));
        assert_eq!(named[2].extension, None);
        let location = named[1].functions[0].location.as_ref().expect("has a line");
        assert!(location.file.ends_with("extension.c"), "{location}");
        // Entered on a stack of its own, with nothing above: the stack ends there.
        let mut own = vec![0u8; 0x100];
        own[..8].copy_from_slice(&0xdead_0000u64.to_le_bytes());
        let end = space.unwind(&registers, &own).end;
        assert_eq!(end, StackEnd::OutsideModules { address: 0xdead_0000 });
        own[..8].fill(0);
        assert_eq!(space.unwind(&registers, &own).end, StackEnd::Entry);
    }
}

#[test]
fn reads_rust_extensions() {
    let (space, extension) = space_with(&support::rust_object());
    let image = space.image().clone();
    let printed =
        space.print("extension::TOTAL", &mut Both(&image, &extension), None, PrintLimits::default());
    assert_eq!(printed.expect("is there").datum.to_text(), "Some(12)");
    let signature = space.function("rust_entry").expect("is there");
    assert_eq!(space.describe_signature(&signature), "rust_entry(count: u32) -> u32");
    let frames = extension.source_frames(signature.address);
    assert_eq!(frames.last().and_then(|frame| frame.function.as_deref()), Some("rust_entry"));
}

#[test]
fn a_whole_name_of_an_extension_comes_before_the_end_of_a_path_in_the_image() {
    let (mut space, extension) = space_with(&support::c_object("gcc", &["-O0"]));
    let image = space.image().clone();
    let letter = |space: &Space| {
        let limits = PrintLimits::default();
        space.print("LETTER", &mut Both(&image, &extension), None, limits).expect("is there").datum.to_text()
    };
    assert_eq!(letter(&space), "77");
    assert!(space.function("area").expect("is there").address >= WINDOW);
    assert!(space.remove(extension.id()));
    assert_eq!(letter(&space), "'ß'");
    assert!(space.function("area").expect("is there").address < WINDOW);
}

#[test]
fn forgets_what_was_unloaded() {
    let (mut space, extension) = space_with(&support::c_object("gcc", &["-O0"]));
    assert!(space.describe(WINDOW).is_some());
    assert!(space.remove(extension.id()) && !space.remove(extension.id()));
    assert_eq!(space.describe(WINDOW), None);
    let printed = space.print("counter", &mut FileMemory(&extension), None, PrintLimits::default());
    assert!(printed.is_err());
}
