//! `map`

mod delete;
mod dump;
mod list;
mod lookup;
mod pin;
mod show;
mod take;
mod update;
mod values;

use uio_protocol::maps::MapInfo;

use super::{Arguments, Command, CommandError, Output, Shell};
use crate::text::near_matches;

pub(super) struct Map;

impl Command for Map {
    fn name(&self) -> &'static str {
        "map"
    }

    fn summary(&self) -> &'static str {
        "eBPF maps: list, show, dump, lookup, update, delete, take, pin, unpin"
    }

    fn usage(&self) -> &'static str {
        "map list|show|dump|lookup|update|delete|take|pin|unpin …"
    }

    fn details(&self) -> &'static str {
        "Keys and values are shown and read by the types of the object that made the map: numbers, `{ field = 1 }`,\n\
         addresses such as 10.0.0.1. `hex 0a 00 00 01` gives bytes."
    }

    fn example(&self) -> &'static str {
        "> map list\n\
         ID  NAME    KIND  KEY  VALUE  ENTRIES  MEMORY  PIN  PROGRAMS\n \
         1  counts  hash    4      8   3/1024  64 KiB  -    1"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn subcommands(&self) -> &'static [&'static dyn Command] {
        &[
            &list::List,
            &show::Show,
            &dump::Dump,
            &lookup::Lookup,
            &update::Update,
            &delete::Delete,
            &take::Take,
            &pin::Pin,
            &pin::Unpin,
        ]
    }

    fn run(&self, _: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        super::help::show(self, out)
    }
}

/// The map that `word` names: its number, the name of its pin, or its name if only one has it.
fn find(shell: &Shell, word: &str) -> Result<MapInfo, CommandError> {
    let mut all = shell.client.maps()?;
    let number = word.parse().ok();
    let exact = all.iter().position(|one| Some(one.id.0) == number || one.pinned.as_deref() == Some(word));
    if let Some(index) = exact {
        return Ok(all.swap_remove(index));
    }
    let named: Vec<usize> = (0..all.len()).filter(|&index| all[index].name == word).collect();
    match named.as_slice() {
        [one] => Ok(all.swap_remove(*one)),
        [] => {
            let near = near_matches(word, all.iter().map(|one| one.name.as_str()));
            let hint = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None if all.is_empty() => {
                    "there are no maps; `prog load FILE` makes those of an object".into()
                }
                None => "`map list` lists them".into(),
            };
            Err(CommandError::with_hint(format!("no map `{word}`"), hint))
        }
        several => {
            let numbers: Vec<String> = several.iter().map(|&index| all[index].id.0.to_string()).collect();
            Err(CommandError::with_hint(
                format!("{} maps are called `{word}`", several.len()),
                format!("give the number: {}", numbers.join(", ")),
            ))
        }
    }
}

/// The map as every command writes it in JSON.
fn to_json(map: &MapInfo) -> serde_json::Value {
    serde_json::json!({
        "id": map.id.0,
        "name": map.name,
        "kind": map.kind.name(),
        "key_bytes": map.key_bytes,
        "value_bytes": map.value_bytes,
        "max_entries": map.max_entries,
        "entries": map.entries,
        "lost": map.lost,
        "flags": map.flags,
        "read_only": map.read_only,
        "pinned": map.pinned,
        "memory_bytes": map.memory_bytes,
        "programs": map.programs.iter().map(|program| program.0).collect::<Vec<_>>(),
        "typed": map.typed,
    })
}
