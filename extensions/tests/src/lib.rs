//! Builds what is in `extensions/`, for tests.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compilers that extensions are built with.
pub const C_COMPILERS: [&str; 2] = ["clang", "gcc"];

/// The folder `extensions/`.
#[must_use]
pub fn extensions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of a folder (and its folders, to `depth`) that have this extension, sorted.
///
/// # Panics
///
/// If the folder cannot be read.
#[must_use]
pub fn files(folder: &Path, suffix: &str, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && depth > 0 {
            found.extend(files(&path, suffix, depth - 1));
        } else if path.extension().is_some_and(|extension| extension == suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every C sample.
#[must_use]
pub fn c_samples() -> Vec<PathBuf> {
    files(&extensions().join("native"), "c", 1)
}

/// Every Rust sample.
#[must_use]
pub fn rust_samples() -> Vec<PathBuf> {
    files(&extensions().join("rust/samples"), "rs", 0)
}

/// Runs `extensions/build.sh` with warnings as errors. Returns the objects.
///
/// # Panics
///
/// With what the compiler said, if it fails or warns.
#[must_use]
pub fn build(
    out: &Path,
    compiler: &str,
    c_flags: &str,
    rust_flags: &str,
    sources: &[PathBuf],
) -> Vec<PathBuf> {
    let mut command = Command::new(extensions().join("build.sh"));
    command.arg(out).args(sources);
    command
        .env("CC", compiler)
        .env("CFLAGS", format!("-Werror {c_flags}"))
        .env("RUSTFLAGS", format!("-Dwarnings {rust_flags}"));
    run(&mut command);
    let objects: Vec<PathBuf> = sources
        .iter()
        .map(|source| out.join(source.file_stem().expect("a file")).with_extension("o"))
        .collect();
    assert!(objects.iter().all(|object| object.is_file()), "not every object is there: {objects:?}");
    objects
}

/// Compiles a C program for this machine, with checks against undefined behaviour and bad accesses.
///
/// # Panics
///
/// With what the compiler said, if it fails or warns.
#[must_use]
pub fn host_program(source: &str, out: &Path) -> PathBuf {
    let program = out.join(Path::new(source).file_stem().unwrap_or(OsStr::new("program")));
    let mut command = Command::new("gcc");
    command.args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]);
    command.args(["-fno-sanitize-recover=all", "-I"]).arg(extensions().join("include"));
    command.arg(extensions().join("tests/native").join(source)).arg("-o").arg(&program);
    run(&mut command);
    program
}

/// Runs a command and returns its output.
///
/// # Panics
///
/// With what it said, if it fails.
pub fn run(command: &mut Command) -> String {
    uio_prerequisites::require(&[uio_prerequisites::CLANG]);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}; on Debian: apt install gcc clang binutils, and rustup"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} failed:\n{said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder for the output of a test.
///
/// # Panics
///
/// If it cannot be made.
#[must_use]
pub fn output(temporary: &str, name: &str) -> PathBuf {
    let folder = Path::new(temporary).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for output");
    folder
}
