//! `prog dump`

use serde_json::json;
use uio_bpf::instruction::decode;
use uio_bpf_objects::ParsedObject;
use uio_protocol::programs::{ProgramInfo, ProgramPart};
use uio_verifier::Proof;
use uio_verifier::analysis::Statement;

use super::super::bpf::{describe_slots, remembered};
use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::find;
use crate::render::bpf::instruction;
use crate::render::units::hex;

const SOURCE: Flag = Flag { name: "--source", takes_value: false };
const OPCODES: Flag = Flag { name: "--opcodes", takes_value: false };

const ROW_BYTES: usize = 16;

pub(super) struct Dump;

impl Command for Dump {
    fn name(&self) -> &'static str {
        "prog dump"
    }

    fn summary(&self) -> &'static str {
        "Instructions, machine code or proof of a program, as the guest has them"
    }

    fn usage(&self) -> &'static str {
        "prog dump PROGRAM xlated|jited|proof [--source] [--opcodes]"
    }

    fn details(&self) -> &'static str {
        "xlated   instructions as the guest checked them, accesses of the context rewritten\n\
         jited    machine code, disassembled here\n\
         proof    the facts that make it safe: what holds where paths meet, and why loops end\n\
         --source interleaves lines of the source, --opcodes shows the bytes."
    }

    fn example(&self) -> &'static str {
        "> prog dump pass xlated\n   0: w0 = 2\n   1: exit"
    }

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn flags(&self) -> &'static [Flag] {
        &[SOURCE, OPCODES]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Program, Completion::Words(&["xlated", "jited", "proof"]), Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let part = arguments.at(1);
        if !["xlated", "jited", "proof"].contains(&part) {
            return Err(CommandError::Usage {
                command: self.name(),
                message: format!("`xlated`, `jited` or `proof`, not `{part}`"),
            });
        }
        let program = find(shell, arguments.at(0))?;
        let listing = Listing {
            source: if arguments.has(SOURCE.name) { Some(source(shell, &program)?) } else { None },
            opcodes: arguments.has(OPCODES.name),
        };
        match part {
            "xlated" => xlated(shell, &program, &listing, out),
            "jited" => jited(shell, &program, &listing, out),
            _ => proof(shell, &program, &listing, out),
        }
    }
}

/// What is shown beside the instructions.
struct Listing {
    /// The object and the program's index in it.
    source: Option<(ParsedObject, usize)>,
    opcodes: bool,
}

impl Listing {
    /// The source line that begins at `slot`.
    fn line(&self, slot: u32) -> Option<String> {
        let (object, index) = self.source.as_ref()?;
        describe_slots(&object.source, *index, slot)
    }
}

/// The object of a program, for its source.
fn source(shell: &Shell, program: &ProgramInfo) -> Result<(ParsedObject, usize), CommandError> {
    let object = remembered(shell, &program.digest).ok_or_else(|| {
        CommandError::with_hint(
            format!("the object of `{}` is not known on this host", program.name),
            "load it from a shell of this instance; without `--source` the dump needs no object",
        )
    })?;
    // `--name` may have given it another name; its code tells.
    let slots = program.slots as usize;
    let programs = &object.image.programs;
    let index = programs
        .iter()
        .position(|one| one.name == program.name && one.slots.len() == slots)
        .or_else(|| programs.iter().position(|one| one.slots.len() == slots))
        .unwrap_or(0);
    Ok((object, index))
}

fn xlated(
    shell: &Shell,
    program: &ProgramInfo,
    listing: &Listing,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    let bytes = shell.client.program_dump(program.id, ProgramPart::Instructions)?;
    let slots: Vec<u64> = bytes.as_chunks().0.iter().map(|slot| u64::from_le_bytes(*slot)).collect();
    let decoded = decode(&slots)
        .map_err(|error| CommandError::message(format!("the guest's instructions do not decode: {error}")))?;
    // Instructions number the maps of the object, of which the program may use some only.
    let names = remembered(shell, &program.digest)
        .map(|object| object.image.maps.into_iter().map(|map| map.name).collect::<Vec<_>>())
        .unwrap_or_default();
    for (slot, operation) in decoded.iter() {
        let text = instruction(operation, &names);
        let opcode = hex(&slots[slot as usize].to_le_bytes());
        let line = listing.line(slot);
        if out.is_json() {
            out.object(&json!({ "slot": slot, "text": text, "opcode": opcode, "source": line }))?;
            continue;
        }
        if let Some(line) = line {
            out.line(out.style().hint(&format!("; {line}")))?;
        }
        let opcode = if listing.opcodes { format!("{opcode}  ") } else { String::new() };
        out.line(format!("{} {opcode}{text}", out.style().dim(&format!("{slot:>4}:"))))?;
    }
    Ok(())
}

fn jited(
    shell: &mut Shell,
    program: &ProgramInfo,
    listing: &Listing,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    if program.code_bytes == 0 {
        return Err(CommandError::with_hint(
            format!("`{}` has no machine code: it is interpreted", program.name),
            "load it without `--interpret`",
        ));
    }
    let code = shell.client.program_dump(program.id, ProgramPart::Code)?;
    let offsets = shell.client.program_dump(program.id, ProgramPart::CodeOffsets)?;
    let offsets: Vec<u32> = offsets.as_chunks().0.iter().map(|start| u32::from_le_bytes(*start)).collect();
    let base = program.code.0;
    // Of slots whose code starts at one place the first is meant.
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (slot, &start) in offsets.iter().enumerate() {
        if let Some(line) = listing.line(slot as u32) {
            lines.push((base + u64::from(start), line));
        }
    }
    for line in shell.space()?.disassemble(base, &code, None, false) {
        let sources: Vec<&String> =
            lines.iter().filter(|(at, _)| *at == line.address).map(|(_, text)| text).collect();
        if out.is_json() {
            out.object(&json!({
                "address": format!("{:#x}", line.address),
                "bytes": hex(&line.bytes),
                "text": line.text,
                "source": sources.first(),
            }))?;
            continue;
        }
        for source in sources {
            out.line(out.style().hint(&format!("; {source}")))?;
        }
        let bytes = if listing.opcodes { format!("{:<22}", hex(&line.bytes)) } else { String::new() };
        let place = out.style().dim(&format!("{:>5x}:", line.address - base));
        out.line(format!("{place} {bytes}{}", line.text))?;
    }
    Ok(())
}

fn proof(
    shell: &Shell,
    program: &ProgramInfo,
    listing: &Listing,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    let bytes = shell.client.program_dump(program.id, ProgramPart::Proof)?;
    let statements = Proof::decode(&bytes)
        .map_err(|error| CommandError::message(format!("the guest's copy of the proof: {error}")))?
        .describe();
    if out.is_json() {
        let said = |statement: &Statement| json!({ "slot": statement.slot, "states": statement.states, "ends": statement.ends });
        return out.object(&json!({
            "proof": hex(&bytes),
            "bytes": bytes.len(),
            "statements": statements.iter().map(said).collect::<Vec<_>>(),
        }));
    }
    let states: usize = statements.iter().map(|statement| statement.states.len()).sum();
    out.line(out.style().dim(&format!("{} bytes, states: {states}", bytes.len())))?;
    for statement in &statements {
        if let Some(line) = listing.line(statement.slot) {
            out.line(out.style().hint(&format!("; {line}")))?;
        }
        let mut place = out.style().dim(&format!("{:>4}:", statement.slot));
        for text in statement.ends.iter().chain(&statement.states) {
            out.line(format!("{place} {text}"))?;
            place = String::from("     ");
        }
    }
    if listing.opcodes {
        for (row, piece) in bytes.chunks(ROW_BYTES).enumerate() {
            let place = out.style().dim(&format!("{:#06x}", row * ROW_BYTES));
            let units: Vec<String> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            out.line(format!("{place}  {}", units.join(" ")))?;
        }
    }
    Ok(())
}
