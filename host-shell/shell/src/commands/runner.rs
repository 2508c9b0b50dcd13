//! A run from start to end: its output, Ctrl-C, its value or its fault.

use std::time::Duration;

use serde_json::json;
use uio_protocol::fault::{FaultReport, Outcome};
use uio_protocol::limits::{BUDGET_DEFAULT_MS, BUDGET_MAX_MS};
use uio_protocol::programs::TestRun;
use uio_protocol::rpc::RunId;

use super::{Arguments, CommandError, Flag, Output, Shell};
use crate::client::{RunEnd, RunEvent};
use crate::render::fault::Fault;
use crate::render::units::number;

/// The flag that sets the CPU time.
pub(super) const BUDGET: Flag = Flag { name: "--budget", takes_value: true };

/// How often a run is looked at for Ctrl-C. Its output wakes us at once.
const POLL: Duration = Duration::from_millis(50);

/// The CPU time that was asked for, in milliseconds.
pub(super) fn budget(command: &'static str, arguments: &Arguments) -> Result<u32, CommandError> {
    let Some(text) = arguments.value(BUDGET.name) else { return Ok(BUDGET_DEFAULT_MS) };
    number(text)
        .and_then(|budget| u32::try_from(budget).ok())
        .filter(|budget| *budget <= BUDGET_MAX_MS)
        .ok_or_else(|| CommandError::Usage {
            command,
            message: format!("the budget is 0 (no limit) to {BUDGET_MAX_MS} ms, not `{text}`"),
        })
}

/// Passes the run's output on until it ends. Ctrl-C interrupts the run; a second one stops waiting.
pub(super) fn watch(
    shell: &mut Shell,
    run: RunId,
    name: Option<&str>,
    out: &mut Output<'_>,
) -> Result<RunEnd, CommandError> {
    watch_any(shell, run, Who::Extension(name), out).map(|(end, _)| end)
}

/// As [`watch`], for a run of the eBPF program `name`. What came of it.
pub(super) fn watch_program(
    shell: &mut Shell,
    run: RunId,
    name: &str,
    out: &mut Output<'_>,
) -> Result<TestRun, CommandError> {
    let (_, test) = watch_any(shell, run, Who::Program(name), out)?;
    test.ok_or_else(|| CommandError::message(format!("the guest did not say what came of `{name}`")))
}

/// Who runs.
#[derive(Clone, Copy)]
enum Who<'a> {
    Extension(Option<&'a str>),
    Program(&'a str),
}

fn watch_any(
    shell: &mut Shell,
    run: RunId,
    who: Who<'_>,
    out: &mut Output<'_>,
) -> Result<(RunEnd, Option<TestRun>), CommandError> {
    let mut interrupted = false;
    let mut tested = None;
    let mut line_open = false;
    let end = {
        let mut events = shell.client.run_events(run);
        loop {
            match events.next(POLL)? {
                Some(RunEvent::Output(bytes)) => {
                    line_open = bytes.last().is_some_and(|&byte| byte != b'\n');
                    let shown = if out.is_json() {
                        out.object(&json!({ "run": run.0, "output": String::from_utf8_lossy(&bytes) }))
                    } else {
                        out.bytes(&bytes)
                    };
                    if let Err(error) = shown.and_then(|()| out.flush()) {
                        // Nobody reads any more, as after `| head`; the run has no reason to go on.
                        let _ = shell.client.interrupt(run);
                        return Err(error);
                    }
                }
                Some(RunEvent::Tested(test)) => tested = Some(test),
                Some(RunEvent::Ended(end)) => break end,
                None => {}
            }
            if shell.interrupts.take() {
                if interrupted {
                    return Err(CommandError::with_hint(
                        format!("run {} does not end", run.0),
                        "`kill` it by its extension, or let the budget end it",
                    ));
                }
                interrupted = true;
                if shell.interactive {
                    // The terminal has shown `^C`.
                    out.line("")?;
                }
                shell.client.interrupt(run)?;
            }
        }
    };
    if line_open && !out.is_json() {
        out.line("")?;
    }
    if end.dropped_bytes > 0 && !out.is_json() {
        let note = format!("({} bytes of its output were lost)", end.dropped_bytes);
        out.line(out.style().warning(&note))?;
    }
    if let Outcome::Ended(report) = &end.outcome {
        fault(shell, report, who, &end, out)?;
        return Err(CommandError::Shown);
    }
    Ok((end, tested))
}

fn fault(
    shell: &mut Shell,
    report: &FaultReport,
    who: Who<'_>,
    end: &RunEnd,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    let space = shell.space().ok();
    let fault = match who {
        Who::Program(name) => Fault::of_program(report, name, space.as_ref()),
        Who::Extension(name) => {
            // A run may die in another extension than it started in.
            let inner = report.extension.and_then(|id| {
                let loaded = shell.client.extensions().unwrap_or_default();
                loaded.into_iter().find(|one| one.id == id).map(|one| one.name)
            });
            Fault::new(report, inner.or(name.map(str::to_owned)), space.as_ref())
        }
    };
    if out.is_json() {
        let mut value = fault.to_json();
        value["cpu_time_ns"] = json!(end.cpu_time_ns);
        value["dropped_bytes"] = json!(end.dropped_bytes);
        return out.object(&value);
    }
    for line in fault.render(out.style()) {
        out.line(line)?;
    }
    Ok(())
}
