//! Images that nobody honest would send: the linker refuses them or produces bytes inside its bounds.

use proptest::prelude::*;
use uio_linker::{Bases, Linked, Resolver, StubBytes, Target, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{
    Binding, Definition, ExtensionImage, Relocation, RelocationKind, Section, SectionKind, Symbol,
};
use uio_protocol::inspect::ExtensionId;

use crate::build::BASES;

/// Finds most names, in every way there is.
struct Generous;

impl Resolver for Generous {
    fn resolve(&self, name: &str, hint: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        Ok(match name.len() % 5 {
            0 => None,
            1 => Some(Target::Address(GuestAddress(0xffff_ffff_8000_0000))),
            2 => {
                Some(Target::Extension { extension: ExtensionId(1), address: GuestAddress(0x1234_5678_9abc) })
            }
            3 => StubBytes::new(&[0xc3; 32]).map(Target::Stub),
            _ => hint.map(Target::Address),
        })
    }
    fn candidates(&self, visit: &mut dyn FnMut(&str)) {
        ["a", "bcd", "main", "uio_print"].into_iter().for_each(visit);
    }
}

fn kind() -> impl Strategy<Value = RelocationKind> {
    // Few values fit these.
    let narrow = prop::sample::select(vec![
        RelocationKind::Abs32,
        RelocationKind::Abs16,
        RelocationKind::Abs8,
        RelocationKind::Pc16,
        RelocationKind::Pc8,
    ]);
    let wide = prop::sample::select(vec![
        RelocationKind::Abs64,
        RelocationKind::Abs32Signed,
        RelocationKind::Pc64,
        RelocationKind::Pc32,
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
    ]);
    prop_oneof![1 => narrow, 30 => wide]
}

/// Mostly small numbers, sometimes any.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 0u32..64, 1 => any::<u32>()]
}

fn section() -> impl Strategy<Value = Section> {
    let kinds = prop_oneof![
        6 => Just(SectionKind::Text),
        3 => Just(SectionKind::ReadOnly),
        3 => Just(SectionKind::Data),
        3 => Just(SectionKind::Zeroed),
        1 => Just(SectionKind::Constructors),
        1 => Just(SectionKind::Destructors),
    ];
    // Opcodes that the linker looks at, and others.
    let byte = prop::sample::select(vec![0x8b, 0x05, 0xff, 0x15, 0x25, 0xe8, 0xe9, 0x0f, 0x84, 0x48, 0x00]);
    let fields = (kinds, 0u32..13, prop::collection::vec(byte, 0..64), number(), prop::bool::weighted(0.02));
    fields.prop_map(|(kind, shift, mut bytes, size, inconsistent)| {
        let calls = matches!(kind, SectionKind::Constructors | SectionKind::Destructors);
        if calls {
            bytes.truncate(bytes.len() / 8 * 8);
        }
        if kind == SectionKind::Zeroed {
            bytes.clear();
        }
        let true_size = if kind == SectionKind::Zeroed { size } else { u32::try_from(bytes.len()).unwrap() };
        Section {
            name: "s".into(),
            kind,
            alignment: if inconsistent { size } else { 1 << shift },
            size: if inconsistent { size } else { true_size },
            bytes,
        }
    })
}

fn symbol() -> impl Strategy<Value = Symbol> {
    let definition = prop_oneof![
        4 => (0u16..5, 0u32..48).prop_map(|(section, offset)| Definition::Section { section, offset }),
        1 => any::<u64>().prop_map(Definition::Absolute),
        3 => prop::option::of(any::<u64>().prop_map(GuestAddress)).prop_map(|hint| Definition::Undefined { hint }),
    ];
    let binding = prop::sample::select(vec![Binding::Local, Binding::Global, Binding::Weak]);
    ("[a-z_]{0,12}", definition, binding, any::<bool>(), number()).prop_map(
        |(name, definition, binding, function, size)| Symbol { name, definition, binding, function, size },
    )
}

fn relocation() -> impl Strategy<Value = Relocation> {
    let addend = prop_oneof![4 => Just(-4i64), 4 => -64i64..64, 1 => any::<i64>()];
    (0u16..5, number(), kind(), 0u32..12, addend).prop_map(|(section, offset, kind, symbol, addend)| {
        Relocation { section, offset, kind, symbol, addend }
    })
}

/// Images of which many pass the checks: indices and offsets are repaired with a probability.
fn image() -> impl Strategy<Value = ExtensionImage> {
    let parts = (
        prop::collection::vec(section(), 1..6),
        prop::collection::vec(symbol(), 1..12),
        prop::collection::vec(relocation(), 0..24),
        prop::bool::weighted(0.9),
    );
    parts.prop_map(|(sections, mut symbols, mut relocations, repair)| {
        if repair {
            for (index, symbol) in symbols.iter_mut().enumerate() {
                if let Definition::Section { section, offset } = &mut symbol.definition {
                    *section %= u16::try_from(sections.len()).unwrap();
                    *offset = (*offset).min(sections[usize::from(*section)].size);
                }
                let undefined = matches!(symbol.definition, Definition::Undefined { .. });
                if undefined && (symbol.name.is_empty() || symbol.binding == Binding::Local) {
                    symbol.name.push_str("missing");
                    symbol.binding = Binding::Weak;
                }
                if !undefined && symbol.binding != Binding::Local {
                    symbol.name.push_str(&format!("_{index}"));
                }
            }
            relocations.retain_mut(|relocation| {
                relocation.section %= u16::try_from(sections.len()).unwrap();
                relocation.symbol %= u32::try_from(symbols.len()).unwrap();
                let bytes = sections[usize::from(relocation.section)].bytes.len();
                relocation.offset as usize + usize::from(relocation.kind.width_bytes()) <= bytes
            });
        }
        ExtensionImage { name: "a".into(), sections, symbols, relocations }
    })
}

/// What must hold of everything that the linker accepts.
fn check(image: &ExtensionImage, bases: Bases) -> Option<Linked> {
    let plan = plan(image, &Generous).ok()?;
    let pages = plan.pages();
    let linked = link(&plan, bases).ok()?;
    assert_eq!(linked.text.len(), pages.text as usize * 4096);
    assert!(linked.read_only.len() <= pages.read_only as usize * 4096);
    assert!(linked.data.len() as u64 + linked.zeroed_bytes <= u64::from(pages.data) * 4096);

    let mut ranges = Vec::new();
    for (index, (section, placed)) in image.sections.iter().zip(&linked.placed).enumerate() {
        let (base, bytes) = match section.kind {
            SectionKind::Text => (bases.text, &linked.text),
            SectionKind::Data | SectionKind::Zeroed => (bases.data, &linked.data),
            _ => (bases.read_only, &linked.read_only),
        };
        let start = placed.start.offset_from(base).expect("inside its group");
        assert!(start.is_multiple_of(u64::from(section.alignment)));
        assert!(placed.size == section.size);
        ranges.push((placed.start.0, placed.start.0 + u64::from(placed.size)));
        // Nothing changed but the fields, and two bytes before those that may be relaxed.
        if section.kind == SectionKind::Zeroed {
            assert!(start >= linked.data.len() as u64);
            continue;
        }
        let start = usize::try_from(start).unwrap();
        let mut changed = vec![false; section.bytes.len()];
        for relocation in
            image.relocations.iter().filter(|relocation| usize::from(relocation.section) == index)
        {
            let field = relocation.offset as usize;
            let before = match relocation.kind {
                RelocationKind::GotPcRelX | RelocationKind::RexGotPcRelX => 2.min(field),
                _ => 0,
            };
            changed[field - before..field + usize::from(relocation.kind.width_bytes())].fill(true);
        }
        let after = &bytes[start..start + section.bytes.len()];
        for (offset, (old, new)) in section.bytes.iter().zip(after).enumerate() {
            assert!(changed[offset] || old == new, "byte {offset} of section {index}");
        }
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "sections overlap");
    let text = bases.text.0..=bases.text.0 + (linked.text.len() as u64).saturating_sub(1);
    for function in linked.constructors.iter().chain(&linked.destructors) {
        assert!(text.contains(&function.0));
    }
    for export in &linked.exports {
        assert_eq!(linked.export(&export.name).expect("found by name").name, export.name);
    }
    Some(linked)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_image_is_linked_in_bounds_or_refused(image in image(), low in any::<bool>()) {
        let low_bases = Bases {
            text: GuestAddress(0x1000),
            read_only: GuestAddress(0x8000_0000),
            data: GuestAddress(0x1_0000_0000),
        };
        check(&image, if low { low_bases } else { BASES });
    }

    #[test]
    fn changed_bytes_of_a_good_image_do_no_harm(
        image in image(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = postcard::to_allocvec(&image).unwrap();
        for (index, value) in edits {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(image) = postcard::from_bytes::<ExtensionImage>(&bytes) {
            check(&image, BASES);
        }
    }
}

/// The generator has to produce images that pass, or the properties above say nothing.
#[test]
fn many_arbitrary_images_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = image();
    let accepted = (0..2000)
        .filter(|_| {
            check(&strategy.new_tree(&mut runner).unwrap().current(), BASES)
                .is_some_and(|linked| !linked.text.is_empty())
        })
        .count();
    assert!(accepted > 300, "{accepted} of 2000");
}
