//! The plugin's protocol, as the suite's runner speaks it.

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit success, standard output, standard error.
fn plugin(arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_uio-bpf-plugin"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // It may end without reading, which closes the pipe.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// `r0 = *(u8 *)(r1 + 2); r0 += r2; exit`
const SUM: &str = "71 10 02 00 00 00 00 00 0f 20 00 00 00 00 00 00 95 00 00 00 00 00 00 00";

#[test]
fn runs_programs_from_standard_input_in_both_engines() {
    for engine in ["--jit", "--interpret"] {
        let (success, output, _) = plugin(&["aa bb 11 cc dd", engine], SUM);
        assert!(success);
        assert_eq!(output.trim(), "16");
    }
}

#[test]
fn runs_programs_from_the_command_line() {
    let (success, output, _) = plugin(&["--program", "b7 00 00 00 ff ff ff ff 95 00 00 00 00 00 00 00"], "");
    assert!(success);
    assert_eq!(output.trim(), "ffffffffffffffff");
}

#[test]
fn says_what_is_wrong() {
    for (arguments, input, expected) in [
        (&["--jit"][..], "", "0 bytes"),
        (&["--jit"], "zz", "`zz`"),
        (&["--turbo"], SUM, "--turbo"),
        (&["--elf"], SUM, "--elf"),
        (&["--jit"], "ff 00 00 00 00 00 00 00", "opcode 0xff"),
        (&["--interpret"], "85 00 00 00 63 00 00 00 95 00 00 00 00 00 00 00", "helper 99"),
    ] {
        let (success, output, error) = plugin(arguments, input);
        assert!(!success, "{arguments:?} {input}");
        assert_eq!(output, "");
        assert!(error.contains(expected), "{error}");
    }
}
