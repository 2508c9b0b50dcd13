//! Interpreter, compiled code and rbpf compute the same.

mod support;

use proptest::prelude::*;
use support::generate::{Dialect, MEMORY_BYTES, program};

/// A program's memory at its start.
fn memory(seed: u8) -> Vec<u8> {
    (0..MEMORY_BYTES).map(|index| (index as u8).wrapping_mul(37).wrapping_add(seed)).collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 100..900)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn interpreter_and_compiled_code(bytes in bytes(), seed: u8) {
        let executable = support::executable(&program(&bytes, Dialect::Full));
        support::run_everywhere(&executable, &memory(seed)).expect("ends");
    }

    #[test]
    fn interpreter_and_rbpf(bytes in bytes(), seed: u8) {
        let slots = program(&bytes, Dialect::Rbpf);
        let executable = support::executable(&slots);
        let mut own = memory(seed);
        let result = support::interpret(&executable, &mut own).expect("ends");
        let code: Vec<u8> = slots.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        let vm = rbpf::EbpfVmRaw::new(Some(&code)).expect("rbpf takes it");
        let mut theirs = memory(seed);
        let expected = vm.execute_program(&mut theirs).expect("rbpf runs it");
        prop_assert_eq!(result, expected);
        prop_assert_eq!(own, theirs);
    }
}
