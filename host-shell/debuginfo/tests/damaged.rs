//! Damaged files: every answer may be wrong or an error, none may be a panic.

mod support;

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use uio_debuginfo::{FileMemory, Image, ImageError, InputSection, Placement, PrintLimits, Space};
use uio_protocol::inspect::Registers;

fn guest_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| std::fs::read(support::guest_path()).expect("was built"))
}

fn object_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| support::c_object("gcc", &["-O2"]))
}

/// Asks everything that the shell asks.
fn exercise(image: Image) {
    let image = Arc::new(image);
    image.warm();
    let _ = image.build_id();
    let addresses: Vec<u64> = image.symbols().take(40).map(|symbol| symbol.address).collect();
    for &address in &addresses {
        let _ = (image.source_frames(address), image.describe(address), image.source_location(address));
    }
    let _ = (image.search("a*"), image.near("COUNT", 3), image.complete_symbol("g", 20));
    let space = Space::new(image.clone());
    let mut memory = FileMemory(&image);
    for expression in [
        "COUNT", "MESSAGES", "PRIMES", "FIRST", "GUARDED", "SHAPE", "GREETING", "TUPLE", "HANDLER", "BITS",
        "COLOR", "first", "table", "callback", "greeting",
    ] {
        if let Ok(printed) = space.print(expression, &mut memory, None, PrintLimits::default()) {
            let _ = (printed.datum.to_text(), printed.to_json().to_string());
        }
        let _ = space.assign(expression, "1", &mut memory, None);
        let _ = space.complete(&format!("{expression}."));
    }
    for name in ["set_count", "mix", "greet", "ext_outer"] {
        if let Ok(signature) = space.function(name) {
            let _ = space.describe_signature(&signature);
            let _ = space.prepare_call(&signature, &["1"], &mut memory);
            let _ = space.format_result(&signature, 1, &mut memory, PrintLimits::default());
        }
    }
    let stack: Vec<u8> = addresses.iter().flat_map(|address| (address + 9).to_le_bytes()).collect();
    for &address in &addresses {
        let registers = Registers { rip: address, rsp: 0x1000, rbp: 0x1008, ..Registers::default() };
        let _ = space.symbolize(&space.unwind(&registers, &stack));
        let range = space.code_range(address);
        let _ = space.disassemble(range.address, &stack, Some(address), true);
    }
}

/// Placement failed in a library, not in a check of ours.
fn is_library_panic(error: &ImageError) -> bool {
    matches!(error, ImageError::Internal(_))
}

fn damage(bytes: &[u8], edits: &[(prop::sample::Index, u8)], keep: Option<prop::sample::Index>) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for (index, value) in edits {
        let at = index.index(damaged.len());
        damaged[at] = *value;
    }
    if let Some(keep) = keep {
        damaged.truncate(keep.index(damaged.len()));
    }
    damaged
}

/// Few by default, because each case asks everything of a whole file; `PROPTEST_CASES` overrides.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn images_with_changed_bytes(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..200),
        keep in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        match Image::parse(&damage(guest_bytes(), &edits, keep)) {
            Ok(image) => exercise(image),
            Err(error) => prop_assert!(!is_library_panic(&error), "{error}"),
        }
    }

    #[test]
    fn images_with_changed_headers(edits in proptest::collection::vec((0usize..64, any::<u8>()), 1..4)) {
        let mut bytes = guest_bytes().to_vec();
        for (at, value) in edits {
            bytes[at] = value;
        }
        match Image::parse(&bytes) {
            Ok(image) => exercise(image),
            Err(error) => prop_assert!(!is_library_panic(&error), "{error}"),
        }
    }

    /// Most of a file is debug information that nothing asks for; this aims at what is read.
    #[test]
    fn images_with_changed_debug_sections(
        section in prop::sample::select(vec![
            ".debug_info", ".debug_abbrev", ".debug_line", ".debug_ranges", ".debug_rnglists", ".debug_aranges",
            ".eh_frame", ".symtab", ".debug_str",
        ]),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let mut bytes = guest_bytes().to_vec();
        let elf = goblin::elf::Elf::parse(&bytes).expect("is whole");
        let found = elf.section_headers.iter().find(|header| {
            elf.shdr_strtab.get_at(header.sh_name) == Some(section) && header.sh_size > 0
        });
        if let Some(range) = found.and_then(goblin::elf::SectionHeader::file_range) {
            for (index, value) in edits {
                bytes[range.start + index.index(range.len())] = value;
            }
        }
        match Image::parse(&bytes) {
            Ok(image) => exercise(image),
            Err(error) => prop_assert!(!is_library_panic(&error), "{error}"),
        }
    }

    #[test]
    fn objects_with_changed_bytes(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
        sections in proptest::collection::vec((0usize..40, any::<u64>()), 0..20),
    ) {
        let placements: Vec<Placement> = sections
            .into_iter()
            .map(|(index, address)| Placement { section: InputSection::Index(index), address })
            .collect();
        match Image::place(&damage(object_bytes(), &edits, None), &placements) {
            Ok(image) => exercise(image),
            Err(error) => prop_assert!(!is_library_panic(&error), "{error}"),
        }
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.extend(&bytes);
        for bytes in [bytes, elf] {
            if let Ok(image) = Image::parse(&bytes) {
                exercise(image);
            }
        }
    }
}
