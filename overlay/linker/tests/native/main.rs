//! Links what real compilers produce, runs it in this process, and compares with what the system's
//! linker makes of the same program.

mod compile;
mod host;
#[expect(unreachable_pub, reason = "the function is public in the extension that is made of the same file")]
#[path = "../programs/rust_body.rs"]
mod rust_body;
mod system_linker;

use std::sync::{Mutex, MutexGuard, OnceLock};

use uio_linker::Target;
use uio_objects::parse;
use uio_protocol::error::LoadError;
use uio_protocol::image::{RelocationKind, SectionKind};
use uio_protocol::inspect::ExtensionId;

use compile::{c_object, execute, output, programs, rust_object};
use host::{Host, Loaded, Mode, Region, load};

const SEEDS: u64 = 64;

/// Name, flags, and where the result has to run.
type Model = (&'static str, &'static [&'static str], Region);

/// Code generation that extensions may be built with.
const MODELS: [Model; 8] = [
    ("kernel", &["-mcmodel=kernel", "-fno-pic"], Region::Low),
    ("sections", &["-mcmodel=kernel", "-fno-pic", "-ffunction-sections", "-fdata-sections"], Region::Low),
    ("small", &["-mcmodel=small", "-fno-pic"], Region::Low),
    ("pic", &["-fPIC"], Region::Any),
    ("pic-old", &["-fPIC", "-Wa,-mrelax-relocations=no"], Region::Any),
    // PIE expects the variables of others within reach (copy relocations).
    ("pie", &["-fPIE", "-fno-plt"], Region::Low),
    ("large", &["-mcmodel=large", "-fno-pic"], Region::Any),
    ("large-pic", &["-mcmodel=large", "-fPIC"], Region::Any),
];

/// What `everything.c` computes, linked by the system's linker.
fn expected() -> &'static [u64] {
    static EXPECTED: OnceLock<Vec<u64>> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let (source, main, program) =
            (programs().join("everything.c"), programs().join("reference.c"), output("reference"));
        let [source, main, program] =
            [&source, &main, &program].map(|path| path.to_str().expect("a UTF-8 path"));
        execute("gcc", &["-O1", "-fcommon", source, main, "-o", program]);
        let printed = String::from_utf8(execute(program, &[])).expect("numbers");
        let values: Vec<u64> = printed.lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(values.len(), SEEDS as usize);
        values
    })
}

fn everything(compiler: &str, level: &str, model: Model, mode: Mode) -> Loaded {
    let (name, flags, region) = model;
    let mut flags = flags.to_vec();
    flags.push(level);
    if mode == Mode::Stubs {
        flags.push("-DTAKE_ADDRESS");
    }
    let label = format!("everything-{compiler}{level}-{name}-{mode:?}");
    let object = c_object(compiler, "everything.c", &flags, &label);
    let parsed = parse(&object, "everything").unwrap_or_else(|error| panic!("{label}: {error}"));
    load(&parsed.image, &Host::new(mode), region).unwrap_or_else(|error| panic!("{label}: {error:?}"))
}

fn check_c(compiler: &str, level: &str) {
    for model in MODELS {
        for mode in [Mode::Direct, Mode::Stubs] {
            let loaded = everything(compiler, level, model, mode);
            for seed in 0..SEEDS {
                assert_eq!(
                    loaded.call("run", seed),
                    expected()[seed as usize],
                    "{compiler} {level} {} {mode:?} seed {seed}",
                    model.0
                );
            }
            for destructor in &loaded.linked.destructors {
                loaded.call_address(*destructor, 0);
            }
            assert_eq!(loaded.call("destructor_log", 0), 123, "{compiler} {level} {}", model.0);
        }
    }
}

macro_rules! levels {
    ($($name:ident: $compiler:literal $level:literal;)*) => {
        $(#[test] fn $name() { check_c($compiler, $level); })*
    };
}

levels! {
    gcc_o0: "gcc" "-O0";
    gcc_o1: "gcc" "-O1";
    gcc_o2: "gcc" "-O2";
    gcc_o3: "gcc" "-O3";
    gcc_os: "gcc" "-Os";
    clang_o0: "clang" "-O0";
    clang_o1: "clang" "-O1";
    clang_o2: "clang" "-O2";
    clang_o3: "clang" "-O3";
    clang_os: "clang" "-Os";
}

/// The reference and the extensions each count calls, so that runs must not mix.
fn rust_reference() -> MutexGuard<'static, Vec<u64>> {
    static EXPECTED: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let mut values = EXPECTED.lock().expect("no test panicked here");
    if values.is_empty() {
        values.extend((0..SEEDS).map(|seed| rust_body::rust_run(seed)));
    }
    values
}

#[test]
fn rust_at_all_levels_and_models() {
    let models: [(&str, &[&str], Region); 4] = [
        ("kernel", &["-C", "relocation-model=static", "-C", "code-model=kernel"], Region::Low),
        ("default", &[], Region::Any),
        ("large", &["-C", "relocation-model=static", "-C", "code-model=large"], Region::Any),
        ("large-pic", &["-C", "code-model=large"], Region::Any),
    ];
    let expected = rust_reference();
    for (name, flags, region) in models {
        for level in ["opt-level=0", "opt-level=1", "opt-level=2", "opt-level=3", "opt-level=s"] {
            for mode in [Mode::Direct, Mode::Stubs] {
                // Panics are functions of the host: as addresses in kernel-model code they only fit as stubs.
                let mut flags = flags.to_vec();
                flags.extend_from_slice(&["-C", level]);
                let label = format!("rust-{name}-{level}-{mode:?}");
                let object = rust_object(&flags, &label);
                let parsed = parse(&object, "rust").unwrap_or_else(|error| panic!("{label}: {error}"));
                let loaded = load(&parsed.image, &Host::new(mode), region)
                    .unwrap_or_else(|error| panic!("{label}: {error:?}"));
                for seed in 0..SEEDS {
                    assert_eq!(loaded.call("rust_run", seed), expected[seed as usize], "{label} seed {seed}");
                }
            }
        }
    }
}

#[test]
fn extensions_link_to_each_other() {
    for (model, flags, region) in MODELS {
        let mut host = Host::new(Mode::Direct);
        let object = c_object("gcc", "provider.c", flags, &format!("provider-{model}"));
        let provider = load(&parse(&object, "provider").unwrap().image, &host, region).unwrap();
        for name in ["provide", "shared_state"] {
            let address = provider.linked.export(name).unwrap().address;
            host.extra.insert(name.into(), Target::Extension { extension: ExtensionId(9), address });
        }
        assert!(provider.linked.entry("shared_state").is_none(), "data is no entry");
        let object = c_object("gcc", "user.c", flags, &format!("user-{model}"));
        let user = load(&parse(&object, "user").unwrap().image, &host, region).unwrap();
        assert_eq!(user.call("run", 10), 26);
        assert_eq!(user.call("run", 10), 27);
        let mut uses: Vec<_> =
            user.linked.uses.iter().map(|used| (used.extension.0, used.symbol.as_str())).collect();
        uses.sort_unstable();
        assert_eq!(uses, [(9, "provide"), (9, "shared_state")]);
    }
}

#[test]
fn every_name_is_asked_for_once() {
    let object = c_object("gcc", "everything.c", &["-O0", "-fPIC"], "asked");
    let host = Host::new(Mode::Stubs);
    load(&parse(&object, "asked").unwrap().image, &host, Region::Any).unwrap();
    let mut asked = host.asked.take();
    asked.sort();
    let all = asked.len();
    asked.dedup();
    assert_eq!(asked.len(), all);
    assert_eq!(asked, ["absent", "absent_value", "host_apply", "host_mix", "host_values"]);
}

#[test]
fn kernel_code_does_not_fit_elsewhere() {
    let object = c_object("gcc", "everything.c", &["-O1", "-mcmodel=kernel", "-fno-pic"], "overflow");
    let image = parse(&object, "overflow").unwrap().image;
    let Err(error) = load(&image, &Host::new(Mode::Stubs), Region::Any) else { panic!("it was loaded") };
    assert!(matches!(error, LoadError::Overflow { kind: RelocationKind::Abs32Signed, .. }), "{error:?}");
}

#[test]
fn missing_symbols_are_named_all_at_once() {
    let object = c_object("gcc", "user.c", &["-O1", "-fPIC"], "missing");
    let mut image = parse(&object, "missing").unwrap().image;
    for symbol in &mut image.symbols {
        if symbol.name == "provide" {
            symbol.name = "host_aply".into();
        }
    }
    let Err(LoadError::Undefined(missing)) = load(&image, &Host::new(Mode::Direct), Region::Any).map(|_| ())
    else {
        panic!("it was loaded")
    };
    let missing: Vec<_> =
        missing.iter().map(|symbol| (symbol.name.as_str(), symbol.near.join(" "))).collect();
    assert_eq!(missing, [("host_aply", "host_apply".into()), ("shared_state", String::new())]);
}

#[test]
fn many_sections_become_few() {
    let source = output("many.c");
    let mut text = String::from("typedef unsigned long u64;\n");
    for index in 0..400 {
        text.push_str(&format!(
            "u64 data{index} = {index}; u64 zero{index}; const char *name{index} = \"name{index}\";\n\
             u64 function{index}(u64 value) {{ zero{index} += value; return data{index} + zero{index} + name{index}[4]; }}\n"
        ));
    }
    text.push_str("u64 run(u64 value) { u64 sum = 0;\n");
    for index in 0..400 {
        text.push_str(&format!("sum = sum * 3 + function{index}(value);\n"));
    }
    text.push_str("return sum; }\n");
    std::fs::write(&source, text).unwrap();
    let flags = ["-O1", "-fPIC", "-ffunction-sections", "-fdata-sections"];
    let object = c_object("gcc", source.to_str().unwrap(), &flags, "many");
    let image = parse(&object, "many").unwrap().image;
    assert!(image.sections.len() <= 6, "{} sections", image.sections.len());
    assert!(image.sections.iter().any(|section| section.kind == SectionKind::Zeroed));
    let loaded = load(&image, &Host::new(Mode::Direct), Region::Any).unwrap();
    let expected = (0..400u64).fold(0u64, |sum, index| {
        let digit = u64::from(index.to_string().as_bytes()[0]);
        sum.wrapping_mul(3).wrapping_add(index + 5 + digit)
    });
    assert_eq!(loaded.call("run", 5), expected);
}

/// The compilers have to produce what the tests above are there to test.
#[test]
fn compilers_produce_these_relocations() {
    let mut found = std::collections::BTreeSet::new();
    for compiler in ["gcc", "clang"] {
        for (model, flags, _) in MODELS {
            let object = c_object(compiler, "everything.c", flags, &format!("kinds-{compiler}-{model}"));
            let image = parse(&object, "kinds").unwrap().image;
            found.extend(image.relocations.iter().map(|relocation| format!("{:?}", relocation.kind)));
        }
    }
    for kind in [
        RelocationKind::Abs64,
        RelocationKind::Abs32,
        RelocationKind::Abs32Signed,
        RelocationKind::Pc32,
        RelocationKind::Plt32,
        RelocationKind::GotPcRel,
        RelocationKind::GotPcRelX,
        RelocationKind::RexGotPcRelX,
        RelocationKind::GotOff64,
        RelocationKind::GotPc64,
        RelocationKind::Got64,
        RelocationKind::PltOff64,
    ] {
        assert!(found.contains(&format!("{kind:?}")), "no {kind:?} in {found:?}");
    }
}
