//! Where calls through gates arrive: on the run's kernel stack, with all of memory open.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use uio_protocol::GuestAddress;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::ExtensionId;
use uio_protocol::limits::GATE_DEPTH_MAX;
use uio_protocol::rpc::RunId;

use super::{Export, GateCall, GateError};
use crate::enter::enter;
use crate::shared::{DomainFrame, Shared, Stack, State};
use crate::stacks;

/// What a gate index stands for.
#[derive(Clone, Copy)]
enum Gate {
    Export(&'static Export),
    Function(ExtensionId, GuestAddress),
}

/// Serves the gate `index` for the calling thread's run. Returns what goes into the caller's `rax`.
///
/// Does not return if the call ends the run; then nothing of what was taken here is left behind.
pub(crate) fn dispatch(index: u32, arguments: [u64; 6]) -> u64 {
    // Without an overlay no extension exists that could have called.
    let Some(shared) = Shared::current() else { return 0 };
    let error = match serve(shared, index, arguments) {
        Ok(value) => return value,
        Err(error) => error,
    };
    let cause = match error {
        GateError::End(cause) => *cause,
        GateError::Interrupted => Cause::Interrupted,
    };
    shared.platform.end_current(cause)
}

fn serve(shared: &'static Shared, index: u32, arguments: [u64; 6]) -> Result<u64, GateError> {
    let thread = shared.platform.current();
    let gate = find(shared, index)?;
    let (run, caller) = shared
        .with(|state| {
            let run = state.run_of_thread(thread)?;
            let frame = run.frames.last_mut()?;
            frame.gate = Some(index);
            Some((run.id, frame.extension))
        })
        .ok_or_else(|| end(Cause::Gate { argument: None, reason: "called outside of a run".to_string() }))?;
    let value = match gate {
        Gate::Export(export) => {
            let call = GateCall { shared, run, thread, caller, arguments };
            for pointer in export.pointers {
                pointer.check(&call)?;
            }
            (export.function)(&call)?
        }
        Gate::Function(extension, function) => call_extension(shared, run, extension, function, arguments)?,
    };
    shared.with(|state| {
        if let Some(frame) = state.run_mut(run).and_then(|run| run.frames.last_mut()) {
            frame.gate = None;
        }
    });
    Ok(value)
}

fn find(shared: &Shared, index: u32) -> Result<Gate, GateError> {
    let position = index as usize;
    if let Some(&export) = shared.exports.get(position) {
        return Ok(Gate::Export(export));
    }
    let link = shared.with(|state| {
        let link = state.links.get(position - shared.exports.len())?.as_ref()?;
        Some(Gate::Function(link.extension, link.function))
    });
    link.ok_or_else(|| end(Cause::Gate { argument: None, reason: format!("there is no gate {index}") }))
}

/// Calls a function of another extension in that extension's domain, on a stack of its own.
fn call_extension(
    shared: &'static Shared,
    run: RunId,
    extension: ExtensionId,
    function: GuestAddress,
    arguments: [u64; 6],
) -> Result<u64, GateError> {
    let depth = shared.with(|state| state.run_mut(run).map_or(0, |run| run.frames.len()));
    if depth >= GATE_DEPTH_MAX {
        return Err(end(Cause::GateDepth));
    }
    let stack = stacks::take(shared, extension).map_err(|_| {
        end(Cause::Gate {
            argument: None,
            reason: "no memory for a stack in the called extension".to_string(),
        })
    })?;
    let target = shared.with(|state| push_frame(state, run, extension, stack));
    let Some((isolation, pkru)) = target else {
        stacks::release(shared, Some(extension), stack);
        return Err(end(Cause::Gate { argument: None, reason: "the called extension is gone".to_string() }));
    };
    let call = stacks::domain_call(function, arguments, stack, pkru);
    let value = enter(shared.platform, isolation, &call);
    shared.with(|state| {
        if let Some(run) = state.run_mut(run) {
            run.frames.pop();
        }
    });
    stacks::release(shared, Some(extension), stack);
    Ok(value)
}

fn push_frame(
    state: &mut State,
    run: RunId,
    extension: ExtensionId,
    stack: Stack,
) -> Option<(uio_protocol::inspect::Isolation, u32)> {
    let domain = state.domains.get(&extension)?;
    let entered = (domain.isolation, stacks::pkru(domain));
    let run = state.run_mut(run)?;
    run.frames.push(DomainFrame { extension: Some(extension), stack, gate: None });
    Some(entered)
}

fn end(cause: Cause) -> GateError {
    GateError::End(Box::new(cause))
}
