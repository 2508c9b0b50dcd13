//! The headers by themselves, in every language that they promise.

use std::path::PathBuf;
use std::process::Command;

use uio_extension_tests::{extensions, files, run};

/// Compiler, dialect. C++ with clang only: g++ is a package that nothing else here needs.
const DIALECTS: [(&str, &str); 6] = [
    ("gcc", "c99"),
    ("gcc", "c17"),
    ("clang", "c99"),
    ("clang", "c2x"),
    ("clang", "c++11"),
    ("clang", "c++20"),
];

#[test]
fn headers_compile_alone_without_warnings() {
    let include = extensions().join("include");
    let is_bpf = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("bpf"));
    let (for_bpf, headers): (Vec<_>, Vec<_>) = files(&include, "h", 0).into_iter().partition(is_bpf);
    assert!(headers.len() >= 4 && for_bpf.len() >= 3, "{headers:?} {for_bpf:?}");
    // The helpers come with the types.
    for header in for_bpf.iter().filter(|header| !header.ends_with("uio_bpf_helpers.h")) {
        for dialect in ["gnu99", "gnu11", "gnu2x"] {
            let mut command = Command::new("clang");
            command.args([
                "-target",
                "bpf",
                "-x",
                "c",
                "-fsyntax-only",
                "-Wall",
                "-Wextra",
                "-Wstrict-prototypes",
            ]);
            // Nobody uses all helpers.
            command.args(["-Wno-unused-const-variable", "-Wno-unused-variable", "-Werror"]);
            command.arg(format!("-std={dialect}")).arg("-include").arg(header).arg("-I").arg(&include);
            command.arg("/dev/null");
            run(&mut command);
        }
    }
    for (compiler, dialect) in DIALECTS {
        let language = if dialect.starts_with("c++") { "c++" } else { "c" };
        for header in &headers {
            let mut command = Command::new(compiler);
            command.arg(format!("-std={dialect}")).args(["-x", language, "-fsyntax-only", "-ffreestanding"]);
            command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
            if language == "c" {
                command.arg("-Wstrict-prototypes");
            }
            // A header as main file would warn of functions that nobody uses.
            command.args(["-include"]).arg(header).arg("-I").arg(&include).arg("/dev/null");
            run(&mut command);
        }
    }
}

/// Names of the functions that uio.h declares.
fn declared() -> Vec<String> {
    let text = std::fs::read_to_string(extensions().join("include/uio.h")).expect("the header");
    let code: String = text
        .split("/*")
        .enumerate()
        .map(
            |(index, part)| {
                if index == 0 { part } else { part.split_once("*/").map_or("", |(_, code)| code) }
            },
        )
        .collect();
    functions(&code)
}

/// Words of `code` that begin with `uio_` and are followed by a parenthesis.
fn functions(code: &str) -> Vec<String> {
    let mut found: Vec<String> = code
        .match_indices('(')
        .filter_map(|(end, _)| {
            let name =
                code[..end].rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
            name.starts_with("uio_").then(|| name.to_string())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn c_and_rust_declare_the_same_gates() {
    let raw = std::fs::read_to_string(extensions().join("rust/uio-extension/src/raw.rs")).expect("the crate");
    let rust = functions(&raw);
    assert!(rust.len() >= 17, "{rust:?}");
    assert_eq!(declared(), rust);
}

/// Runs of white space as one space.
fn squeezed(code: &str) -> String {
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_header_declares_what_the_overlay_exports() {
    let table = extensions().join("../overlay/context/src/gate/api.rs");
    let table = std::fs::read_to_string(table).expect("the table of gates");
    let header = std::fs::read_to_string(extensions().join("include/uio.h")).expect("the header");
    let header = squeezed(&header);
    let prototypes: Vec<&str> =
        table.split("prototype: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for prototype in &prototypes {
        let declaration = format!("{};", prototype.trim_start_matches("_Noreturn "));
        assert!(header.contains(&declaration), "uio.h does not have `{declaration}`");
    }
    assert_eq!(prototypes.len(), declared().len());
}
