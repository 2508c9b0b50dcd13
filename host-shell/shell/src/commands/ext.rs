//! `ext`

use serde_json::json;
use uio_protocol::inspect::{ExtensionInfo, Isolation};

use super::{Arguments, Command, CommandError, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::size;

pub(super) struct Ext;

impl Command for Ext {
    fn name(&self) -> &'static str {
        "ext"
    }

    fn summary(&self) -> &'static str {
        "Loaded extensions: isolation, place, runs, memory, faults"
    }

    fn usage(&self) -> &'static str {
        "ext"
    }

    fn example(&self) -> &'static str {
        "> ext\n\
         ID  NAME       ISOLATION  KEY  RUNS  FAULTS   MEMORY  TEXT                USED BY\n \
         1  set_count  mpk          3     0       0   28 KiB  0xffffffffc0000000  -"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        let extensions = shell.client.extensions()?;
        if out.is_json() {
            for extension in &extensions {
                out.object(&to_json(extension))?;
            }
            return Ok(());
        }
        if extensions.is_empty() {
            return out.line("nothing is loaded; `load FILE` loads an extension, `run FILE` also starts it");
        }
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("NAME", Align::Left),
            ("ISOLATION", Align::Left),
            ("KEY", Align::Right),
            ("RUNS", Align::Right),
            ("FAULTS", Align::Right),
            ("MEMORY", Align::Right),
            ("TEXT", Align::Left),
            ("USED BY", Align::Left),
        ]);
        for one in &extensions {
            let resident = if one.resident { " (resident)" } else { "" };
            let text = one.sections.iter().find(|section| section.name.starts_with(".text"));
            table.row([
                one.id.0.to_string(),
                format!("{}{resident}", one.name),
                isolation_name(one.isolation).to_owned(),
                one.key.to_string(),
                one.runs.to_string(),
                one.faults.to_string(),
                size(one.memory_bytes),
                text.map_or_else(|| "-".into(), |section| section.start.to_string()),
                if one.used_by.is_empty() { "-".into() } else { one.used_by.join(", ") },
            ]);
        }
        out.table(&table)
    }
}

/// The word for an isolation, as `load --isolation` takes it.
pub(super) fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Mpk => "mpk",
        Isolation::Ring3 => "ring3",
        Isolation::None => "none",
    }
}

/// The extension as every command writes it in JSON.
pub(super) fn to_json(extension: &ExtensionInfo) -> serde_json::Value {
    let sections: Vec<_> = extension
        .sections
        .iter()
        .map(|section| {
            json!({ "name": section.name, "start": section.start.to_string(), "size": section.size })
        })
        .collect();
    json!({
        "id": extension.id.0,
        "name": extension.name,
        "isolation": isolation_name(extension.isolation),
        "key": extension.key,
        "runs": extension.runs,
        "faults": extension.faults,
        "memory_bytes": extension.memory_bytes,
        "resident": extension.resident,
        "used_by": extension.used_by,
        "sections": sections,
    })
}
