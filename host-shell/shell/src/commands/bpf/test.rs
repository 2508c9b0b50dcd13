//! Test runs: their data, and what came of them.

use std::path::Path;

use serde_json::json;
use uio_protocol::programs::{StopReason, TestRun};
use uio_protocol::rpc::RunId;

use super::super::runner::watch_program;
use super::super::{CommandError, Output, Shell};
use crate::render::units::{hex, time};

/// Runs of a test unless it says otherwise.
pub(in super::super) const REPEAT_DEFAULT: u32 = 1;

const ROW_BYTES: usize = 16;

/// The bytes that `--data-in` means: a host file's, or hexadecimal digits.
pub(in super::super) fn data(command: &'static str, text: &str) -> Result<Vec<u8>, CommandError> {
    let path = Path::new(text);
    if path.is_file() {
        return std::fs::read(path)
            .map_err(|source| CommandError::HostFile { path: path.to_path_buf(), source });
    }
    let digits: String =
        text.chars().filter(|digit| !digit.is_whitespace() && !matches!(digit, ':' | '_')).collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    parse_hex(digits).ok_or_else(|| CommandError::Usage {
        command,
        message: format!("`{text}` is neither a file nor pairs of hexadecimal digits"),
    })
}

fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// Waits for a program's run, showing its output. What came of it.
pub(in super::super) fn watch_test(
    shell: &mut Shell,
    run: RunId,
    name: &str,
    out: &mut Output<'_>,
) -> Result<TestRun, CommandError> {
    let test = watch_program(shell, run, name, out)?;
    match test.stopped {
        None => Ok(test),
        Some(reason) => Err(CommandError::with_hint(
            format!("program `{name}` {} after {} whole runs", stopped(reason), test.runs),
            stop_hint(reason),
        )),
    }
}

fn stopped(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Fuel => "ran out of fuel in a loop without a proven bound",
        StopReason::Callee => "called through a register that holds no function",
        StopReason::Depth => "called functions too deeply",
        StopReason::End => "ran past the end of a function",
        StopReason::Refused => "made an access that was refused",
    }
}

fn stop_hint(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Fuel => {
            "give the loop a counter with a constant bound, so that it can be proven to end and needs no fuel"
        }
        _ => "a program that was proven safe does not do this: please report it with the object file",
    }
}

/// Shows a test's result: value, data where it says something, time.
pub(in super::super) fn show_test(
    test: &TestRun,
    meaning: Option<&str>,
    before: &[u8],
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    let per_run = test.duration_ns / u64::from(test.runs.max(1));
    if out.is_json() {
        return out.object(&json!({
            "returned": test.value,
            "meaning": meaning,
            "runs": test.runs,
            "ns_per_run": per_run,
            "data_out": hex(&test.data),
            "data_changed": test.data != before,
        }));
    }
    let meaning = meaning.map(|meaning| format!(" ({meaning})")).unwrap_or_default();
    let times = if test.runs == 1 { String::new() } else { format!(", {} runs", test.runs) };
    out.line(format!("returned {}{meaning}, {} a run{times}", test.value, time(per_run)))?;
    if test.data == before {
        return out.line(format!("data: {} bytes, unchanged", test.data.len()));
    }
    out.line(format!("data: {} bytes", test.data.len()))?;
    for (row, bytes) in test.data.chunks(ROW_BYTES).enumerate() {
        let place = out.style().dim(&format!("{:#06x}", row * ROW_BYTES));
        let units: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        out.line(format!("{place}  {}", units.join(" ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_a_file_or_digits() {
        assert_eq!(data("prog", "0a0B 0c:0d").unwrap(), [10, 11, 12, 13]);
        assert_eq!(data("prog", "0xff").unwrap(), [255]);
        for wrong in ["", "0", "xyz1", "/nowhere"] {
            assert!(matches!(data("prog", wrong), Err(CommandError::Usage { .. })), "{wrong}");
        }
    }
}
