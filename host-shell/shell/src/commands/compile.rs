//! Sources to objects: what lets `run hello.c` be the first thing a person types.
//!
//! Inside the workspace `extensions/build.sh` compiles, so that what it says about flags holds here
//! too. Elsewhere C is compiled with the same flags; Rust needs the workspace's crate.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::CommandError;
use crate::machine::image::workspace;
use uio_prerequisites::{CLANG, command_line, is_installed};

/// As `extensions/build.sh` has them.
const C_FLAGS: [&str; 10] = [
    "-std=c11",
    "-O2",
    "-g",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-fasynchronous-unwind-tables",
    "-Wall",
];

/// As `extensions/build-bpf.sh` has them.
const BPF_FLAGS: [&str; 6] = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall"];

/// What an extension is made of.
#[derive(Debug)]
pub(super) struct Object {
    /// The file that the person named: the object or its source.
    pub(super) path: PathBuf,
    /// The object.
    pub(super) bytes: Vec<u8>,
    /// The extension's name, the file's stem.
    pub(super) name: String,
}

/// The object of a host file: the file itself, or what its source compiles to.
pub(super) fn object(path: &Path) -> Result<Object, CommandError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    // A missing source is better reported by us than by a compiler.
    let contents = read(path)?;
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some(language @ ("c" | "rs")) => {
            let folder = Temporary::new()?;
            let object = folder.0.join(format!("{name}.o"));
            compile(path, language, &folder.0, &object)?;
            read(&object)?
        }
        _ => contents,
    };
    Ok(Object { path: path.to_path_buf(), bytes, name })
}

/// As [`object`], of an eBPF program.
pub(super) fn bpf_object(path: &Path) -> Result<(Vec<u8>, String), CommandError> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let contents = read(path)?;
    if path.extension().is_none_or(|extension| extension != "c") {
        return Ok((contents, name));
    }
    if !is_installed("clang") {
        return Err(CommandError::with_hint(
            "clang, which compiles eBPF, is not installed",
            format!("install it with: {}", command_line(&[CLANG])),
        ));
    }
    let folder = Temporary::new()?;
    let object = folder.0.join(format!("{name}.o"));
    let script = workspace().map(|root| root.join("extensions/build-bpf.sh"));
    let line = match script.filter(|script| script.is_file()) {
        Some(script) => {
            let mut line = Command::new(script);
            line.arg(&folder.0).arg(path);
            line
        }
        None => {
            let mut line = Command::new("clang");
            line.args(BPF_FLAGS).arg("-c").arg(path).arg("-o").arg(&object);
            line
        }
    };
    carry_out(line, path)?;
    Ok((read(&object)?, name))
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|source| CommandError::HostFile { path: path.to_path_buf(), source })
}

/// A folder that goes away with its owner.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, CommandError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("uio-build-{}-{number}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(CommandError::HostFile { path, source }),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn compile(source: &Path, language: &str, folder: &Path, object: &Path) -> Result<(), CommandError> {
    let c_compiler = ["clang", "gcc"].into_iter().find(|program| is_installed(program));
    let script = workspace().map(|root| root.join("extensions/build.sh")).filter(|script| script.is_file());
    let line = match (language, script, c_compiler) {
        ("c", _, None) => {
            return Err(CommandError::with_hint(
                "no C compiler (clang or gcc) is installed",
                format!("install one with: {}", command_line(&[CLANG])),
            ));
        }
        (_, Some(script), _) => {
            let mut line = Command::new(script);
            line.arg(folder).arg(source);
            line
        }
        ("c", None, Some(compiler)) => {
            let mut line = Command::new(compiler);
            line.args(C_FLAGS).arg("-c").arg(source).arg("-o").arg(object);
            line
        }
        _ => {
            return Err(CommandError::with_hint(
                format!("{}: Rust extensions need the crate of the uio workspace", source.display()),
                "start the shell inside the folder of the uio sources, or load a compiled object",
            ));
        }
    };
    carry_out(line, source)
}

fn carry_out(mut line: Command, source: &Path) -> Result<(), CommandError> {
    // Warnings and errors go to the person, in the compiler's own words.
    line.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
    match line.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(CommandError::message(format!("{} does not compile", source.display()))),
        Err(error) => Err(CommandError::message(format!("cannot run the compiler: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_c_source_becomes_an_object_of_its_name() {
        if !is_installed("clang") && !is_installed("gcc") {
            eprintln!("skipped: no C compiler is installed");
            return;
        }
        let folder = Temporary::new().unwrap();
        let source = folder.0.join("seven.c");
        std::fs::write(&source, "int main(void) { return 7; }\n").unwrap();
        let Object { bytes, name, .. } = object(&source).unwrap();
        assert_eq!(name, "seven");
        let parsed = uio_objects::parse(&bytes, &name).unwrap();
        assert!(parsed.image.symbols.iter().any(|symbol| symbol.name == "main" && symbol.function));
        std::fs::write(&source, "int main(void) { return seven; }\n").unwrap();
        assert!(object(&source).unwrap_err().to_string().ends_with("seven.c does not compile"));
    }

    #[test]
    fn a_missing_source_is_named() {
        let error = object(Path::new("/nonexistent/hello.c")).unwrap_err();
        assert!(matches!(error, CommandError::HostFile { .. }));
    }
}
