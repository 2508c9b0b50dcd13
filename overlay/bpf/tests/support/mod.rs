//! What the tests of the engines share.
#![expect(dead_code, reason = "each test uses a part of it")]

pub(crate) mod assembler;
pub(crate) mod generate;

use uio_bpf::context::TracingContext;
use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::{Invocation, Stopped};
use uio_bpf::jit::native::Compiled;
use uio_bpf::jit::{Options, holds_forbidden};
use uio_bpf::program::{Executable, HelperFunction, HelperTable, Parts, functions_of};
use uio_bpf::services::{ReadFault, Services, Task};
use uio_isolation::scan::{Policy, scan};
use uio_protocol::bpf::ProgramKind;

/// A machine where nothing happens.
pub(crate) struct Quiet;

impl Services for Quiet {
    fn now_ns(&self) -> u64 {
        1
    }
    fn random_u32(&self) -> u32 {
        4
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

/// Gives its first argument, as the conformance suite wants of helper 5.
pub(crate) unsafe extern "sysv64" fn identity(
    r1: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    r1
}

/// Mixes all its arguments.
pub(crate) unsafe extern "sysv64" fn mix(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    invocation: *const Invocation<'_>,
) -> u64 {
    // SAFETY: engines hand over the live invocation.
    let bytes = unsafe { (*invocation).context_bytes };
    [r1, r2, r3, r4, r5, bytes].iter().fold(7_u64, |sum, value| sum.rotate_left(9).wrapping_mul(31) ^ value)
}

pub(crate) static HELPERS: &HelperTable = &[(5, identity as HelperFunction), (7, mix)];

/// An executable without maps.
pub(crate) fn executable(slots: &[u64]) -> Executable {
    bind(slots, Vec::new()).with_numbered_callees()
}

/// As [`executable`], with fuel for these backward jumps.
pub(crate) fn bind(slots: &[u64], fuelled: Vec<u32>) -> Executable {
    let operations = decode(slots).expect("decodes");
    let functions = functions_of(&operations);
    let parts = Parts {
        kind: ProgramKind::Raw { memory_bytes: 0 },
        operations,
        functions,
        maps: Vec::new(),
        helpers: HELPERS,
        fuelled,
    };
    Executable::new(parts).expect("binds")
}

pub(crate) fn assemble(text: &str) -> Vec<u64> {
    assembler::assemble(text).expect("assembles")
}

/// Runs it in the interpreter.
pub(crate) fn interpret(executable: &Executable, memory: &mut [u8]) -> Result<u64, Stopped> {
    let invocation = invocation(memory);
    // SAFETY: tests run programs that stay within their memory and stack.
    unsafe { Machine::new().run(executable, &invocation, &mut Unwatched) }
}

pub(crate) fn invocation(memory: &mut [u8]) -> Invocation<'static> {
    let bytes = memory.len();
    let address = if bytes == 0 { 0 } else { memory.as_mut_ptr().expose_provenance() };
    Invocation::new(ProgramKind::Raw { memory_bytes: bytes as u32 }, address as u64, bytes as u64, &Quiet)
}

/// Compiles it and looks for what must not be in code.
pub(crate) fn compile(executable: &Executable, options: &Options) -> Compiled {
    let compiled = Compiled::new(executable.clone(), options).expect("compiles");
    assert!(!holds_forbidden(compiled.bytes()));
    assert_eq!(scan(compiled.bytes(), Policy::Ring0).next(), None);
    compiled
}

/// All forms of compiled code that have to behave alike.
pub(crate) fn all_options() -> [Options; 4] {
    [
        Options { blinding: None, bmi2: false },
        Options::plain(),
        Options { blinding: Some(1), bmi2: false },
        Options::blinded(0x1234_5678_9abc_def0),
    ]
}

/// Runs it compiled.
pub(crate) fn run_compiled(compiled: &Compiled, memory: &mut [u8]) -> Result<u64, Stopped> {
    let invocation = invocation(memory);
    // SAFETY: as in `interpret`.
    unsafe { compiled.run(&invocation) }
}

/// Runs it in all engines, checks that they agree about result and memory, and gives the result.
pub(crate) fn run_everywhere(executable: &Executable, memory: &[u8]) -> Result<u64, Stopped> {
    let mut expected_memory = memory.to_vec();
    let expected = interpret(executable, &mut expected_memory);
    for options in all_options() {
        let mut own_memory = memory.to_vec();
        let result = run_compiled(&compile(executable, &options), &mut own_memory);
        assert_eq!(result, expected, "{options:?}");
        assert_eq!(own_memory, expected_memory, "{options:?}");
    }
    expected
}
