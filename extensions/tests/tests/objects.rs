//! Every sample, by every compiler at every level: what it needs is there, and it links.

use std::path::Path;

use uio_extension_tests::{C_COMPILERS, build, c_samples, extensions, output, rust_samples};
use uio_isolation::scan::{Policy, scan};
use uio_linker::{Bases, Linked, Pages, Resolver, StubBytes, Target, link, plan};
use uio_objects::ParsedObject;
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{Binding, Definition};

/// What compilers call unasked, and every guest has.
const INTRINSICS: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// What samples need besides gates and intrinsics: of the `count` image, or of other extensions.
const OTHERS: [(&str, &[&str]); 5] = [
    ("set_count", &["count", "set_count"]),
    ("counter_watch", &["count"]),
    ("counter_report", &["counter_watch", "counter_watch_rate", "counter_watch_take"]),
    ("wild", &["count", "wild_bounce"]),
    ("heap_leaks", &[]),
];

/// Samples whose text holds an instruction that the loader refuses.
const REFUSED: [&str; 3] = ["wild_wrmsr", "wild_wrpkru", "wild_xrstor"];

/// Samples without `main`.
const RESIDENT: [(&str, &[&str]); 2] = [
    ("counter_watch", &["counter_watch", "counter_watch_rate", "counter_watch_take", "exit", "init"]),
    ("wild_bounce", &["wild_bounce"]),
];

const TEXT: u64 = 0xffff_ffff_c000_0000;
const STUB: [u8; 2] = [0xeb, 0xfe];

fn is_gate(name: &str) -> bool {
    let header = std::fs::read_to_string(extensions().join("include/uio.h")).expect("the header");
    header.contains(&format!(" {name}(")) || header.contains(&format!("*{name}("))
}

fn others(sample: &str) -> &'static [&'static str] {
    OTHERS.iter().find(|(name, _)| *name == sample).map_or(&[], |(_, symbols)| symbols)
}

/// Finds everything that a guest with the `count` image and the other samples has.
struct Guest(&'static [&'static str]);

impl Resolver for Guest {
    fn resolve(&self, name: &str, _: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        if INTRINSICS.contains(&name) {
            return Ok(Some(Target::Address(GuestAddress(0xffff_ffff_8010_0000))));
        }
        let known = is_gate(name) || self.0.contains(&name);
        Ok(known.then(|| StubBytes::new(&STUB).map(Target::Stub)).flatten())
    }

    fn candidates(&self, _: &mut dyn FnMut(&str)) {}
}

fn linked(sample: &str, object: &ParsedObject, others: &'static [&'static str]) -> Linked {
    let guest = Guest(others);
    let plan = plan(&object.image, &guest).unwrap_or_else(|error| panic!("{sample}: {error:?}"));
    let Pages { text, read_only, .. } = plan.pages();
    let read_only_base = TEXT + u64::from(text) * 4096;
    let bases = Bases {
        text: GuestAddress(TEXT),
        read_only: GuestAddress(read_only_base),
        data: GuestAddress(read_only_base + u64::from(read_only) * 4096),
    };
    link(&plan, bases).unwrap_or_else(|error| panic!("{sample}: {error:?}"))
}

/// Whether the loader refuses such text in ring 0.
fn is_refused(text: &[u8]) -> bool {
    scan(text, Policy::Ring0).next().is_some()
}

fn check(path: &Path) {
    let sample = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let bytes = std::fs::read(path).expect("the object");
    let object = uio_objects::parse(&bytes, sample).unwrap_or_else(|error| panic!("{sample}: {error}"));
    let others = others(sample);
    for symbol in &object.image.symbols {
        if matches!(symbol.definition, Definition::Undefined { .. }) {
            let name = symbol.name.as_str();
            assert!(
                is_gate(name) || INTRINSICS.contains(&name) || others.contains(&name),
                "{} needs `{name}`",
                path.display()
            );
        }
    }
    let linked = linked(sample, &object, others);
    let exports: Vec<&str> = linked.exports.iter().map(|export| export.name.as_str()).collect();
    let resident = RESIDENT.iter().find(|(name, _)| *name == sample);
    match (resident, sample) {
        (Some((_, expected)), _) => assert_eq!(exports, *expected, "{}", path.display()),
        (None, "add") => assert_eq!(exports, ["add", "main"]),
        (None, "loop") => assert_eq!(exports, ["main", "rounds"]),
        (None, _) => assert_eq!(exports, ["main"], "{}", path.display()),
    }
    assert_eq!(is_refused(&linked.text), REFUSED.contains(&sample), "{}", path.display());
}

#[test]
fn c_samples_link_at_every_level() {
    let samples = c_samples();
    assert!(samples.len() >= 12, "{samples:?}");
    for compiler in C_COMPILERS {
        for level in ["-O0", "-O1", "-O2", "-O3", "-Os"] {
            let folder = output(env!("CARGO_TARGET_TMPDIR"), &format!("{compiler}{level}"));
            build(&folder, compiler, &format!("{level} -Wpedantic"), "", &samples)
                .iter()
                .for_each(|path| check(path));
        }
    }
}

#[test]
fn rust_samples_link() {
    let samples = rust_samples();
    assert!(samples.len() >= 2, "{samples:?}");
    for level in ["0", "2", "s"] {
        let folder = output(env!("CARGO_TARGET_TMPDIR"), &format!("rust{level}"));
        build(&folder, "clang", "", &format!("-Copt-level={level}"), &samples)
            .iter()
            .for_each(|path| check(path));
    }
}

#[test]
fn weak_symbols_that_nobody_defines_are_null() {
    let folder = output(env!("CARGO_TARGET_TMPDIR"), "weak");
    let wild: Vec<_> = c_samples().into_iter().filter(|path| path.ends_with("wild/wild.c")).collect();
    let objects = build(&folder, "clang", "", "", &wild);
    let object =
        uio_objects::parse(&std::fs::read(&objects[0]).expect("the object"), "wild").expect("an object");
    for name in ["count", "wild_bounce"] {
        let symbol = object.image.symbols.iter().find(|symbol| symbol.name == name).expect("the symbol");
        assert_eq!(symbol.binding, Binding::Weak, "{name}");
    }
    // References to address 0 are within reach of the window.
    assert_eq!(linked("wild", &object, &[]).exports.len(), 1);
}
