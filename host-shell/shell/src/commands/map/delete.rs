//! `map delete`

use serde_json::json;

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::find;
use super::values::Types;
use crate::render::units::hex;

pub(super) struct Delete;

impl Command for Delete {
    fn name(&self) -> &'static str {
        "map delete"
    }

    fn summary(&self) -> &'static str {
        "Remove a key"
    }

    fn usage(&self) -> &'static str {
        "map delete MAP KEY"
    }

    fn details(&self) -> &'static str {
        "KEY as its type is written. Arrays keep all of their keys: set their values to 0 instead."
    }

    fn example(&self) -> &'static str {
        "> map delete counts 80\ndeleted counts[80]"
    }

    fn arity(&self) -> (usize, usize) {
        (2, usize::MAX)
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
        let key = types.parse_key(self.name(), &arguments.all()[1..].join(" "))?;
        shell.client.map_delete(map.id, key.clone())?;
        if out.is_json() {
            return out.object(&json!({
                "map": map.id.0, "key": types.key_text(&key), "key_hex": hex(&key)
            }));
        }
        out.line(format!("deleted {}[{}]", map.name, types.key_text(&key)))
    }
}
