//! `map list`

use uio_protocol::bpf::MapKind;

use super::super::{Arguments, Command, CommandError, Output, Shell};
use super::to_json;
use crate::render::table::{Align, Table};
use crate::render::units::size;

pub(super) struct List;

impl Command for List {
    fn name(&self) -> &'static str {
        "map list"
    }

    fn summary(&self) -> &'static str {
        "Maps: kind, sizes, entries, pin, users"
    }

    fn usage(&self) -> &'static str {
        "map list"
    }

    fn example(&self) -> &'static str {
        "> map list\n\
         ID  NAME    KIND  KEY  VALUE  ENTRIES  MEMORY  PIN  PROGRAMS\n \
         1  counts  hash    4      8   3/1024  64 KiB  -    1"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        let maps = shell.client.maps()?;
        if out.is_json() {
            for map in &maps {
                out.object(&to_json(map))?;
            }
            return Ok(());
        }
        if maps.is_empty() {
            return out.line("there are no maps; `prog load FILE` makes those of an object");
        }
        let mut table = Table::new(&[
            ("ID", Align::Right),
            ("NAME", Align::Left),
            ("KIND", Align::Left),
            ("KEY", Align::Right),
            ("VALUE", Align::Right),
            ("ENTRIES", Align::Right),
            ("MEMORY", Align::Right),
            ("PIN", Align::Left),
            ("PROGRAMS", Align::Left),
        ]);
        for map in &maps {
            let programs: Vec<String> = map.programs.iter().map(|program| program.0.to_string()).collect();
            let entries = match map.kind {
                MapKind::RingBuffer => {
                    format!("{} of {}", size(map.entries.into()), size(map.max_entries.into()))
                }
                _ => format!("{}/{}", map.entries, map.max_entries),
            };
            table.row([
                map.id.0.to_string(),
                map.name.clone(),
                map.kind.name().to_owned(),
                map.key_bytes.to_string(),
                map.value_bytes.to_string(),
                entries,
                size(map.memory_bytes),
                map.pinned.clone().unwrap_or_else(|| "-".into()),
                if programs.is_empty() { "-".into() } else { programs.join(" ") },
            ]);
        }
        out.table(&table)
    }
}
