//! Parses what compilers and assemblers write, and what they never would.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use uio_objects::{ObjectError, ParsedObject, parse, resolve_hints};
use uio_protocol::GuestAddress;
use uio_protocol::image::{Binding, Definition, ExtensionImage, RelocationKind, SectionKind, Symbol};

/// Compiles `source` (C, or assembler with `language` "assembler") and returns the output file's bytes.
fn compile(compiler: &str, language: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    uio_prerequisites::require(&[uio_prerequisites::CLANG]);
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (input, output) = (folder.join(format!("{number}.in")), folder.join(format!("{number}.out")));
    std::fs::write(&input, source).unwrap();
    let result =
        Command::new(compiler).args(flags).args(["-x", language]).arg(&input).arg("-o").arg(&output).output();
    let result = match result {
        Ok(result) => result,
        Err(error) => panic!("this test needs `{compiler}` ({error}); on Debian: apt install gcc clang"),
    };
    assert!(result.status.success(), "{compiler}: {}", String::from_utf8_lossy(&result.stderr));
    std::fs::read(output).unwrap()
}

fn c(source: &str, flags: &[&str]) -> Vec<u8> {
    let mut all = vec!["-c", "-O1", "-ffreestanding", "-fno-pic", "-mcmodel=kernel", "-mno-red-zone"];
    all.extend_from_slice(flags);
    compile("gcc", "c", source, &all)
}

fn assembler(source: &str) -> Vec<u8> {
    compile("gcc", "assembler", source, &["-c"])
}

fn parsed(bytes: &[u8]) -> ParsedObject {
    parse(bytes, "test").unwrap_or_else(|error| panic!("{error}"))
}

fn error(bytes: &[u8]) -> ObjectError {
    let error = parse(bytes, "test").map(|_| ()).expect_err("it has to be refused");
    assert!(!error.to_string().is_empty() && !error.suggestion().is_empty());
    error
}

fn symbol<'a>(image: &'a ExtensionImage, name: &str) -> &'a Symbol {
    image.symbols.iter().find(|symbol| symbol.name == name).unwrap_or_else(|| panic!("no symbol {name}"))
}

/// Name and kind of the section that defines `name`, and the offset there.
fn place<'a>(image: &'a ExtensionImage, name: &str) -> (&'a str, SectionKind, u32) {
    let Definition::Section { section, offset } = symbol(image, name).definition else { panic!("{name}") };
    let section = &image.sections[usize::from(section)];
    (&section.name, section.kind, offset)
}

#[test]
fn sections_have_the_kind_of_their_use() {
    let source = "
        extern int other; int own = 1; int zero; static int hidden_zero;
        const int constant = 5; int *pointer = &own; int *const fixed = &other;
        const char *text(void) { return \"hello\"; }
        int sum(void) { return own + zero + hidden_zero++ + constant + other; }";
    for flags in [&["-fPIC", "-mcmodel=small"][..], &[]] {
        let image = parsed(&c(source, flags)).image;
        assert_eq!(place(&image, "sum").1, SectionKind::Text);
        assert_eq!(place(&image, "own").1, SectionKind::Data);
        assert_eq!(place(&image, "pointer").1, SectionKind::Data);
        assert_eq!(place(&image, "zero").1, SectionKind::Zeroed);
        assert_eq!(place(&image, "constant").1, SectionKind::ReadOnly);
        // `.data.rel.ro` in position-independent code.
        assert_eq!(place(&image, "fixed").1, SectionKind::ReadOnly);
        assert!(
            image
                .sections
                .iter()
                .all(|section| section.kind != SectionKind::Zeroed || section.bytes.is_empty())
        );
        let strings = image.sections.iter().find(|section| section.name.starts_with(".rodata.str")).unwrap();
        assert_eq!((strings.kind, strings.bytes.as_slice()), (SectionKind::ReadOnly, &b"hello\0"[..]));
        assert_eq!(symbol(&image, "other").definition, Definition::Undefined { hint: None });
        assert!(symbol(&image, "sum").function && !symbol(&image, "own").function);
        assert_eq!(symbol(&image, "own").size, 4);
    }
}

#[test]
fn debug_information_changes_nothing() {
    let source =
        "extern int f(int); static int table[3] = {1, 2, 3}; int g(int x) { return f(table[x]) + 1; }";
    for extra in [&[][..], &["-fasynchronous-unwind-tables", "-fexceptions"]] {
        let with: Vec<_> = extra.iter().copied().chain(["-g"]).collect();
        let image = parsed(&c(source, &with)).image;
        assert_eq!(image, parsed(&c(source, extra)).image);
        assert!(
            image
                .sections
                .iter()
                .all(|section| !section.name.contains("debug") && section.name != ".eh_frame")
        );
    }
}

#[test]
fn compressed_debug_information_does_not_matter() {
    parsed(&c("int f(void) { return 1; }", &["-g", "-gz"]));
}

#[test]
fn common_symbols_get_room_in_bss() {
    let image =
        parsed(&c("char a; long b; char c[3]; double d __attribute__((aligned(64)));", &["-fcommon"])).image;
    let mut ranges = Vec::new();
    for (name, size, alignment) in [("a", 1, 1), ("b", 8, 8), ("c", 3, 1), ("d", 8, 64)] {
        let (section, kind, offset) = place(&image, name);
        assert_eq!((section, kind, offset % alignment), ("COMMON", SectionKind::Zeroed, 0), "{name}");
        assert_eq!(symbol(&image, name).size, size);
        ranges.push((offset, offset + size));
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert_eq!(image.sections.len(), 1);
    assert!(image.sections[0].size >= ranges[3].1 && image.sections[0].alignment == 64);
}

#[test]
fn bindings_follow_the_object() {
    let source = "
        __attribute__((weak)) int weak(void) { return 1; }
        __attribute__((visibility(\"hidden\"), noinline)) int hidden(void) { return 2; }
        static __attribute__((noinline)) int local(int x) { return x * 3; }
        extern int absent(void) __attribute__((weak));
        int global(int x) { return weak() + hidden() + local(x) + (absent ? absent() : 0); }";
    let image = parsed(&c(source, &["-fno-ipa-icf", "-fno-ipa-cp"])).image;
    assert_eq!(symbol(&image, "weak").binding, Binding::Weak);
    assert_eq!(symbol(&image, "global").binding, Binding::Global);
    assert_eq!(symbol(&image, "absent").binding, Binding::Weak);
    // Sent only if something refers to them, and never seen by other extensions.
    for name in ["hidden", "local"] {
        if let Some(symbol) = image.symbols.iter().find(|symbol| symbol.name == name) {
            assert_eq!(symbol.binding, Binding::Local, "{name}");
        }
    }
    let absolute = parsed(&assembler(".globl answer\nanswer = 42\n.data\n.quad answer\n")).image;
    assert_eq!(symbol(&absolute, "answer").definition, Definition::Absolute(42));
}

#[test]
fn constructors_are_sorted_by_priority() {
    // Each list holds one number where a pointer would be.
    let source = "
        .section .init_array,\"aw\",@init_array\n.quad 60\n
        .section .init_array.00200,\"aw\",@init_array\n.quad 30, 31\n
        .section .ctors,\"aw\",@progbits\n.quad 71, 70\n
        .section .init_array.101,\"aw\",@init_array\n.quad 20\n
        .section .ctors.65434,\"aw\",@progbits\n.quad 22, 21\n
        .section .preinit_array,\"aw\",@preinit_array\n.quad 10\n
        .section .fini_array.00101,\"aw\",@fini_array\n.quad 1\n
        .section .fini_array,\"aw\",@fini_array\n.quad 2\n
        .section .dtors,\"aw\",@progbits\n.quad 4, 3\n";
    let image = parsed(&assembler(source)).image;
    let numbers = |kind: SectionKind| -> Vec<u64> {
        let mut sections = image.sections.iter().filter(|section| section.kind == kind);
        let section = sections.next().unwrap();
        assert!(sections.next().is_none(), "one list of a kind");
        section.bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    };
    assert_eq!(numbers(SectionKind::Constructors), [10, 20, 21, 22, 30, 31, 60, 70, 71]);
    assert_eq!(numbers(SectionKind::Destructors), [1, 2, 3, 4]);
}

#[test]
fn relocations_of_reversed_lists_move_with_their_pointers() {
    let source = ".text\na: ret\nb: ret\n.section .ctors,\"aw\",@progbits\n.quad a, b, 0\n";
    let image = parsed(&assembler(source)).image;
    let offsets: Vec<_> =
        image.relocations.iter().map(|relocation| (relocation.addend, relocation.offset)).collect();
    assert_eq!(offsets, [(0, 16), (1, 8)]);
}

/// A C program with `count` functions and variables.
fn many(count: usize) -> String {
    let one = |index| {
        format!(
            "int d{index} = {index}; static int z{index}; const char *s{index} = \"string {index}\";\n\
             int f{index}(void) {{ return d{index} + z{index}++ + s{index}[0]; }}\n"
        )
    };
    (0..count).map(one).collect()
}

#[test]
fn many_sections_are_merged_without_a_change_in_meaning() {
    let flags = ["-ffunction-sections", "-fdata-sections", "-g"];
    let bytes = c(&many(300), &flags);
    let object = parsed(&bytes);
    let names: Vec<_> = object.image.sections.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, [".text", ".rodata", ".data", ".bss"]);
    // Every input section's bytes are where the layout says, outside of relocated fields; so are symbols.
    let few = parsed(&c(&many(3), &flags));
    assert!(few.image.sections.len() > 6, "few sections keep their names");
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    assert_eq!(elf.section_headers.len(), object.layout.sections.len());
    let mut placed = 0;
    for (header, input) in elf.section_headers.iter().zip(&object.layout.sections) {
        assert_eq!(elf.shdr_strtab.get_at(header.sh_name), Some(input.name.as_str()));
        let Some(place) = input.place else { continue };
        let output = &object.image.sections[usize::from(place.section)];
        assert_eq!(u64::from(place.offset) % header.sh_addralign, 0);
        if header.sh_type != goblin::elf::section_header::SHT_NOBITS {
            let start = place.offset as usize;
            let range = header.file_range().unwrap();
            assert_eq!(output.bytes[start..start + range.len()], bytes[range]);
        }
        placed += 1;
    }
    assert!(placed > 1200, "{placed}");
    for (raw, definition) in elf.syms.iter().zip(&object.layout.symbols) {
        let name = elf.strtab.get_at(raw.st_name).unwrap();
        if raw.st_bind() == goblin::elf::sym::STB_GLOBAL {
            assert_eq!(Some(symbol(&object.image, name).definition), *definition, "{name}");
        }
    }
}

#[test]
fn the_host_finds_addresses_of_what_it_kept() {
    let object = parsed(&c("int a = 1; char gap; int f(void) { return a++; } int b;", &["-g", "-fcommon"]));
    let starts: Vec<_> =
        (0..object.image.sections.len()).map(|index| GuestAddress(0x1000 * (index as u64 + 1))).collect();
    let debug = object.layout.sections.iter().position(|section| section.name == ".debug_info").unwrap();
    assert_eq!(object.layout.section_address(debug, &starts), None);
    let text = object.layout.sections.iter().position(|section| section.name == ".text").unwrap();
    assert_eq!(object.layout.section_address(text, &starts), Some(starts[0]));
    assert_eq!(object.layout.section_address(text, &[]), None);
    let common = object.image.sections.iter().position(|section| section.name == "COMMON").unwrap();
    let found = (0..object.layout.symbols.len())
        .filter_map(|index| object.layout.symbol_address(index, &starts))
        .filter(|address| address.0 >= starts[common].0)
        .count();
    assert_eq!(found, 2, "gap and b");
    assert_eq!(object.layout.symbol_address(usize::MAX, &starts), None);
}

#[test]
fn section_bounds_are_defined_as_by_linkers() {
    let source = "
        .section entries,\"a\"\n.quad 1\n.text\n.quad 0\n.section entries,\"a\"\n.quad 2, 3\n
        .data\n.quad __start_entries, __stop_entries, __start_nothing\n.weak __start_nothing";
    let image = parsed(&assembler(source)).image;
    assert_eq!(place(&image, "__start_entries"), ("entries", SectionKind::ReadOnly, 0));
    assert_eq!(place(&image, "__stop_entries"), ("entries", SectionKind::ReadOnly, 24));
    assert_eq!(symbol(&image, "__start_nothing").definition, Definition::Undefined { hint: None });
}

#[test]
fn hints_are_given_to_undefined_symbols_only() {
    let mut image =
        parsed(&c("extern int known, unknown; int own = 1; int *p = &known, *q = &unknown;", &[])).image;
    let lookup = |name: &str| (name != "unknown").then_some(GuestAddress(0x1234));
    resolve_hints(&mut image, lookup);
    let hint = Some(GuestAddress(0x1234));
    assert_eq!(symbol(&image, "known").definition, Definition::Undefined { hint });
    assert_eq!(symbol(&image, "unknown").definition, Definition::Undefined { hint: None });
    assert!(matches!(symbol(&image, "own").definition, Definition::Section { .. }));
    resolve_hints(&mut image, |_| None);
    assert_eq!(symbol(&image, "known").definition, Definition::Undefined { hint: None });
}

#[test]
fn every_relocation_type_has_its_kind() {
    let source = "
        .text\n call f\n call f@PLT\n mov f@GOTPCREL(%rip), %rax\n mov f@GOTPCREL(%rip), %eax\n
        mov $f, %rax\n mov $f, %eax\n movabs $f, %rax\n add f@GOTPCREL(%rip), %xmm0\n
        movabs $f@GOTOFF, %rax\n movabs $f@GOT, %rax\n movabs $f@PLTOFF, %rax\n movabs $_GLOBAL_OFFSET_TABLE_-., %rax\n
        lea _GLOBAL_OFFSET_TABLE_(%rip), %rax\n
        .data\n .quad f-.\n .long f\n .short f\n .byte f\n .short f-.\n .byte f-.\n .long f@SIZE\n .quad f@SIZE\n .long f@GOT\n
        .quad f@GOTPCREL\n";
    let source = source.replace("add f@GOTPCREL(%rip), %xmm0", "movd f@GOTPCREL(%rip), %xmm0");
    let image = parsed(&assembler(&source)).image;
    let mut found: Vec<_> =
        image.relocations.iter().map(|relocation| format!("{:?}", relocation.kind)).collect();
    found.sort();
    found.dedup();
    for kind in [
        RelocationKind::Abs64,
        RelocationKind::Abs32,
        RelocationKind::Abs32Signed,
        RelocationKind::Abs16,
        RelocationKind::Abs8,
        RelocationKind::Pc64,
        RelocationKind::Pc16,
        RelocationKind::Pc8,
        RelocationKind::Plt32,
        RelocationKind::GotPcRel,
        RelocationKind::GotPcRelX,
        RelocationKind::RexGotPcRelX,
        RelocationKind::GotOff64,
        RelocationKind::GotPc32,
        RelocationKind::GotPc64,
        RelocationKind::Got32,
        RelocationKind::Got64,
        RelocationKind::GotPcRel64,
        RelocationKind::PltOff64,
        RelocationKind::Size32,
        RelocationKind::Size64,
    ] {
        assert!(found.contains(&format!("{kind:?}")), "{kind:?} not in {found:?}");
    }
}

#[test]
fn other_files_are_refused() {
    let main = "int main(void) { return 0; }";
    assert_eq!(error(b""), ObjectError::NotElf);
    assert_eq!(error(b"#!/bin/sh\n"), ObjectError::NotElf);
    assert!(matches!(error(b"\x7fELF"), ObjectError::Malformed { .. }));
    let executable = compile("gcc", "c", main, &["-no-pie"]);
    assert_eq!(error(&executable), ObjectError::NotRelocatable { found: "an executable" });
    let shared = compile("gcc", "c", main, &["-shared", "-fPIC"]);
    assert!(matches!(error(&shared), ObjectError::NotRelocatable { .. }));
    let narrow = compile("gcc", "c", main, &["-c", "-m32"]);
    assert!(matches!(error(&narrow), ObjectError::WrongMachine { machine: 3 }));
    let x32 = compile("gcc", "c", main, &["-c", "-mx32"]);
    assert!(matches!(error(&x32), ObjectError::WrongMachine { machine: 62 }));
    let foreign = compile("clang", "c", main, &["-c", "--target=aarch64-linux-gnu"]);
    assert_eq!(error(&foreign).to_string(), "built for AARCH64, not for x86-64");
}

#[test]
fn what_extensions_do_not_have_is_refused_by_name() {
    let defined = c("__thread int per_thread = 1; int f(void) { return per_thread; }", &[]);
    assert_eq!(error(&defined), ObjectError::ThreadLocalSection { section: ".tdata".into() });
    let used = c("extern __thread int per_thread; int f(void) { return per_thread; }", &[]);
    let ObjectError::ThreadLocalRelocation { section, symbol, .. } = error(&used) else { panic!() };
    assert_eq!((section.as_str(), symbol.as_str()), (".text", "per_thread"));
    assert!(error(&used).to_string().contains("TPOFF"), "{}", error(&used));
    let indirect = "static int g(void) { return 1; } static void *choose(void) { return g; }
        int f(void) __attribute__((ifunc(\"choose\")));";
    assert_eq!(error(&c(indirect, &[])), ObjectError::IndirectFunction { symbol: "f".into() });
    let writable = assembler(".section .both,\"awx\"\nret\n");
    assert_eq!(error(&writable), ObjectError::WritableCode { section: ".both".into() });
    let aligned = c("int big __attribute__((aligned(8192))) = 1;", &[]);
    assert_eq!(error(&aligned), ObjectError::Alignment { name: ".data".into(), alignment: 8192 });
    let common = c("int big __attribute__((aligned(8192)));", &["-fcommon"]);
    assert_eq!(error(&common), ObjectError::Alignment { name: "COMMON".into(), alignment: 8192 });
    let dropped = assembler(".section .debug_x,\"\"\nname: .quad 1\n.data\n.quad 5\n.quad name\n");
    let ObjectError::DroppedTarget { section, offset, target, .. } = error(&dropped) else { panic!() };
    assert_eq!((section.as_str(), offset, target.as_str()), (".data", 8, ".debug_x"));
    let fragment = assembler(".section .init,\"ax\"\ncall f\n");
    assert!(matches!(error(&fragment), ObjectError::UnsupportedSection { .. }));
    let half = assembler(".section .init_array,\"aw\",@init_array\n.long 1\n");
    assert!(matches!(error(&half), ObjectError::Malformed { .. }));
    let large = format!(".data\n.zero {}\n", 5 << 20);
    assert!(matches!(error(&assembler(&large)), ObjectError::Limit { what: "bytes", .. }));
}

#[test]
fn unknown_relocations_are_named() {
    let mut bytes = c("extern int f(void); int g(void) { return f() + 1; }", &[]);
    // The type is the low half of `r_info`, 8 bytes into the first entry of `.rela.text`.
    let header = {
        let elf = goblin::elf::Elf::parse(&bytes).unwrap();
        elf.section_headers
            .iter()
            .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".rela.text"))
            .unwrap()
            .clone()
    };
    let at = usize::try_from(header.sh_offset).unwrap() + 8;
    for (relocation, name) in [(37u32, "R_X86_64_IRELATIVE"), (45, "type 45"), (u32::MAX, "type 4294967295")]
    {
        bytes[at..at + 4].copy_from_slice(&relocation.to_le_bytes());
        let error = error(&bytes);
        let ObjectError::UnsupportedRelocation { symbol, .. } = &error else { panic!("{error:?}") };
        assert_eq!(symbol, "f");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.to_string().contains(".text+0x"), "{error}");
    }
}

#[test]
fn more_sections_than_the_header_can_count() {
    use std::fmt::Write;
    let mut source = String::new();
    for index in 0..66_000 {
        writeln!(source, ".section .text.f{index},\"ax\"\n.byte {}", index % 251).unwrap();
    }
    source.push_str(".globl last\nlast: ret\n.data\n.quad last\n");
    let image = parsed(&assembler(&source)).image;
    let (name, _, offset) = place(&image, "last");
    assert_eq!((name, offset), (".text", 66_000));
    let text = &image.sections[0].bytes;
    assert!((0..66_000).all(|index| usize::from(text[index]) == index % 251));
    assert_eq!(text[66_000], 0xc3);
}

/// What the guest's linker requires of an image.
fn assert_consistent(image: &ExtensionImage) {
    for section in &image.sections {
        assert!(section.alignment.is_power_of_two() && section.alignment <= 4096);
        let expected = if section.kind == SectionKind::Zeroed { 0 } else { section.size as usize };
        assert_eq!(section.bytes.len(), expected);
    }
    for symbol in &image.symbols {
        if let Definition::Section { section, offset } = symbol.definition {
            assert!(offset <= image.sections[usize::from(section)].size);
        }
    }
    for relocation in &image.relocations {
        let bytes = image.sections[usize::from(relocation.section)].bytes.len() as u64;
        assert!(u64::from(relocation.offset) + u64::from(relocation.kind.width_bytes()) <= bytes);
        assert!((relocation.symbol as usize) < image.symbols.len());
    }
}

/// Objects to damage: small, and with all kinds of sections.
fn specimens() -> &'static [Vec<u8>] {
    static SPECIMENS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SPECIMENS.get_or_init(|| {
        let source = "extern int other, also(int); char common[9]; static const char *names[] = {\"a\", \"b\"};
            __attribute__((constructor)) static void start(void) { common[1] = 1; }
            const char *f(int x) { return names[also(x) + other]; }";
        let mixed = ".section .ctors.5,\"aw\",@progbits\n.quad f, f\n.section .rodata.x,\"a\"\n.quad __start_e\n.section e,\"a\"\nf: .long f-.\n";
        vec![
            c(source, &["-fcommon"]),
            c(source, &["-fPIC", "-mcmodel=small", "-g", "-fcommon"]),
            c(&many(4), &["-ffunction-sections"]),
            assembler(mixed),
        ]
    })
}

/// Where damage hurts: headers, section headers, symbols and relocations rather than contents.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff), 0u8..16], 0u8..4);
    let edits = prop::collection::vec(edit, 1..12);
    (any::<prop::sample::Index>(), edits, prop::option::weighted(0.1, any::<prop::sample::Index>())).prop_map(
        |(which, edits, cut)| {
            let mut bytes = which.get(specimens()).clone();
            let headers = usize::try_from(u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap())).unwrap();
            for (index, value, area) in edits {
                let range = match area {
                    0 => 16..64,
                    1 | 2 => headers..bytes.len(),
                    _ => 64..headers,
                };
                let at = range.start + index.index(range.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn damaged_objects_do_no_harm(bytes in damaged()) {
        if let Ok(object) = parse(&bytes, "damaged") {
            assert_consistent(&object.image);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let with_magic = [b"\x7fELF\x02\x01\x01", bytes.as_slice()].concat();
        for bytes in [bytes, with_magic] {
            if let Ok(object) = parse(&bytes, "any") {
                assert_consistent(&object.image);
            }
        }
    }
}

#[test]
fn good_specimens_are_consistent() {
    specimens().iter().for_each(|bytes| assert_consistent(&parsed(bytes).image));
}
