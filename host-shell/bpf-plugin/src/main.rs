//! Runs one eBPF program for `bpf_conformance_runner`.
//!
//! ```text
//! bpf_conformance_runner --test_file_directory tests --plugin_path uio-bpf-plugin --plugin_options "--jit" --cpu_version v4
//! ```
//!
//! The program comes as hexadecimal bytes on standard input, or after `--program`; its memory as the first argument. R0 goes to
//! standard output in hexadecimal. Nothing verifies the program: one that is wrong takes this process down.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use uio_bpf::context::TracingContext;
use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::Options;
use uio_bpf::jit::native::Compiled;
use uio_bpf::program::{Executable, HelperFunction, Parts, functions_of};
use uio_bpf::services::{ReadFault, Services, Task};
use uio_protocol::bpf::ProgramKind;

/// Fuel is for programs with proofs; the suite's programs all end.
const UNFUELLED: Vec<u32> = Vec::new();

/// The instruction `exit`.
const EXIT: u64 = 0x95;

/// The suite calls helper 5 and wants its argument back.
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

/// No helper here asks for anything.
struct Nothing;

impl Services for Nothing {
    fn now_ns(&self) -> u64 {
        0
    }
    fn random_u32(&self) -> u32 {
        0
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn trace(&self, _: &[u8]) {}
    fn output(&self, _: &[u8]) {}
    fn read_memory(&self, _: u64, _: &mut [u8]) -> Result<(), ReadFault> {
        Err(ReadFault)
    }
    fn stack(&self, _: &TracingContext, _: &mut [u64]) -> usize {
        0
    }
    fn symbol(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

#[derive(Default)]
struct Arguments {
    memory: Vec<u8>,
    program: Option<Vec<u8>>,
    compiles: bool,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut this = Self::default();
        let mut arguments = arguments.peekable();
        let mut has_memory = false;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--jit" => this.compiles = true,
                "--interpret" => this.compiles = false,
                "--program" => {
                    let text =
                        arguments.next().context("--program needs the program as hexadecimal bytes")?;
                    this.program = Some(bytes(&text).context("in the program")?);
                }
                "--elf" => bail!("takes flat programs only, without --elf"),
                option if option.starts_with("--") => bail!("there is no option {option}"),
                memory if !has_memory => {
                    this.memory = bytes(memory).context("in the memory")?;
                    has_memory = true;
                }
                other => bail!("does not know what to do with `{other}`"),
            }
        }
        Ok(this)
    }
}

/// Bytes in hexadecimal, two digits each, with spaces anywhere between them.
fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let word = word.strip_prefix("0x").unwrap_or(word);
        if !word.is_ascii() || word.len() % 2 != 0 {
            bail!("`{word}` is no row of bytes");
        }
        for start in (0..word.len()).step_by(2) {
            let digits = &word[start..start + 2];
            bytes.push(u8::from_str_radix(digits, 16).with_context(|| format!("`{digits}` is no byte"))?);
        }
    }
    Ok(bytes)
}

fn executable(program: &[u8]) -> Result<Executable> {
    let (slots, rest) = program.as_chunks::<8>();
    if slots.is_empty() || !rest.is_empty() {
        bail!("a program is one or more instructions of 8 bytes; this has {} bytes", program.len());
    }
    let mut slots: Vec<u64> = slots.iter().map(|slot| u64::from_le_bytes(*slot)).collect();
    // The engines want every program to end by an exit; the suite is content if none is run past.
    slots.push(EXIT);
    let operations = decode(&slots)?;
    let functions = functions_of(&operations);
    let kind = ProgramKind::Raw { memory_bytes: 0 };
    let parts = Parts { kind, operations, functions, maps: Vec::new(), helpers: HELPERS, fuelled: UNFUELLED };
    // One of the suite's programs calls a helper whose number is in a register.
    Ok(Executable::new(parts)?.with_numbered_callees())
}

fn run(arguments: impl Iterator<Item = String>) -> Result<u64> {
    let Arguments { mut memory, program, compiles } = Arguments::parse(arguments)?;
    let program = match program {
        Some(program) => program,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the program")?;
            bytes(&text).context("in the program")?
        }
    };
    let executable = executable(&program)?;
    let length = memory.len();
    let address = if memory.is_empty() { 0 } else { memory.as_mut_ptr().expose_provenance() as u64 };
    let kind = ProgramKind::Raw { memory_bytes: u32::try_from(length)? };
    let invocation = Invocation::new(kind, address, length as u64, &Nothing);
    Ok(if compiles {
        let compiled = Compiled::new(executable, &Options::blinded(std::process::id().into()))?;
        // SAFETY: whoever started this process wants the program run as it is; it has its own memory and no other duty.
        unsafe { compiled.run(&invocation)? }
    } else {
        // SAFETY: as above.
        unsafe { Machine::new().run(&executable, &invocation, &mut Unwatched)? }
    })
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(result) => {
            println!("{result:x}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("uio-bpf-plugin: {error:#}");
            ExitCode::FAILURE
        }
    }
}
