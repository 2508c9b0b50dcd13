//! `kill`

use serde_json::json;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};

pub(super) struct Kill;

impl Command for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn summary(&self) -> &'static str {
        "End every run of an extension"
    }

    fn usage(&self) -> &'static str {
        "kill EXTENSION"
    }

    fn details(&self) -> &'static str {
        "EXTENSION is its number or name. It stays loaded; `unload` removes it. The shells that started its\n\
         runs get a report of where each one was."
    }

    fn example(&self) -> &'static str {
        "> kill loop\nended 1 run of loop"
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
        shell.client.kill(extension.id)?;
        if out.is_json() {
            let (id, name, runs) = (extension.id.0, extension.name, extension.runs);
            return out.object(&json!({ "id": id, "name": name, "ended_runs": runs }));
        }
        let plural = if extension.runs == 1 { "" } else { "s" };
        out.line(format!("ended {} run{plural} of {}", extension.runs, extension.name))
    }
}
