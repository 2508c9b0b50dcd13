//! `prog unload`

use serde_json::json;

use super::super::{Arguments, Command, CommandError, Completion, Output, Shell};
use super::find;
use crate::render::units::size;

pub(super) struct Unload;

impl Command for Unload {
    fn name(&self) -> &'static str {
        "prog unload"
    }

    fn summary(&self) -> &'static str {
        "Remove a program and the maps that only it uses"
    }

    fn usage(&self) -> &'static str {
        "prog unload PROGRAM"
    }

    fn details(&self) -> &'static str {
        "Refused while it runs, or while a map holds it for tail calls. Pinned maps stay, with their values."
    }

    fn example(&self) -> &'static str {
        "> prog unload pass\nunloaded pass; 4 KiB returned"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Program, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let program = find(shell, arguments.at(0))?;
        let before = shell.client.maps()?;
        shell.client.unload_program(program.id)?;
        let after = shell.client.maps()?;
        let gone: Vec<_> =
            before.iter().filter(|map| !after.iter().any(|other| other.id == map.id)).collect();
        let bytes = program.memory_bytes + gone.iter().map(|map| map.memory_bytes).sum::<u64>();
        if out.is_json() {
            let maps: Vec<u32> = gone.iter().map(|map| map.id.0).collect();
            return out.object(&json!({
                "id": program.id.0,
                "name": program.name,
                "returned_bytes": bytes,
                "maps_gone": maps,
            }));
        }
        let names: Vec<&str> = gone.iter().map(|map| map.name.as_str()).collect();
        let maps = if names.is_empty() { String::new() } else { format!(" with maps {}", names.join(", ")) };
        out.line(format!("unloaded {}{maps}; {} returned", program.name, size(bytes)))
    }
}
