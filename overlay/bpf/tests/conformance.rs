//! The public half of the bpf_conformance suite, in the interpreter and compiled.

mod support;

use std::fs;
use std::path::Path;

struct Case {
    asm: String,
    memory: Vec<u8>,
    result: u64,
}

/// Splits a file into its `-- name` sections.
fn parse(text: &str) -> Option<Case> {
    let mut case = Case { asm: String::new(), memory: Vec::new(), result: 0 };
    let mut section = "";
    let mut has_result = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-- ") {
            section = name.trim();
            continue;
        }
        match section {
            "asm" => {
                case.asm.push_str(line);
                case.asm.push('\n');
            }
            "mem" => {
                for byte in line.split('#').next()?.split_whitespace() {
                    case.memory.push(u8::from_str_radix(byte, 16).ok()?);
                }
            }
            "result" if !line.trim().is_empty() => {
                let line = line.trim();
                case.result = match line.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                    None => line.parse().ok()?,
                };
                has_result = true;
            }
            _ => {}
        }
    }
    (has_result && !case.asm.is_empty()).then_some(case)
}

#[test]
fn all_public_cases_pass_in_both_engines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut cases = 0;
    for entry in fs::read_dir(folder).expect("the cases are in the repository") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "data") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        let case = parse(&text).unwrap_or_else(|| panic!("{} has no program or result", path.display()));
        let executable = support::executable(&support::assemble(&case.asm));
        let result = support::run_everywhere(&executable, &case.memory);
        assert_eq!(result, Ok(case.result), "{}", path.display());
        cases += 1;
    }
    assert_eq!(cases, 157);
}
