//! `peek`

use serde_json::json;
use uio_protocol::GuestAddress;
use uio_protocol::limits::CHUNK_BYTES_MAX;

use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::render::units::{hex, number};

/// Bytes shown when no count is given.
const DEFAULT_BYTES: usize = 64;
/// Bytes of one call: a screen holds a thousandth of it, and a file a hundred calls.
const BYTES_MAX: usize = 16 * 1024 * 1024;
const ROW_BYTES: usize = 16;

pub(super) struct Peek;

impl Command for Peek {
    fn name(&self) -> &'static str {
        "peek"
    }

    fn summary(&self) -> &'static str {
        "Show memory"
    }

    fn usage(&self) -> &'static str {
        "peek ADDRESS|SYMBOL [COUNT] [--width 1|2|4|8]"
    }

    fn details(&self) -> &'static str {
        "COUNT is in units of the width; 64 bytes without it. Wider units are little-endian numbers, as the\n\
         processor reads them. `SYMBOL+OFFSET` works too."
    }

    fn example(&self) -> &'static str {
        "> peek count 2 --width 8\n0xffffffff80072000  0000000000003039 0000000000000000"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 2)
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag { name: "--width", takes_value: true }]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Symbol, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let width = width(self.name(), arguments)?;
        let address = shell.address(arguments.at(0))?;
        let count = match arguments.get(1) {
            None => DEFAULT_BYTES / width,
            Some(text) => number(text)
                .and_then(|count| usize::try_from(count).ok())
                .filter(|&count| count > 0 && count <= BYTES_MAX / width)
                .ok_or_else(|| CommandError::Usage {
                    command: "peek",
                    message: format!("COUNT is a number from 1 to {}, not `{text}`", BYTES_MAX / width),
                })?,
        };
        let mut left = count * width;
        let mut from = address;
        while left > 0 {
            shell.interrupts.check()?;
            let bytes = shell.client.peek(from, left.min(CHUNK_BYTES_MAX))?;
            for row in bytes.chunks(ROW_BYTES) {
                show(from, row, width, out)?;
                from = GuestAddress(from.0.wrapping_add(row.len() as u64));
            }
            left -= bytes.len();
        }
        Ok(())
    }
}

/// The width flag.
pub(super) fn width(command: &'static str, arguments: &Arguments) -> Result<usize, CommandError> {
    match arguments.value("--width") {
        None => Ok(1),
        Some("1") => Ok(1),
        Some("2") => Ok(2),
        Some("4") => Ok(4),
        Some("8") => Ok(8),
        Some(other) => Err(CommandError::Usage {
            command,
            message: format!("the width is 1, 2, 4 or 8 bytes, not `{other}`"),
        }),
    }
}

fn show(address: GuestAddress, row: &[u8], width: usize, out: &mut Output<'_>) -> Result<(), CommandError> {
    if out.is_json() {
        return out.object(&json!({ "address": address.to_string(), "bytes": hex(row) }));
    }
    let units: Vec<String> =
        row.chunks(width).map(|unit| unit.iter().rev().map(|byte| format!("{byte:02x}")).collect()).collect();
    let place = out.style().dim(&format!("{address:#018x}"));
    let units = units.join(" ");
    if width > 1 {
        return out.line(format!("{place}  {units}"));
    }
    let text: String =
        row.iter().map(|&byte| if matches!(byte, 0x20..0x7f) { char::from(byte) } else { '.' }).collect();
    out.line(format!("{place}  {units:<47}  {}", out.style().dim(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::style::Style;

    #[test]
    fn rows() {
        let mut text = Vec::new();
        let mut out = Output::new(&mut text, Style::PLAIN, false);
        let row = b"Hello, guest!\0\x01\xff";
        show(GuestAddress(0x1000), row, 1, &mut out).unwrap();
        show(GuestAddress(0x1010), &row[..3], 1, &mut out).unwrap();
        show(GuestAddress(0x1020), &row[..8], 4, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "0x0000000000001000  48 65 6c 6c 6f 2c 20 67 75 65 73 74 21 00 01 ff  Hello, guest!...\n\
             0x0000000000001010  48 65 6c                                         Hel\n\
             0x0000000000001020  6c6c6548 67202c6f\n"
        );
    }
}
