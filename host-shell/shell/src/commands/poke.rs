//! `poke`

use serde_json::json;

use super::peek::width;
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::render::units::{hex, signed_number};

pub(super) struct Poke;

impl Command for Poke {
    fn name(&self) -> &'static str {
        "poke"
    }

    fn summary(&self) -> &'static str {
        "Write memory"
    }

    fn usage(&self) -> &'static str {
        "poke ADDRESS|SYMBOL VALUE... [--width 1|2|4|8]"
    }

    fn details(&self) -> &'static str {
        "Values are stored one after the other, little-endian. Code and constants refuse. To change a\n\
         variable by its type, use `set`."
    }

    fn example(&self) -> &'static str {
        "> poke count 1000 --width 8\n0xffffffff80072000  39 30 00 00 00 00 00 00 -> e8 03 00 00 00 00 00 00"
    }

    fn arity(&self) -> (usize, usize) {
        (2, usize::MAX)
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
        let mut bytes = Vec::new();
        for word in &arguments.all()[1..] {
            let value = value(word, width).ok_or_else(|| CommandError::Usage {
                command: "poke",
                message: format!("`{word}` is not a number of {} bits", width * 8),
            })?;
            bytes.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        let address = shell.address(arguments.at(0))?;
        let before = shell.client.peek(address, bytes.len())?;
        shell.client.poke(address, &bytes)?;
        if out.is_json() {
            let (before, after) = (hex(&before), hex(&bytes));
            return out.object(&json!({ "address": address.to_string(), "before": before, "after": after }));
        }
        let place = out.style().dim(&format!("{address:#018x}"));
        out.line(format!("{place}  {} -> {}", spaced(&before), spaced(&bytes)))
    }
}

/// A number that fits `width` bytes, signed or unsigned.
fn value(word: &str, width: usize) -> Option<u64> {
    let value = signed_number(word)?;
    if width == 8 {
        return Some(value);
    }
    let bits = width as u32 * 8;
    let negative = word.starts_with('-');
    let fits = if negative { value as i64 >= -(1_i64 << (bits - 1)) } else { value < 1 << bits };
    fits.then_some(value)
}

fn spaced(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_to_fit() {
        assert_eq!(value("255", 1), Some(255));
        assert_eq!(value("256", 1), None);
        assert_eq!(value("-128", 1), Some(-128_i64 as u64));
        assert_eq!(value("-129", 1), None);
        assert_eq!(value("0xffffffff", 4), Some(0xffff_ffff));
        assert_eq!(value("-1", 8), Some(u64::MAX));
        assert_eq!(value("x", 8), None);
    }
}
