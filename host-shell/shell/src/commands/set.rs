//! `set`

use serde_json::json;
use uio_debuginfo::PrintLimits;
use uio_protocol::GuestAddress;

use super::symbols::GuestMemory;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::units::hex;

pub(super) struct Set;

impl Command for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn summary(&self) -> &'static str {
        "Change a variable, checked against its type"
    }

    fn usage(&self) -> &'static str {
        "set VARIABLE VALUE"
    }

    fn details(&self) -> &'static str {
        "VARIABLE is whatever `print` can show and that is in memory: `count`, `table[3].limit`, `*p`. VALUE is\n\
         an expression, an enumerator or true/false. Structs are changed field by field. The guest is not\n\
         stopped: it may read the variable while it is written, if it is wider than 8 bytes."
    }

    fn example(&self) -> &'static str {
        "> set count 0\ncount: 12345 -> 0"
    }

    fn arity(&self) -> (usize, usize) {
        (2, usize::MAX)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Expression]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let target = arguments.at(0);
        // `set x = 5` is what fingers write.
        let rest = &arguments.all()[1..];
        let rest = if rest.len() > 1 && rest[0] == "=" { &rest[1..] } else { rest };
        let value = rest.join(" ");
        let space = shell.space()?;
        let mut memory = GuestMemory(&shell.client);
        let before = space.print(target, &mut memory, None, PrintLimits::default())?;
        let assignment = space.assign(target, &value, &mut memory, None)?;
        shell.client.poke(GuestAddress(assignment.address), &assignment.bytes)?;
        if out.is_json() {
            return out.object(&json!({
                "variable": target,
                "type": assignment.type_name,
                "address": format!("{:#x}", assignment.address),
                "before": before.datum.to_json(),
                "bytes": hex(&assignment.bytes),
            }));
        }
        // What was written, in the variable's own type; a busy variable has moved on already.
        out.line(format!("{target}: {} -> {value}", before.datum.to_text()))
    }
}
