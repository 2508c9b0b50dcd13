//! The public conformance suite's cases, natively.
//!
//! A case runs contained first: it may use its memory, its stack and the suite's helper 5, which gives its argument back.
//! It is deterministic, so what stayed in bounds there does so compiled.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Access, Machine, Observer, Refusal, State};
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::Options;
use uio_bpf::program::{Executable, HelperFunction, Parts, Program, functions_of};
use uio_protocol::bpf::ProgramKind;

use crate::run::{Clock, emit};

#[path = "../../../overlay/bpf/tests/support/assembler.rs"]
mod assembler;

/// Instructions of a case at most; the longest counts primes.
const STEPS: u64 = 1_000_000;

/// What came of the cases in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conformance {
    /// Cases.
    pub cases: usize,
    /// Right in the interpreter.
    pub interpreted: usize,
    /// Right compiled, with constants disguised and without.
    pub compiled: usize,
    /// Names of those that were wrong anywhere.
    pub wrong: Vec<String>,
}

static HELPERS: &[(u32, HelperFunction)] = &[(5, identity)];

unsafe extern "sysv64" fn identity(
    value: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    value
}

/// Runs all cases (`*.data`) of `folder`.
///
/// # Errors
///
/// If the folder or a file cannot be read.
pub fn conformance(folder: &Path) -> io::Result<Conformance> {
    let mut all = Conformance::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "data") {
            continue;
        }
        all.cases += 1;
        let (interpreted, compiled) =
            Case::parse(&fs::read_to_string(&path)?).map_or((false, false), |case| case.run());
        all.interpreted += usize::from(interpreted);
        all.compiled += usize::from(compiled);
        if !(interpreted && compiled) {
            all.wrong.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    all.wrong.sort();
    Ok(all)
}

struct Case {
    executable: Executable,
    memory: Vec<u8>,
    result: u64,
}

impl Case {
    /// Reads the `-- name` sections of a file: the program, its memory, its result.
    fn parse(text: &str) -> Option<Self> {
        let (mut program, mut memory, mut result) = (String::new(), Vec::new(), None);
        let mut section = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("-- ") {
                section = name.trim();
                continue;
            }
            match section {
                "asm" => program.extend([line, "\n"]),
                "mem" => {
                    let words = line.split('#').next().unwrap_or_default().split_whitespace();
                    for word in words {
                        memory.push(u8::from_str_radix(word, 16).ok()?);
                    }
                }
                "result" if !line.trim().is_empty() => {
                    let line = line.trim();
                    result = match line.strip_prefix("0x") {
                        Some(digits) => u64::from_str_radix(digits, 16).ok(),
                        None => line.parse().ok(),
                    };
                }
                _ => {}
            }
        }
        let operations = decode(&assembler::assemble(&program).ok()?).ok()?;
        let functions = functions_of(&operations);
        let parts = Parts {
            kind: ProgramKind::Raw { memory_bytes: 0 },
            operations,
            functions,
            maps: Vec::new(),
            helpers: HELPERS,
            fuelled: Vec::new(),
        };
        let executable = Executable::new(parts).ok()?.with_numbered_callees();
        Some(Self { executable, memory, result: result? })
    }

    /// Whether it is right in the interpreter, and compiled.
    fn run(&self) -> (bool, bool) {
        let mut machine = Machine::new();
        let mut memory = self.memory.clone();
        let mut fence = Fence { stack: machine.stack(), memory: range(&memory), steps: STEPS };
        // SAFETY: the fence refuses every access outside of the stack and the memory; the helper accesses nothing.
        let result = unsafe { machine.run(&self.executable, &invocation(&mut memory), &mut fence) };
        if result != Ok(self.result) {
            return (false, false);
        }
        let forms = [Options::plain(), Options::blinded(self.result ^ STEPS)];
        (true, forms.iter().all(|options| self.compiled(options) == Some((self.result, memory.clone()))))
    }

    fn compiled(&self, options: &Options) -> Option<(u64, Vec<u8>)> {
        let (pages, _) = emit(&self.executable, options).ok()?;
        // SAFETY: the code of this executable at this address; the pages outlive the run below.
        let program = unsafe { Program::compiled(self.executable.clone(), pages.address()) };
        let mut memory = self.memory.clone();
        // SAFETY: the same run stayed in bounds when it was contained.
        let result = unsafe { program.run(&mut Machine::new(), &invocation(&mut memory)) };
        drop(pages);
        Some((result.ok()?, memory))
    }
}

fn range(memory: &[u8]) -> Range<u64> {
    let start = memory.as_ptr().expose_provenance() as u64;
    start..start + memory.len() as u64
}

fn invocation(memory: &mut [u8]) -> Invocation<'static> {
    let bytes = memory.len();
    let address = if bytes == 0 { 0 } else { memory.as_mut_ptr().expose_provenance() as u64 };
    Invocation::new(ProgramKind::Raw { memory_bytes: bytes as u32 }, address, bytes as u64, &Clock)
}

/// Lets a run use its stack and its memory.
struct Fence {
    stack: Range<u64>,
    memory: Range<u64>,
    steps: u64,
}

impl Observer for Fence {
    fn instruction(&mut self, _: &State<'_>) -> Result<(), Refusal> {
        self.steps = self.steps.checked_sub(1).ok_or(Refusal)?;
        Ok(())
    }

    fn access(&mut self, _: &State<'_>, access: Access) -> Result<(), Refusal> {
        let end = access.address.checked_add(access.bytes.into()).ok_or(Refusal)?;
        let within = |range: &Range<u64>| access.address >= range.start && end <= range.end;
        if within(&self.stack) || within(&self.memory) { Ok(()) } else { Err(Refusal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_vendored_cases_are_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../overlay/bpf/tests/conformance");
        let all = conformance(&folder).unwrap();
        assert_eq!(all.wrong, Vec::<String>::new());
        assert!(all.cases > 100 && all.interpreted == all.cases && all.compiled == all.cases, "{all:?}");
    }

    #[test]
    fn a_wrong_result_and_an_access_outside_are_told() {
        let case = |asm: &str, memory: &str, result: &str| {
            Case::parse(&format!("-- asm\n{asm}\nexit\n-- mem\n{memory}\n-- result\n{result}\n"))
                .unwrap()
                .run()
        };
        assert_eq!(case("mov %r0, 7", "", "0x7"), (true, true));
        assert_eq!(case("mov %r0, 7", "", "0x8"), (false, false));
        assert_eq!(case("ldxb %r0, [%r1+3]", "01 02 03 04", "4"), (true, true));
        assert_eq!(case("ldxb %r0, [%r1+4]", "01 02 03 04", "4"), (false, false));
    }
}
