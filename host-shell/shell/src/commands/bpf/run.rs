//! `bpf run`

use std::path::Path;

use serde_json::json;
use uio_protocol::bpf::ProgramKind;

use super::super::runner::{BUDGET, budget};
use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::{build, data, watch_test};

const PROGRAM: Flag = Flag { name: "--program", takes_value: true };
const INTERPRET: Flag = Flag { name: "--interpret", takes_value: false };
const DATA_IN: Flag = Flag { name: "--data-in", takes_value: true };
const CERTIFICATE: Flag = Flag { name: "--cert", takes_value: true };

pub(super) struct BpfRun;

impl Command for BpfRun {
    fn name(&self) -> &'static str {
        "bpf run"
    }

    fn summary(&self) -> &'static str {
        "Run a program once and remove it; what it prints comes here"
    }

    fn usage(&self) -> &'static str {
        "bpf run FILE [ARGUMENT] [--program NAME] [--data-in FILE|HEX] [--cert FILE] [--interpret] [--budget MS]"
    }

    fn details(&self) -> &'static str {
        "FILE is a host file: an object (.o), a C source (.c), or instructions and nothing else. It is proven\n\
         safe here, checked and run by the guest, and removed. ARGUMENT is text that a `raw` program finds at\n\
         R1, zeros behind it; `--data-in` gives bytes, to programs of other kinds too.\n\
         What it prints with `bpf_printk` comes here. Pinned maps of it stay. The budget is CPU time, 1000 ms\n\
         unless given; Ctrl-C ends the run."
    }

    fn example(&self) -> &'static str {
        "> bpf run extensions/bpf/hello.c hi\nhello: 2 bytes are set, the first is 68\nreturned 209 (0xd1)"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 2)
    }

    fn flags(&self) -> &'static [Flag] {
        &[PROGRAM, DATA_IN, CERTIFICATE, INTERPRET, BUDGET]
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
        let budget = budget(self.name(), arguments)?;
        let bytes = match (arguments.get(1), arguments.value(DATA_IN.name)) {
            (Some(_), Some(_)) => {
                return Err(CommandError::Usage {
                    command: self.name(),
                    message: "ARGUMENT and `--data-in` are the same bytes; give one of them".into(),
                });
            }
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => data(self.name(), text)?,
            (None, None) => Vec::new(),
        };
        let package = build(Path::new(arguments.at(0)), arguments.value(CERTIFICATE.name).map(Path::new))?;
        let name = arguments.value(PROGRAM.name).unwrap_or_default().to_owned();
        let chosen = package.image.programs.iter().find(|program| name.is_empty() || program.name == name);
        if let Some(program) = chosen
            && arguments.get(1).is_some()
            && !matches!(program.kind, ProgramKind::Raw { .. })
        {
            return Err(CommandError::with_hint(
                format!("`{}` takes no text: it is no `raw` program", program.name),
                "give it a packet with `--data-in FILE|HEX`",
            ));
        }
        let shown = chosen.map_or_else(|| name.clone(), |program| program.name.clone());
        let upload = shell.client.upload(&package.bytes)?;
        let interpret = arguments.has(INTERPRET.name);
        let run = shell.client.run_once(upload, name, interpret, bytes, budget)?;
        let test = watch_test(shell, run, &shown, out)?;
        if out.is_json() {
            return out.object(&json!({
                "run": run.0,
                "program": shown,
                "returned": test.value,
                "duration_ns": test.duration_ns,
            }));
        }
        out.line(format!("returned {} ({:#x})", test.value, test.value))
    }
}
