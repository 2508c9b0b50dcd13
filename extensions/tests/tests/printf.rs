//! uio_printf against the C library's.

use std::process::Command;

use uio_extension_tests::{host_program, output, run};

#[test]
fn formats_as_the_c_library_does() {
    let program = host_program("printf_check.c", &output(env!("CARGO_TARGET_TMPDIR"), "printf"));
    let said = run(&mut Command::new(program));
    let comparisons: u64 = said.split(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    assert!(comparisons > 10_000, "{said}");
}
