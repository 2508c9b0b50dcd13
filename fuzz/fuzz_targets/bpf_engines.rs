//! Any bytes make a valid program; the interpreter and compiled code must compute the same with it. As slots, any bytes
//! must be refused or compile.
#![no_main]

#[expect(dead_code, reason = "the dialect of rbpf is for the tests")]
#[path = "../../overlay/bpf/tests/support/generate.rs"]
mod generate;

use generate::{Dialect, MEMORY_BYTES, program};
use libfuzzer_sys::fuzz_target;
use uio_bpf::context::TracingContext;
use uio_bpf::instruction::{Decoded, decode};
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::native::Compiled;
use uio_bpf::jit::{Options, holds_forbidden};
use uio_bpf::program::{BindError, Executable, HelperFunction, Parts, functions_of};
use uio_bpf::services::{ReadFault, Services, Task};
use uio_protocol::bpf::ProgramKind;

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

unsafe extern "sysv64" fn mix(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, _: *const Invocation<'_>) -> u64 {
    [r1, r2, r3, r4, r5].iter().fold(7_u64, |sum, value| sum.rotate_left(9).wrapping_mul(31) ^ value)
}

static HELPERS: &[(u32, HelperFunction)] = &[(7, mix)];
const KIND: ProgramKind = ProgramKind::Raw { memory_bytes: MEMORY_BYTES as u32 };

fn bind(operations: Decoded) -> Result<Executable, BindError> {
    let functions = functions_of(&operations);
    let parts =
        Parts { kind: KIND, operations, functions, maps: Vec::new(), helpers: HELPERS, fuelled: Vec::new() };
    Executable::new(parts)
}

fn options(seed: u8) -> Options {
    let blinding = (seed & 1 == 1).then_some(u64::from(seed));
    Options { blinding, bmi2: seed & 2 == 2 && Options::plain().bmi2 }
}

/// Whatever decodes and binds also compiles; it is not run.
fn raw(seed: u8, data: &[u8]) {
    let slots: Vec<u64> = data.as_chunks::<8>().0.iter().map(|slot| u64::from_le_bytes(*slot)).collect();
    let Ok(operations) = decode(&slots) else { return };
    let Ok(executable) = bind(operations) else { return };
    let compiled = Compiled::new(executable, &options(seed)).expect("compiles");
    assert!(!holds_forbidden(compiled.bytes()));
}

fuzz_target!(|data: &[u8]| {
    let Some((&seed, data)) = data.split_first() else { return };
    raw(seed, data);
    let executable = bind(decode(&program(data, Dialect::Full)).expect("decodes")).expect("binds");
    let run = |engine: &mut dyn FnMut(&Invocation<'_>) -> u64| {
        let mut memory = [seed; MEMORY_BYTES];
        let address = memory.as_mut_ptr().expose_provenance() as u64;
        let result = engine(&Invocation::new(KIND, address, MEMORY_BYTES as u64, &Nothing));
        (result, memory)
    };
    let expected = run(&mut |invocation| {
        // SAFETY: generated programs stay inside their memory and stack.
        unsafe { Machine::new().run(&executable, invocation, &mut Unwatched) }.expect("ends")
    });
    let compiled = Compiled::new(executable.clone(), &options(seed)).expect("compiles");
    assert!(!holds_forbidden(compiled.bytes()));
    // SAFETY: as above.
    let result = run(&mut |invocation| unsafe { compiled.run(invocation) }.expect("ends"));
    assert_eq!(result, expected);
});
