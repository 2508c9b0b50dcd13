//! Runs compilers. A compiler that is missing fails the test, with what to install.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the programs that the tests compile.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// A file for the output of a test; tests of one process do not share names.
pub(crate) fn output(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native");
    std::fs::create_dir_all(&folder).expect("a folder for compiled programs");
    folder.join(name)
}

/// Runs `compiler` and fails the test with its messages if it fails.
pub(crate) fn execute(compiler: &str, arguments: &[&str]) -> Vec<u8> {
    uio_prerequisites::require(&[uio_prerequisites::CLANG]);
    let result = Command::new(compiler).args(arguments).output();
    let output = match result {
        Ok(output) => output,
        Err(error) => {
            panic!("this test needs `{compiler}` ({error}); on Debian: apt install gcc clang, and rustup")
        }
    };
    assert!(
        output.status.success(),
        "{compiler} {arguments:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Compiles a C program to an object and returns its bytes.
pub(crate) fn c_object(compiler: &str, program: &str, flags: &[&str], label: &str) -> Vec<u8> {
    let source = programs().join(program);
    let object = output(&format!("{label}.o"));
    let mut arguments =
        vec!["-c", "-ffreestanding", "-fno-stack-protector", "-mno-red-zone", "-fcommon", "-g"];
    arguments.extend_from_slice(flags);
    let (source, object) = (source.to_str().expect("a UTF-8 path"), object.to_str().expect("a UTF-8 path"));
    arguments.extend_from_slice(&[source, "-o", object]);
    execute(compiler, &arguments);
    std::fs::read(object).expect("the compiler wrote its object")
}

/// Compiles the Rust program to an object and returns its bytes.
pub(crate) fn rust_object(flags: &[&str], label: &str) -> Vec<u8> {
    let source = programs().join("extension.rs");
    let object = output(&format!("{label}.o"));
    let emit = format!("obj={}", object.display());
    let mut arguments = vec![
        "--edition",
        "2024",
        "--crate-type",
        "lib",
        "--emit",
        &emit,
        "-C",
        "panic=abort",
        "-C",
        "codegen-units=1",
    ];
    arguments.extend_from_slice(flags);
    arguments.push(source.to_str().expect("a UTF-8 path"));
    execute(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &arguments);
    std::fs::read(object).expect("the compiler wrote its object")
}
