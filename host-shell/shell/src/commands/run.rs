//! `run`

use std::path::Path;

use serde_json::json;
use uio_protocol::fault::Outcome;
use uio_protocol::inspect::{ExtensionInfo, Isolation};

use super::ext::isolation_name;
use super::load::{ISOLATION, isolation, load, show_output};
use super::runner::{BUDGET, budget, watch};
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell, compile};

pub(super) struct Run;

impl Command for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn summary(&self) -> &'static str {
        "Run an extension's main: compile, load and start in one step"
    }

    fn usage(&self) -> &'static str {
        "run [--budget MS] [--isolation mpk|ring3|none] FILE|EXTENSION [ARGS...]"
    }

    fn details(&self) -> &'static str {
        "FILE is a host file: a C (.c) or Rust (.rs) source, or an object (.o). It is loaded unless the same is\n\
         loaded already, and stays loaded. The budget is CPU time; 1000 ms unless given, 0 for no limit.\n\
         Flags stand before FILE; all that follows it is for the extension.\n\
         Ctrl-C ends the run, with a report of where it was. What it does wrong ends it, not the guest.\n\
         A value other than 0 is shown; whether it means failure is the extension's business."
    }

    fn example(&self) -> &'static str {
        "> run extensions/native/hello/hello.c\nhello from thread 5, 12410 ms after boot"
    }

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn flags(&self) -> &'static [Flag] {
        &[BUDGET, ISOLATION]
    }

    fn passes_rest(&self) -> bool {
        true
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::ExtensionOrFile, Completion::HostPath]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let budget = budget(self.name(), arguments)?;
        let extension = ready(shell, arguments, out)?;
        let argv: Vec<String> =
            std::iter::once(extension.name.clone()).chain(arguments.all()[1..].iter().cloned()).collect();
        let run = shell.client.run(extension.id, argv, budget)?;
        let end = watch(shell, run, Some(&extension.name), out)?;
        let Outcome::Returned(value) = end.outcome else { return Ok(()) };
        if out.is_json() {
            return out.object(&json!({
                "run": run.0,
                "extension": extension.name,
                "returned": value,
                "cpu_time_ns": end.cpu_time_ns,
                "dropped_bytes": end.dropped_bytes,
            }));
        }
        if value == 0 { Ok(()) } else { out.line(format!("returned {value}")) }
    }
}

/// The extension that the first argument means, loaded if it is not.
fn ready(
    shell: &mut Shell,
    arguments: &Arguments,
    out: &mut Output<'_>,
) -> Result<ExtensionInfo, CommandError> {
    let word = arguments.at(0);
    let isolation = isolation("run", arguments)?;
    let as_wanted =
        |loaded: &ExtensionInfo| arguments.value(ISOLATION.name).is_none() || loaded.isolation == isolation;
    let path = Path::new(word);
    if !path.is_file() {
        let loaded = shell.extension(word).map_err(|error| match error {
            CommandError::Other { message, hint } if word.contains(['/', '.']) => CommandError::Other {
                message: format!("no such file: {word} ({message})"),
                hint: hint.filter(|hint| hint.starts_with("did you mean")),
            },
            other => other,
        })?;
        return if as_wanted(&loaded) { Ok(loaded) } else { Err(other_isolation(&loaded, isolation)) };
    }
    let object = compile::object(path)?;
    let loaded = shell.client.extensions()?.into_iter().find(|one| one.name == object.name);
    if let Some(loaded) = loaded {
        let same = shell.known_object(loaded.id).is_some_and(|known| known == object.bytes);
        if same && as_wanted(&loaded) {
            return Ok(loaded);
        }
        // Another version under the same name: the newer one is meant.
        let unloaded = shell.client.unload(loaded.id);
        show_output(shell, out)?;
        unloaded?;
        if !out.is_json() {
            let why = if same { isolation_name(loaded.isolation) } else { "another version" };
            let note = format!("(unloaded extension {}, which was {why})", loaded.id.0);
            out.line(out.style().dim(&note))?;
        }
    }
    load(shell, &object, isolation, out)
}

/// An extension keeps the isolation that it was loaded with.
fn other_isolation(loaded: &ExtensionInfo, wanted: Isolation) -> CommandError {
    let (has, wanted) = (isolation_name(loaded.isolation), isolation_name(wanted));
    CommandError::with_hint(
        format!("`{}` was loaded with `--isolation {has}`, not {wanted}", loaded.name),
        format!("`run --isolation {wanted} FILE`, with the file it comes from, loads it anew"),
    )
}
