//! `unload`

use serde_json::json;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::units::size;

pub(super) struct Unload;

impl Command for Unload {
    fn name(&self) -> &'static str {
        "unload"
    }

    fn summary(&self) -> &'static str {
        "Remove an extension and give its memory back"
    }

    fn usage(&self) -> &'static str {
        "unload EXTENSION"
    }

    fn details(&self) -> &'static str {
        "EXTENSION is its number or name. Its `exit` function and destructors run first. Refused while it\n\
         runs, or while other extensions link to it."
    }

    fn example(&self) -> &'static str {
        "> unload hello\nunloaded hello; 28 KiB returned"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Extension, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let extension = shell.extension(arguments.at(0))?;
        let unloaded = shell.client.unload(extension.id);
        super::load::show_output(shell, out)?;
        unloaded?;
        if out.is_json() {
            let (id, name, bytes) = (extension.id.0, extension.name, extension.memory_bytes);
            return out.object(&json!({ "id": id, "name": name, "returned_bytes": bytes }));
        }
        out.line(format!("unloaded {}; {} returned", extension.name, size(extension.memory_bytes)))
    }
}
