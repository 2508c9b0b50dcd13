//! `map update`

use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::find;
use super::values::{Types, has_keys};

const NEW: Flag = Flag { name: "--new", takes_value: false };
const EXISTING: Flag = Flag { name: "--existing", takes_value: false };

/// Linux's numbers.
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

pub(super) struct Update;

impl Command for Update {
    fn name(&self) -> &'static str {
        "map update"
    }

    fn summary(&self) -> &'static str {
        "Set the value of a key, or add to a queue or stack"
    }

    fn usage(&self) -> &'static str {
        "map update MAP [KEY] VALUE [--new|--existing]"
    }

    fn details(&self) -> &'static str {
        "KEY and VALUE as their types are written; quote what has blanks: '{ packets = 1, bytes = 64 }'. The value of\n\
         a map of programs or of maps is a number from `prog list` or `map list`. With --new the key must not\n\
         be there yet, with --existing it must."
    }

    fn example(&self) -> &'static str {
        "> map update counts 80 0\ncounts[80] = 0"
    }

    fn arity(&self) -> (usize, usize) {
        (2, 3)
    }

    fn flags(&self) -> &'static [Flag] {
        &[NEW, EXISTING]
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
        let usage = |message: &str| CommandError::Usage { command: self.name(), message: message.into() };
        let (key, value) = match (has_keys(map.kind), arguments.get(2)) {
            (true, Some(value)) => (arguments.at(1), value),
            (true, None) => return Err(usage("the value is missing")),
            (false, None) => ("", arguments.at(1)),
            (false, Some(_)) => return Err(usage("values of a queue or stack have no key")),
        };
        let flags = match (arguments.has(NEW.name), arguments.has(EXISTING.name)) {
            (false, false) => BPF_ANY,
            (true, false) => BPF_NOEXIST,
            (false, true) => BPF_EXIST,
            (true, true) => return Err(usage("`--new` and `--existing` exclude each other")),
        };
        let key = types.parse_key(self.name(), key)?;
        let value = types.parse_value(self.name(), value)?;
        shell.client.map_update(map.id, key.clone(), value.clone(), flags)?;
        if out.is_json() {
            return out.object(&types.json(&key, &value));
        }
        let place = if has_keys(map.kind) { format!("[{}]", types.key_text(&key)) } else { String::new() };
        let sign = if has_keys(map.kind) { "=" } else { "<-" };
        out.line(format!("{}{place} {sign} {}", map.name, types.value_text(&value)))
    }
}
