//! `call`

use serde_json::json;
use uio_debuginfo::{PrintLimits, Signature, TypeRef};
use uio_protocol::GuestAddress;
use uio_protocol::fault::Outcome;
use uio_protocol::limits::CALL_ARGUMENTS_MAX;

use super::runner::{BUDGET, budget, watch};
use super::symbols::GuestMemory;
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::render::units::number;

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
        "Arguments are expressions, checked against the function's parameters: integers, booleans, characters,\n\
         pointers (`&x`), six at most. A function of an extension runs in that extension's domain; one of the\n\
         guest runs unrestricted, on a thread of its own."
    }

    fn example(&self) -> &'static str {
        "> call set_count 1000\nreturned 12345"
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
        let space = shell.space()?;
        let mut memory = GuestMemory(&shell.client);
        let signature = match number(arguments.at(0)) {
            // Of code that nothing describes, as of a C function of unknown parameters.
            Some(address) => space.signature_at(address).unwrap_or_else(|_| unknown(address)),
            None => space.function(arguments.at(0))?,
        };
        let words: Vec<&str> = arguments.all()[1..].iter().map(String::as_str).collect();
        let call = space.prepare_call(&signature, &words, &mut memory)?;
        let run = shell.client.call(GuestAddress(signature.address), call.registers, budget)?;
        let end = watch(shell, run, None, out)?;
        let Outcome::Returned(value) = end.outcome else { return Ok(()) };
        let mut memory = GuestMemory(&shell.client);
        let result =
            space.format_result(&signature, value.cast_unsigned(), &mut memory, PrintLimits::default());
        if out.is_json() {
            return out.object(&json!({
                "run": run.0,
                "function": space.describe_signature(&signature),
                "returned": result.to_json(),
                "cpu_time_ns": end.cpu_time_ns,
            }));
        }
        if signature.result == TypeRef::Void {
            return Ok(());
        }
        out.line(format!("returned {}", result.datum.to_text()))
    }
}

fn unknown(address: u64) -> Signature {
    Signature {
        name: format!("{address:#x}"),
        address,
        parameters: Vec::new(),
        result: TypeRef::Int { signed: false, bytes: 8 },
        variadic: true,
        diverges: false,
    }
}
