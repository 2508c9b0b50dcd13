//! `help`

use serde_json::json;

use super::{ALL, Arguments, Command, CommandError, Completion, Output, Shell, all, find};

pub(super) struct Help;

impl Command for Help {
    fn name(&self) -> &'static str {
        "help"
    }

    fn summary(&self) -> &'static str {
        "List the commands, or explain one with an example"
    }

    fn usage(&self) -> &'static str {
        "help [COMMAND [SUBCOMMAND]]"
    }

    fn example(&self) -> &'static str {
        "> help kill\nkill - End every run of an extension\n\nusage: kill EXTENSION\n…"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 2)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Command, Completion::Nothing]
    }

    fn run(&self, _: &mut Shell, arguments: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        if arguments.get(0).is_some() {
            return show(find(&arguments.all().join(" "))?, out);
        }
        if out.is_json() {
            for command in all() {
                out.object(&describe(command))?;
            }
            return Ok(());
        }
        let width = all().map(|command| command.name().len()).max().unwrap_or(0);
        for (title, commands) in ALL {
            out.line(out.style().bold(title))?;
            for command in *commands {
                out.line(format!("  {:<width$}  {}", command.name(), command.summary()))?;
            }
        }
        out.line("")?;
        out.line(
            "`help COMMAND` explains one. All take `--json`. TAB completes, Ctrl-C interrupts the command,",
        )?;
        out.line("Ctrl-D leaves. `| PROGRAM` and `> FILE` work with the host's programs and files.")
    }
}

/// Explains one command.
pub(super) fn show(command: &dyn Command, out: &mut Output<'_>) -> Result<(), CommandError> {
    if out.is_json() {
        return out.object(&describe(command));
    }
    let style = out.style();
    out.line(format!("{} - {}", style.bold(command.name()), command.summary()))?;
    out.line("")?;
    out.line(format!("usage: {}", command.usage()))?;
    if !command.details().is_empty() {
        out.line("")?;
        out.line(command.details())?;
    }
    if !command.subcommands().is_empty() {
        out.line("")?;
        let width = command.subcommands().iter().map(|sub| sub.name().len()).max().unwrap_or(0);
        for sub in command.subcommands() {
            out.line(format!("  {:<width$}  {}", sub.name(), sub.summary()))?;
        }
    }
    out.line("")?;
    for line in command.example().lines() {
        out.line(if line.starts_with("> ") { style.good(line) } else { line.to_owned() })?;
    }
    Ok(())
}

fn describe(command: &dyn Command) -> serde_json::Value {
    json!({
        "command": command.name(),
        "summary": command.summary(),
        "usage": command.usage(),
        "details": command.details(),
        "example": command.example(),
        "subcommands": command.subcommands().iter().map(|sub| describe(*sub)).collect::<Vec<_>>(),
    })
}
