//! Gates under user keys: the processor's where it has them, else the emulator's. The line on standard
//! error says which. `hardware_…` tests show as ignored where the build machine has none.
//!
//! Without such a processor, a Linux under `qemu-system-x86_64 -accel tcg -cpu max` has keys: run this
//! program there with `--include-ignored --test-threads=1` (times measured there mean nothing).

mod support;

use support::Mode;
use uio_isolation::backend;

suite_tests!(Mode::best_pku());
enforced_tests!(Mode::best_pku());

#[test]
#[cfg_attr(not(has_pku), ignore = "this machine's CPU does not offer protection keys (no `ospke` in CPUID)")]
fn hardware_enforces_the_keys() {
    let support = backend::detect();
    assert!(support.pku_enabled, "CPUID offers no protection keys here: {support:?}");
    support::suite::a_store_reaches_own_and_exchange_pages_only(Mode::Pku);
    let fault_code = support::signals::expected_code(Mode::best_pku());
    assert_eq!(fault_code, 4, "SEGV_PKUERR was what the stores above were checked against");
}
