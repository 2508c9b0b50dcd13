//! `map lookup`

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::find;
use super::values::{Types, has_keys};

pub(super) struct Lookup;

impl Command for Lookup {
    fn name(&self) -> &'static str {
        "map lookup"
    }

    fn summary(&self) -> &'static str {
        "The value of a key"
    }

    fn usage(&self) -> &'static str {
        "map lookup MAP [KEY]"
    }

    fn details(&self) -> &'static str {
        "KEY as its type is written: a number, `{ field = 1 }`, 10.0.0.1, or `hex` and bytes. Without a key the next\n\
         value of a queue or stack, which stays there. Exit code 1 if there is no such entry."
    }

    fn example(&self) -> &'static str {
        "> map lookup counts 80\n12"
    }

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
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
        let types = Types::of(shell, &map)?;
        let text = arguments.all()[1..].join(" ");
        if text.is_empty() && has_keys(map.kind) {
            return Err(CommandError::Usage { command: self.name(), message: "the key is missing".into() });
        }
        let key = types.parse_key(self.name(), &text)?;
        let value = shell.client.map_lookup(map.id, &key, map.value_bytes as usize)?;
        if out.is_json() { out.object(&types.json(&key, &value)) } else { out.line(types.value_text(&value)) }
    }
}
