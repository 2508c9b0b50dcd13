//! What the tests need from the workspace: the guest's image, the shell, the extensions. Each is built once per test run,
//! by the same commands that a person would use.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use uio_shell::host::packages::{CLANG, QEMU, ensure};
use uio_shell::machine::image;

/// Root of the sources.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this package lies in the workspace").to_path_buf()
}

/// A folder for what tests leave behind, inside the target directory.
///
/// # Panics
///
/// If it cannot be made.
#[must_use]
pub fn scratch() -> PathBuf {
    // `target/debug/deps/system-…`
    let program = std::env::current_exe().expect("the path of this test");
    let profile = program.ancestors().nth(2).expect("a profile's folder");
    let folder = profile.join("uio-tests");
    std::fs::create_dir_all(&folder).expect("a folder for output");
    folder
}

/// Makes sure that QEMU and clang are there, as `uio-shell run` does.
///
/// # Panics
///
/// With the command that installs what is missing.
pub fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if let Err(error) = ensure(&[QEMU, CLANG]) {
            panic!("{error}; {}", error.hint());
        }
    });
}

/// The `count` image.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| match image::build(&workspace(), "count", &[]) {
        Ok(path) => path,
        Err(error) => panic!("{error}"),
    })
}

/// The `uio-shell` program, in the profile of these tests.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn shell() -> &'static Path {
    static SHELL: OnceLock<PathBuf> = OnceLock::new();
    SHELL.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace()).args(["build", "--quiet", "-p", "uio-shell", "--bin", "uio-shell"]);
        cargo.arg("--message-format=json-render-diagnostics");
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("cargo");
        assert!(output.status.success(), "uio-shell does not build");
        let messages = String::from_utf8_lossy(&output.stdout);
        let program = messages.lines().rev().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_shell = message["target"]["name"] == "uio-shell";
            is_shell.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
        });
        program.expect("cargo names the program that it built")
    })
}

/// Folder of all samples in `extensions/`, compiled.
///
/// # Panics
///
/// With the compiler's words, if one does not build.
#[must_use]
pub fn extensions() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch().join("extensions");
        build_extensions(&folder, &[]);
        folder
    })
}

/// The object of the sample `name`.
#[must_use]
pub fn extension(name: &str) -> String {
    extensions().join(name).with_extension("o").display().to_string()
}

/// Runs `extensions/build.sh` on `sources`; on all samples if there are none.
///
/// # Panics
///
/// With the compiler's words, if one does not build.
pub fn build_extensions(folder: &Path, sources: &[PathBuf]) {
    install();
    let script = workspace().join("extensions/build.sh");
    let output = Command::new(&script).arg(folder).args(sources).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed:\n{said}", script.display());
}

/// Compiles a C extension that exists for one test only; gives the object's path.
///
/// # Panics
///
/// With the compiler's words, if it does not build.
#[must_use]
pub fn compile(name: &str, source: &str) -> String {
    let folder = scratch().join("written");
    std::fs::create_dir_all(&folder).expect("a folder for sources");
    let path = folder.join(name).with_extension("c");
    std::fs::write(&path, source).expect("a source file");
    build_extensions(&folder, &[path]);
    folder.join(name).with_extension("o").display().to_string()
}
