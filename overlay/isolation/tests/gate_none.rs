//! Gates without a backend: stacks and books, nothing denied. Runs on every machine.

mod support;

suite_tests!(support::Mode::None);
