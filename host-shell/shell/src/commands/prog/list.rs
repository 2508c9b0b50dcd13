//! `prog list`

use super::super::bpf::kind_name;
use super::super::{Arguments, Command, CommandError, Output, Shell};
use super::{date, ns_per_run, to_json};
use crate::render::table::{Align, Table};
use crate::render::units::hex;

pub(super) struct List;

impl Command for List {
    fn name(&self) -> &'static str {
        "prog list"
    }

    fn summary(&self) -> &'static str {
        "Loaded programs: type, hook, certificate, runs"
    }

    fn usage(&self) -> &'static str {
        "prog list"
    }

    fn details(&self) -> &'static str {
        "GEN, TENANT, KEY and EXPIRES are of the certificate. `fuel` marks a program with a loop that is not proven\n\
         to end: its runs are stopped when they take too long. Runs of `prog test` are always counted."
    }

    fn example(&self) -> &'static str {
        "> prog list\n\
         ID  NAME  TYPE    HOOK  GEN  TENANT  KEY  EXPIRES  RUNS  NS/RUN  NOTES\n \
         1  pass  packet  -       -  -       -    -        1000       6"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        let programs = shell.client.programs()?;
        if out.is_json() {
            for program in &programs {
                out.object(&to_json(program))?;
            }
            return Ok(());
        }
        if programs.is_empty() {
            return out.line("no program is loaded; `prog load FILE` loads some, `bpf run FILE` runs one");
        }
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("NAME", Align::Left),
            ("TYPE", Align::Left),
            ("HOOK", Align::Left),
            ("GEN", Align::Right),
            ("TENANT", Align::Left),
            ("KEY", Align::Left),
            ("EXPIRES", Align::Left),
            ("RUNS", Align::Right),
            ("NS/RUN", Align::Right),
            ("NOTES", Align::Left),
        ]);
        let none = || "-".to_owned();
        for program in &programs {
            let signed = program.signed.as_ref();
            let mut notes = Vec::new();
            if program.code_bytes == 0 {
                notes.push("interpreted".to_owned());
            }
            if program.fuel {
                notes.push("fuel".to_owned());
            }
            if program.running > 0 {
                notes.push(format!("{} running", program.running));
            }
            if program.faults > 0 {
                notes.push(format!("{} ended by the guest", program.faults));
            }
            table.row([
                program.id.0.to_string(),
                program.name.clone(),
                kind_name(program.kind).to_owned(),
                if program.target.is_empty() { none() } else { program.target.clone() },
                signed.map_or_else(none, |signed| signed.generation.to_string()),
                signed.map_or_else(none, |signed| signed.tenant.clone()),
                signed.map_or_else(none, |signed| hex(&signed.key_id)),
                signed.map_or_else(none, |signed| date(signed.expires_s)),
                program.run_count.to_string(),
                ns_per_run(program).map_or_else(none, |time| time.to_string()),
                notes.join(", "),
            ]);
        }
        out.table(&table)
    }
}
