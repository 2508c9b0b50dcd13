//! `disasm`

use serde_json::json;
use uio_protocol::GuestAddress;

use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::render::frames::place;
use crate::render::units::hex;

/// Longest instruction of x86-64 is 15 bytes; most that people look at are shorter than this.
const BYTES_COLUMN: usize = 8;

pub(super) struct Disasm;

impl Command for Disasm {
    fn name(&self) -> &'static str {
        "disasm"
    }

    fn summary(&self) -> &'static str {
        "Disassemble a function as it is in memory now"
    }

    fn usage(&self) -> &'static str {
        "disasm FUNCTION|ADDRESS [--bytes]"
    }

    fn details(&self) -> &'static str {
        "Code is read from the guest, not from the file, so relocated extensions and patches show. Source\n\
         lines come from the debug information. An address inside a function is marked with =>."
    }

    fn example(&self) -> &'static str {
        "> disasm set_count\n\
         set_count:\n\
         ; guest/images/count/src/main.rs:22\n   \
         0xffffffff80202650  mov rax, rdi\n   \
         0xffffffff80202653  xchg [count], rax\n   \
         0xffffffff8020265a  ret"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag { name: "--bytes", takes_value: false }]
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
        let address = shell.address(arguments.at(0))?;
        let space = shell.space()?;
        let range = space.code_range(address.0);
        let size = usize::try_from(range.size).unwrap_or(usize::MAX);
        let code = shell.client.peek(GuestAddress(range.address), size)?;
        let lines = space.disassemble(range.address, &code, Some(address.0), true);
        if !out.is_json() {
            let name = range.name.unwrap_or_else(|| format!("{:#x}", range.address));
            out.line(format!("{}:", out.style().bold(&name)))?;
        }
        for line in lines {
            if out.is_json() {
                out.object(&json!({
                    "address": format!("{:#x}", line.address),
                    "bytes": hex(&line.bytes),
                    "text": line.text,
                    "target": line.target.map(|target| format!("{target:#x}")),
                    "source": line.source.map(|source| source.to_string()),
                }))?;
                continue;
            }
            if let Some(source) = &line.source {
                out.line(out.style().hint(&format!("; {}", place(source))))?;
            }
            // The first line is what was asked for; a mark there would say nothing.
            let marked = line.current && address.0 != range.address;
            let mark = if marked { "=>" } else { "  " };
            let bytes = if arguments.has("--bytes") {
                format!("  {:<1$}", hex(&line.bytes), 2 * BYTES_COLUMN)
            } else {
                String::new()
            };
            let address = out.style().dim(&format!("{:#018x}", line.address));
            out.line(format!("{mark} {address}{bytes}  {}", line.text))?;
        }
        Ok(())
    }
}
