//! `prog load`

use std::path::Path;

use uio_protocol::programs::ProgramInfo;

use super::super::bpf::{build, kind_name};
use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::{engine_name, to_json};
use crate::render::units::size;

const CERTIFICATE: Flag = Flag { name: "--cert", takes_value: true };
const NAME: Flag = Flag { name: "--name", takes_value: true };
const INTERPRET: Flag = Flag { name: "--interpret", takes_value: false };
const ROLLBACK: Flag = Flag { name: "--rollback", takes_value: false };

pub(super) struct Load;

impl Command for Load {
    fn name(&self) -> &'static str {
        "prog load"
    }

    fn summary(&self) -> &'static str {
        "Prove the programs of an object safe, and load them"
    }

    fn usage(&self) -> &'static str {
        "prog load FILE [--cert FILE] [--name NAME] [--interpret] [--rollback]"
    }

    fn details(&self) -> &'static str {
        "FILE is a host file: an object (`clang -target bpf -g`), or a C source (.c) that is compiled on the way.\n\
         All of its programs are loaded, or none. A map that the object declares as pinned is shared with other\n\
         objects by its name, if they declare it alike, and keeps its values when programs are replaced.\n\
         --cert       a certificate from `uio-shell sign`, where the guest's policy asks for one\n\
         --interpret  no machine code\n\
         --rollback   although a later generation was loaded before"
    }

    fn example(&self) -> &'static str {
        "> prog load extensions/bpf/pass.c\n1  pass  packet, jit, 2 instructions, 4 KiB"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn flags(&self) -> &'static [Flag] {
        &[CERTIFICATE, NAME, INTERPRET, ROLLBACK]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::HostPath, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let package = build(Path::new(arguments.at(0)), arguments.value(CERTIFICATE.name).map(Path::new))?;
        let upload = shell.client.upload(&package.bytes)?;
        let name = arguments.value(NAME.name).map(str::to_owned);
        let interpret = arguments.has(INTERPRET.name);
        let loaded = shell.client.load_programs(upload, name, interpret, arguments.has(ROLLBACK.name))?;
        package.remember(shell);
        for program in &loaded {
            if out.is_json() {
                out.object(&to_json(program))?;
            } else {
                out.line(describe(program))?;
            }
        }
        Ok(())
    }
}

/// What was loaded, in one line.
fn describe(program: &ProgramInfo) -> String {
    let fuel = if program.fuel { ", bounded by fuel" } else { "" };
    let maps: Vec<String> = program.maps.iter().map(|map| map.0.to_string()).collect();
    let maps = if maps.is_empty() { String::new() } else { format!(", maps {}", maps.join(" ")) };
    let instructions = if program.slots == 1 { "instruction" } else { "instructions" };
    format!(
        "{}  {}  {}, {}, {} {instructions}, {}{maps}{fuel}",
        program.id.0,
        program.name,
        kind_name(program.kind),
        engine_name(program.engine),
        program.slots,
        size(program.memory_bytes)
    )
}
