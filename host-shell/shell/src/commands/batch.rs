//! `batch`

use std::path::PathBuf;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::repl::line::execute_into;

/// Batch files within batch files: enough for any sane use, and one that runs itself stops here.
const DEPTH_MAX: usize = 8;

pub(super) struct Batch;

impl Command for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn summary(&self) -> &'static str {
        "Run the commands of a host file, until one fails"
    }

    fn usage(&self) -> &'static str {
        "batch FILE"
    }

    fn details(&self) -> &'static str {
        "One command a line; empty lines and lines that start with `#` are skipped."
    }

    fn example(&self) -> &'static str {
        "> batch tour.uio\n> set count 0\ncount: 12345 -> 0\n> print count\n17"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::HostPath, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let path = PathBuf::from(arguments.at(0));
        let text = std::fs::read_to_string(&path)
            .map_err(|source| CommandError::HostFile { path: path.clone(), source })?;
        if shell.batch_depth >= DEPTH_MAX {
            return Err(CommandError::message(format!("{DEPTH_MAX} batch files call each other")));
        }
        shell.batch_depth += 1;
        let result = run_lines(shell, &path, &text, out);
        shell.batch_depth -= 1;
        result
    }
}

fn run_lines(
    shell: &mut Shell,
    path: &std::path::Path,
    text: &str,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        shell.interrupts.check()?;
        if !out.is_json() {
            out.line(out.style().good(&format!("> {line}")))?;
        }
        if execute_into(shell, line, out).is_err() {
            return Err(CommandError::message(format!("{}:{}: stopped", path.display(), index + 1)));
        }
    }
    Ok(())
}
