//! `map pin` and `map unpin`

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::{find, to_json};

pub(super) struct Pin;

impl Command for Pin {
    fn name(&self) -> &'static str {
        "map pin"
    }

    fn summary(&self) -> &'static str {
        "Keep a map without programs, and share it by a name"
    }

    fn usage(&self) -> &'static str {
        "map pin MAP [NAME]"
    }

    fn details(&self) -> &'static str {
        "NAME is the map's own unless given. Objects that declare a map of that name as pinned\n\
         (LIBBPF_PIN_BY_NAME) share it, if they declare it alike. Objects with such a declaration pin their maps\n\
         themselves."
    }

    fn example(&self) -> &'static str {
        "> map pin 1 counts\npinned map 1 as counts"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 2)
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
        shell.client.map_pin(map.id, arguments.get(1).unwrap_or_default().to_owned())?;
        let map = find(shell, &map.id.0.to_string())?;
        if out.is_json() {
            return out.object(&to_json(&map));
        }
        out.line(format!("pinned map {} as {}", map.id.0, map.pinned.as_deref().unwrap_or("nothing")))
    }
}

pub(super) struct Unpin;

impl Command for Unpin {
    fn name(&self) -> &'static str {
        "map unpin"
    }

    fn summary(&self) -> &'static str {
        "Undo a pin; a map that no program uses goes"
    }

    fn usage(&self) -> &'static str {
        "map unpin MAP"
    }

    fn example(&self) -> &'static str {
        "> map unpin counts\nunpinned counts; no program used it, so it is gone"
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
        shell.client.map_unpin(map.id)?;
        let gone = !shell.client.maps()?.iter().any(|other| other.id == map.id);
        if out.is_json() {
            let mut value = to_json(&map);
            value["pinned"] = serde_json::Value::Null;
            value["gone"] = gone.into();
            return out.object(&value);
        }
        let end = if gone { "; no program used it, so it is gone" } else { "" };
        out.line(format!("unpinned {}{end}", map.name))
    }
}
