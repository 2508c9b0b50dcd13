//! `map dump`

use uio_protocol::bpf::MapKind;
use uio_protocol::limits::CHUNK_BYTES_MAX;

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::find;
use super::values::Types;

pub(super) struct Dump;

impl Command for Dump {
    fn name(&self) -> &'static str {
        "map dump"
    }

    fn summary(&self) -> &'static str {
        "All entries of a map, by their types"
    }

    fn usage(&self) -> &'static str {
        "map dump MAP"
    }

    fn details(&self) -> &'static str {
        "Programs go on meanwhile: entries that come or go may be missed. Queues and stacks are shown from the oldest\n\
         value on and keep it. The records of a ring buffer are read with `map take`."
    }

    fn example(&self) -> &'static str {
        "> map dump counts\n80: 12\n443: 7\n2 entries"
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
        if map.kind == MapKind::RingBuffer {
            return Err(CommandError::with_hint(
                format!("`{}` is a ring buffer: reading its records takes them out", map.name),
                format!(
                    "`map take {}` takes the oldest, `map take {} --all` all of them",
                    map.name, map.name
                ),
            ));
        }
        let types = Types::of(shell, &map)?;
        let mut count = 0_u32;
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            shell.interrupts.check()?;
            let (entries, next) = shell.client.map_entries(map.id, from)?;
            for mut entry in entries {
                if entry.value.len() >= CHUNK_BYTES_MAX && map.value_bytes as usize > entry.value.len() {
                    entry.value = shell.client.map_lookup(map.id, &entry.key, map.value_bytes as usize)?;
                }
                count += 1;
                if out.is_json() {
                    out.object(&types.json(&entry.key, &entry.value))?;
                } else {
                    out.line(format!("{}: {}", types.key_text(&entry.key), types.value_text(&entry.value)))?;
                }
            }
            // A guest that does not get on would keep us here for ever.
            cursor = next.filter(|&next| next > from);
        }
        if out.is_json() {
            return Ok(());
        }
        let plural = if count == 1 { "entry" } else { "entries" };
        out.line(out.style().dim(&format!("{count} {plural}")))
    }
}
