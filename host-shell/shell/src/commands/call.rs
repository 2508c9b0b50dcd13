//! `call`

use serde_json::json;
use uio_protocol::fault::Outcome;
use uio_protocol::limits::CALL_ARGUMENTS_MAX;

use super::runner::{BUDGET, budget, watch};
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::render::units::signed_number;

pub(super) struct Call;

impl Command for Call {
    fn name(&self) -> &'static str {
        "call"
    }

    fn summary(&self) -> &'static str {
        "Call a function of the guest or of an extension"
    }

    fn usage(&self) -> &'static str {
        "call [--budget MS] FUNCTION [ARGS...]"
    }

    fn details(&self) -> &'static str {
        "Up to six arguments: integers, or symbols for their addresses. A function of an extension runs in that\n\
         extension's domain; one of the guest runs unrestricted, on a thread of its own."
    }

    fn example(&self) -> &'static str {
        "> call set_count 1000\nreturned 0 (0x0)"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1 + CALL_ARGUMENTS_MAX)
    }

    fn flags(&self) -> &'static [Flag] {
        &[BUDGET]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Symbol]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let budget = budget(self.name(), arguments)?;
        let function = shell.address(arguments.at(0))?;
        let values = arguments.all()[1..]
            .iter()
            .map(|word| match signed_number(word) {
                Some(value) => Ok(value),
                None => shell.address(word).map(|address| address.0),
            })
            .collect::<Result<Vec<u64>, CommandError>>()?;
        let run = shell.client.call(function, values, budget)?;
        let end = watch(shell, run, None, out)?;
        let Outcome::Returned(value) = end.outcome else { return Ok(()) };
        if out.is_json() {
            let (run, cpu_time_ns) = (run.0, end.cpu_time_ns);
            return out.object(&json!({ "run": run, "returned": value, "cpu_time_ns": cpu_time_ns }));
        }
        out.line(format!("returned {value} ({value:#x})"))
    }
}
