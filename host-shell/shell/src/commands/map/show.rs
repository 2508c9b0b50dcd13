//! `map show`

use uio_protocol::bpf::MapKind;

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::{find, to_json};
use crate::render::units::size;

pub(super) struct Show;

impl Command for Show {
    fn name(&self) -> &'static str {
        "map show"
    }

    fn summary(&self) -> &'static str {
        "One map in full"
    }

    fn usage(&self) -> &'static str {
        "map show MAP"
    }

    fn details(&self) -> &'static str {
        "MAP is its number, the name of its pin, or its name if only one has it."
    }

    fn example(&self) -> &'static str {
        "> map show counts\nmap       1 counts\nkind      hash\n…"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Map, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let map = find(shell, arguments.at(0))?;
        if out.is_json() {
            return out.object(&to_json(&map));
        }
        let programs = shell.client.programs()?;
        let users: Vec<String> = map
            .programs
            .iter()
            .map(|id| {
                let name = programs.iter().find(|one| one.id == *id).map_or("?", |one| one.name.as_str());
                format!("{} {name}", id.0)
            })
            .collect();
        let entries = match map.kind {
            MapKind::RingBuffer => format!(
                "{} not read of {}, {} records lost",
                size(map.entries.into()),
                size(map.max_entries.into()),
                map.lost
            ),
            _ => format!("{} of {}", map.entries, map.max_entries),
        };
        for (title, value) in [
            ("map", format!("{} {}", map.id.0, map.name)),
            ("kind", map.kind.name().to_owned()),
            ("key", format!("{} bytes", map.key_bytes)),
            ("value", format!("{} bytes", map.value_bytes)),
            ("entries", entries),
            ("flags", format!("{:#x}", map.flags)),
            ("programs may", if map.read_only { "read it" } else { "read and write it" }.to_owned()),
            (
                "pinned as",
                map.pinned.clone().unwrap_or_else(|| "not pinned: goes with its last program".into()),
            ),
            ("used by", if users.is_empty() { "no program".into() } else { users.join(", ") }),
            ("types", if map.typed { "known" } else { "not described by its object" }.to_owned()),
            ("memory", size(map.memory_bytes)),
        ] {
            out.line(format!("{}  {value}", out.style().bold(&format!("{title:<12}"))))?;
        }
        Ok(())
    }
}
