//! Programs by the fuzzer's choices: what the verifier claims of those that it accepts, beside what they do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uio_bpf_measure::oracle::{Bytes, Counts, Effort, Source, mutated, object, shrink, trial};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Bytes::new(bytes);
    let mut program = object(&mut choices);
    if choices.chance(30) {
        program = mutated(&program, 0, &mut choices);
    }
    if let Err(finding) = trial(program, &mut choices, &Effort::default(), &mut Counts::default()) {
        panic!("{}", shrink(finding));
    }
});
