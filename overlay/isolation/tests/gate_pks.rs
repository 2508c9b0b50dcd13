//! Gates for supervisor keys. `wrmsr` is ring 0's, so the emulator stands in for the register; the guest's
//! own tests have the real one.

mod support;

suite_tests!(support::Mode::EmulatedPks);
enforced_tests!(support::Mode::EmulatedPks);
