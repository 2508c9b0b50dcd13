//! `prog show`

use uio_protocol::bpf::ProgramKind;

use super::super::bpf::kind_name;
use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::{date, engine_name, find, ns_per_run, to_json};
use crate::render::units::{hex, size, time};

pub(super) struct Show;

impl Command for Show {
    fn name(&self) -> &'static str {
        "prog show"
    }

    fn summary(&self) -> &'static str {
        "One program in full"
    }

    fn usage(&self) -> &'static str {
        "prog show PROGRAM"
    }

    fn details(&self) -> &'static str {
        "PROGRAM is its number, or its name if only one has it."
    }

    fn example(&self) -> &'static str {
        "> prog show pass\n\
         program       1 pass, of object pass\n\
         type          packet\n\
         …"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Program, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let program = find(shell, arguments.at(0))?;
        if out.is_json() {
            return out.object(&to_json(&program));
        }
        let maps = shell.client.maps()?;
        let named = |id: &uio_protocol::maps::MapId| {
            let name = maps.iter().find(|map| map.id == *id).map_or("?", |map| map.name.as_str());
            format!("{} {name}", id.0)
        };
        let kind = match program.kind {
            ProgramKind::Raw { memory_bytes } => format!("raw, {memory_bytes} bytes of memory"),
            kind => kind_name(kind).to_owned(),
        };
        let code = match program.code_bytes {
            0 => "none: interpreted".to_owned(),
            bytes => format!("{bytes} bytes at {}", program.code),
        };
        let certificate = match &program.signed {
            None => "none".to_owned(),
            Some(signed) => format!(
                "tenant {}, generation {}, key {}, valid until {}",
                signed.tenant,
                signed.generation,
                hex(&signed.key_id),
                date(signed.expires_s)
            ),
        };
        let maps: Vec<String> = program.maps.iter().map(named).collect();
        let ends = if program.fuel { "by fuel: a loop is not proven to end" } else { "proven" };
        let runs = match ns_per_run(&program) {
            None => "0".to_owned(),
            Some(each) => {
                format!("{}, {} each, {} ended by the guest", program.run_count, time(each), program.faults)
            }
        };
        for (title, value) in [
            ("program", format!("{} {}, of object {}", program.id.0, program.name, program.object)),
            ("type", kind),
            ("hook", if program.target.is_empty() { "none".into() } else { program.target.clone() }),
            ("digest", hex(&program.digest)),
            ("certificate", certificate),
            ("instructions", program.slots.to_string()),
            ("proof", size(program.proof_bytes.into())),
            ("termination", ends.to_owned()),
            ("engine", engine_name(program.engine).to_owned()),
            ("code", code),
            ("maps", if maps.is_empty() { "none".into() } else { maps.join(", ") }),
            ("memory", size(program.memory_bytes)),
            ("loaded", format!("{} after boot", time(program.loaded_ns))),
            ("runs", runs),
        ] {
            out.line(format!("{}  {value}", out.style().bold(&format!("{title:<12}"))))?;
        }
        Ok(())
    }
}
