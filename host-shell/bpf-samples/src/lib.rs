//! Compiles the sample eBPF programs of `extensions/bpf`, for tests and benchmarks.
//!
//! Objects are kept in `target/bpf-samples`, by a hash of all that they are made from, so that they are compiled once.
#![forbid(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A version of the instruction set, as `-mcpu=` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are clang's")]
pub enum Cpu {
    V1,
    V2,
    V3,
    V4,
}

impl Cpu {
    /// Those that every clang since 14 can make.
    pub const COMMON: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// Value of `-mcpu=`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
        }
    }
}

fn repository() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
}

/// The folder of the samples.
#[must_use]
pub fn folder() -> PathBuf {
    repository().join("extensions/bpf")
}

/// Names of all C files in `folder`, without `.c`, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder of samples")
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            (path.extension()? == "c").then(|| path.file_stem()?.to_str().map(str::to_string))?
        })
        .collect();
    names.sort();
    names
}

/// Names of the samples, sorted: `pass`, `nat`, …
///
/// # Panics
///
/// If their folder cannot be read.
#[must_use]
pub fn samples() -> Vec<String> {
    names(&folder())
}

/// Names of the programs that have to be refused, sorted.
///
/// # Panics
///
/// If their folder cannot be read.
#[must_use]
pub fn rejected() -> Vec<String> {
    names(&folder().join("rejected"))
}

/// The object of sample `name`.
///
/// # Panics
///
/// With what the compiler said, if it fails or warns.
#[must_use]
pub fn object(name: &str, cpu: Cpu) -> Vec<u8> {
    compile_file(&folder().join(name).with_extension("c"), cpu, &[])
}

/// The object of `rejected/NAME.c`.
///
/// # Panics
///
/// As [`object`].
#[must_use]
pub fn rejected_object(name: &str, cpu: Cpu) -> Vec<u8> {
    compile_file(&folder().join("rejected").join(name).with_extension("c"), cpu, &[])
}

/// Objects of compilers that are not everywhere: name and bytes. See `extensions/bpf/prebuilt/README.md`.
pub const PREBUILT: [(&str, &[u8]); 5] = [
    ("v4", include_bytes!("../../../extensions/bpf/prebuilt/v4.o")),
    ("nat_v4", include_bytes!("../../../extensions/bpf/prebuilt/nat_v4.o")),
    ("string_matcher_v4", include_bytes!("../../../extensions/bpf/prebuilt/string_matcher_v4.o")),
    ("gnu", include_bytes!("../../../extensions/bpf/prebuilt/gnu.o")),
    ("tenant", include_bytes!("../../../extensions/bpf/prebuilt/tenant.o")),
];

/// The object of [`PREBUILT`] called `name`.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn prebuilt(name: &str) -> &'static [u8] {
    PREBUILT
        .iter()
        .find(|(known, _)| *known == name)
        .map_or_else(|| panic!("no prebuilt object {name}"), |(_, bytes)| bytes)
}

/// What a program of [`rejected`] says about why: the text behind `rejected:` in its first comment.
///
/// # Panics
///
/// If the file cannot be read or does not say it.
#[must_use]
pub fn rejected_reason(name: &str) -> String {
    let path = folder().join("rejected").join(name).with_extension("c");
    let text = std::fs::read_to_string(&path).expect("a sample");
    let reason = text.split("rejected:").nth(1).and_then(|rest| rest.split("*/").next());
    let Some(reason) = reason else { panic!("{} does not say why it is rejected", path.display()) };
    reason.split_whitespace().filter(|word| *word != "*").collect::<Vec<_>>().join(" ")
}

/// Source of a firewall with `rules` rules, see `extensions/bpf/firewall.sh`.
///
/// # Panics
///
/// If the script fails.
#[must_use]
pub fn firewall_source(rules: u32) -> String {
    let mut command = Command::new(folder().join("firewall.sh"));
    command.arg(rules.to_string());
    let output = command.output().expect("the generator of firewalls");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The object of a firewall with `rules` rules.
///
/// # Panics
///
/// As [`object`].
#[must_use]
pub fn firewall(rules: u32, cpu: Cpu) -> Vec<u8> {
    compile(&firewall_source(rules), &format!("firewall_{rules}"), cpu, &[])
}

/// Compiles C text as `STEM.c`.
///
/// # Panics
///
/// As [`object`].
#[must_use]
pub fn compile(source: &str, stem: &str, cpu: Cpu, flags: &[&str]) -> Vec<u8> {
    let folder = cache(&(source, stem));
    std::fs::create_dir_all(&folder).expect("a folder for sources");
    let path = folder.join(stem).with_extension("c");
    let there = std::fs::read_to_string(&path).is_ok_and(|there| there == source);
    if !there {
        let fresh = folder.join(format!("{stem}.{}", std::process::id()));
        std::fs::write(&fresh, source).expect("a source");
        std::fs::rename(&fresh, &path).expect("a source in its place");
    }
    compile_file(&path, cpu, flags)
}

/// Compiles a C file.
///
/// # Panics
///
/// As [`object`].
#[must_use]
pub fn compile_file(path: &Path, cpu: Cpu, flags: &[&str]) -> Vec<u8> {
    uio_prerequisites::require(&[uio_prerequisites::CLANG]);
    let compiler = std::env::var("BPF_CC").unwrap_or_else(|_| "clang".to_string());
    let source = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let folder = cache(&(source, headers(), cpu, flags, &compiler));
    let object = folder.join(path.file_stem().expect("a file")).with_extension("o");
    if let Ok(bytes) = std::fs::read(&object) {
        return bytes;
    }
    let mut command = Command::new(repository().join("extensions/build-bpf.sh"));
    command.arg(&folder).arg(path);
    command.env("CC", compiler).env("MCPU", cpu.name()).env("CFLAGS", format!("-Werror {}", flags.join(" ")));
    let output = command.output().expect("the build script");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    std::fs::read(&object).expect("the object")
}

/// What all samples are made with.
fn headers() -> Vec<Vec<u8>> {
    let extensions = repository().join("extensions");
    let mut paths = vec![extensions.join("build-bpf.sh")];
    if let Ok(entries) = std::fs::read_dir(extensions.join("include")) {
        paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// A folder of its own for what hashes so.
fn cache(key: &impl Hash) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    repository().join("target/bpf-samples").join(format!("{:016x}", hasher.finish()))
}
