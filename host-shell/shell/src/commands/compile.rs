//! Sources to objects: what lets `run hello.c` be the first thing a person types.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::CommandError;
use crate::host::packages::{CLANG, command_line, is_installed};
use crate::machine::image::workspace;

/// For C, what the guest's window needs: addresses in the top 2 GiB, no red zone (the guest's traps use
/// the stack of other rings), nothing of a hosted C library. `-g` is for reports; it is not loaded.
const C_FLAGS: [&str; 11] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-ffreestanding",
    "-fno-pic",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fasynchronous-unwind-tables",
];

/// As [`C_FLAGS`] for rustc.
const RUST_FLAGS: [&str; 12] = [
    "--edition=2024",
    "--crate-type=lib",
    "--emit=obj",
    "-Copt-level=2",
    "-Cdebuginfo=2",
    "-Cpanic=abort",
    "-Ccodegen-units=1",
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    "-Cno-redzone=yes",
    "-Cforce-unwind-tables=yes",
    "-Coverflow-checks=off",
];

/// The object of a host file: the file itself, or what its source compiles to. Also the extension's name.
pub(super) fn object(path: &Path) -> Result<(Vec<u8>, String), CommandError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| CommandError::HostFile { path: path.to_path_buf(), source })
    };
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("c") => {
            // A missing source is better reported by us than by the compiler.
            read(path)?;
            let object = Temporary::new();
            c(path, &object.0)?;
            Ok((read(&object.0)?, name))
        }
        Some("rs") => {
            read(path)?;
            let object = Temporary::new();
            rust(path, &object.0)?;
            Ok((read(&object.0)?, name))
        }
        _ => Ok((read(path)?, name)),
    }
}

/// A file that goes away with its owner.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("uio-{}-{number}.o", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn c(source: &Path, object: &Path) -> Result<(), CommandError> {
    let Some(compiler) = ["clang", "gcc", "cc"].into_iter().find(|program| is_installed(program)) else {
        return Err(CommandError::with_hint(
            "no C compiler (clang or gcc) is installed",
            format!("install one with: {}", command_line(&[CLANG])),
        ));
    };
    let mut line = Command::new(compiler);
    line.args(C_FLAGS).arg("-c").arg(source).arg("-o").arg(object);
    if let Some(headers) = workspace().map(|root| root.join("extensions/include")) {
        line.arg("-I").arg(headers);
    }
    compile(line, compiler, source)
}

fn rust(source: &Path, object: &Path) -> Result<(), CommandError> {
    let mut line = Command::new("rustc");
    line.args(RUST_FLAGS).arg(source).arg("-o").arg(object);
    compile(line, "rustc", source)
}

fn compile(mut line: Command, compiler: &str, source: &Path) -> Result<(), CommandError> {
    // Warnings and errors go to the person, in the compiler's own words.
    match line.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(CommandError::message(format!("{} does not compile with {compiler}", source.display()))),
        Err(error) => Err(CommandError::message(format!("cannot run {compiler}: {error}"))),
    }
}
