//! Runs: from the request to the thread, and from its end to the event.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::RpcError;
use uio_protocol::fault::{Cause, Outcome};
use uio_protocol::inspect::{Access, ExtensionId, Isolation};
use uio_protocol::limits::{
    ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, BUDGET_MAX_MS, RUNS_MAX, STACK_SNAPSHOT_BYTES_MAX,
};
use uio_protocol::rpc::RunId;

use crate::bpf::test::Test;
use crate::enter::enter;
use crate::platform::{EndedThread, KEY_EXCHANGE, OutOfMemory, PAGE_BYTES};
use crate::shared::{DomainFrame, Output, PlannedCall, Purpose, ResultKind, Run, Shared};
use crate::stacks;
use crate::upload::limit;

/// Pages for the arguments of a run: the strings and one pointer for each and the last, null.
const ARGUMENT_PAGES: u32 =
    (ARGUMENT_BYTES_MAX + (ARGUMENTS_MAX + 1) * size_of::<u64>()).div_ceil(PAGE_BYTES as usize) as u32;

/// What to run, and for whom.
pub(crate) struct Plan<'a> {
    pub(crate) session: u32,
    pub(crate) purpose: Purpose,
    /// Whose domain it runs in; `None` for the guest's own code.
    pub(crate) extension: Option<ExtensionId>,
    pub(crate) name: &'a str,
    pub(crate) calls: Vec<PlannedCall>,
    /// `argv`, if the first call is `main`.
    pub(crate) arguments: Option<&'a [String]>,
    /// The eBPF program that the call runs, with its data.
    pub(crate) test: Option<Box<Test>>,
    pub(crate) budget_ms: u32,
}

/// Starts a run. If it fails, nothing is left of it.
pub(crate) fn start(shared: &'static Shared, id: RunId, plan: Plan<'_>) -> Result<(), RpcError> {
    limit("milliseconds of CPU time", BUDGET_MAX_MS as usize, plan.budget_ms as usize)?;
    // Runs that have ended count until their session was told: each holds its output and report.
    limit("runs", RUNS_MAX, shared.with(|state| state.runs.len()) + 1)?;
    let exchange = match plan.arguments {
        Some(arguments) => Some(place_arguments(shared, id, plan.extension, arguments)?),
        None => None,
    };
    let unmap = || {
        if let Some((start, _)) = exchange {
            shared.platform.unmap(start, ARGUMENT_PAGES);
        }
    };
    let taken = match plan.extension {
        Some(extension) => stacks::take(shared, extension),
        None => stacks::take_trusted(shared),
    };
    let stack = taken.map_err(out_of_memory).inspect_err(|_| unmap())?;
    let mut calls: VecDeque<PlannedCall> = plan.calls.into();
    if let (Some(call), Some((start, count))) = (calls.front_mut(), exchange) {
        call.arguments[0] = count;
        call.arguments[1] = start.0;
    }
    let run = Run {
        id,
        session: Some(plan.session),
        purpose: plan.purpose,
        thread: None,
        calls,
        frames: alloc::vec![DomainFrame { extension: plan.extension, stack, gate: None }],
        output: Output::default(),
        exchange: exchange.map(|(start, _)| (start, ARGUMENT_PAGES)),
        test: plan.test,
        tested: None,
        ended: None,
    };
    if let Some(test) = &run.test {
        test.program.counters.begin();
    }
    shared.with(|state| state.runs.push(run));
    match shared.platform.spawn(plan.name, job, u64::from(id.0), plan.budget_ms, plan.extension) {
        Ok(thread) => {
            shared.with(|state| {
                if let Some(run) = state.run_mut(id) {
                    run.thread = Some(thread);
                }
            });
            Ok(())
        }
        Err(error) => {
            let test = shared.with(|state| {
                let test = state.run_mut(id).and_then(|run| run.test.take());
                state.runs.retain(|run| run.id != id);
                test
            });
            if let Some(test) = test {
                test.program.counters.end(0, 0, false);
            }
            stacks::release(shared, plan.extension, stack);
            unmap();
            Err(out_of_memory(error))
        }
    }
}

pub(crate) fn out_of_memory(error: OutOfMemory) -> RpcError {
    RpcError::OutOfMemory { bytes: error.bytes }
}

/// Puts `argv` and its strings into exchange pages. Returns where and how many strings.
fn place_arguments(
    shared: &Shared,
    id: RunId,
    extension: Option<ExtensionId>,
    arguments: &[String],
) -> Result<(GuestAddress, u64), RpcError> {
    limit("arguments", ARGUMENTS_MAX, arguments.len())?;
    let bytes = arguments.iter().map(|argument| argument.len() + 1).sum();
    limit("bytes of arguments", ARGUMENT_BYTES_MAX, bytes)?;
    let ring3 = shared.with(|state| {
        let domain = extension.and_then(|extension| state.domains.get(&extension));
        domain.is_some_and(|domain| domain.isolation == Isolation::Ring3)
    });
    let platform = shared.platform;
    let start =
        platform.map(ARGUMENT_PAGES, &format!("arguments of run {}", id.0), false).map_err(out_of_memory)?;
    let image = argument_image(start, arguments);
    let access = Access { write: true, execute: false };
    let placed = platform
        .fill(start, &image)
        .and_then(|()| platform.protect(start, ARGUMENT_PAGES, access, KEY_EXCHANGE, ring3));
    if let Err(address) = placed {
        platform.unmap(start, ARGUMENT_PAGES);
        return Err(RpcError::BadAddress { address, write: true });
    }
    Ok((start, arguments.len() as u64))
}

/// The bytes of an `argv` at `start`: pointers, a null pointer, then the strings with their NULs.
fn argument_image(start: GuestAddress, arguments: &[String]) -> Vec<u8> {
    let mut pointers = Vec::new();
    let mut strings = Vec::new();
    let strings_start = start.0 + (arguments.len() as u64 + 1) * size_of::<u64>() as u64;
    for argument in arguments {
        pointers.extend_from_slice(&(strings_start + strings.len() as u64).to_le_bytes());
        strings.extend_from_slice(argument.as_bytes());
        strings.push(0);
    }
    pointers.extend_from_slice(&0_u64.to_le_bytes());
    pointers.append(&mut strings);
    pointers
}

/// What the supervised thread of a run does: its planned calls, in order. Owns nothing.
fn job(run: u64) -> i64 {
    let (Some(shared), Ok(id)) = (Shared::current(), u32::try_from(run)) else { return 0 };
    let id = RunId(id);
    let mut value = 0;
    loop {
        let thread = shared.platform.current();
        let next = shared.with(|state| {
            let run = state.run_mut(id)?;
            run.thread = Some(thread);
            let call = run.calls.pop_front()?;
            let frame = *run.frames.first()?;
            let domain = frame.extension.and_then(|extension| state.domains.get(&extension));
            let (isolation, pkru) = match domain {
                Some(domain) => (domain.isolation, stacks::pkru(domain)),
                None => (Isolation::None, 0),
            };
            Some((call, isolation, stacks::domain_call(call.function, call.arguments, frame.stack, pkru)))
        });
        let Some((planned, isolation, call)) = next else { return value };
        let returned = enter(shared.platform, isolation, &call);
        value = match planned.result {
            ResultKind::Ignored => 0,
            ResultKind::Whole => returned.cast_signed(),
            // The ABI leaves the upper half of the register undefined for an `int`.
            ResultKind::Int | ResultKind::Status => i64::from((returned as u32).cast_signed()),
        };
        if planned.result == ResultKind::Status && value != 0 {
            return value;
        }
    }
}

/// Takes note of a thread's end: completes the report, gives back what the run held. Returns the run
/// if it belonged to a load or unload.
pub(crate) fn ended(shared: &Shared, thread: EndedThread) -> Option<(RunId, Outcome)> {
    let EndedThread { id, mut outcome, cpu_time_ns } = thread;
    let (run, purpose, frames, exchange, test) = shared.with(|state| {
        let run = state.run_of_thread(id)?;
        let frames = core::mem::take(&mut run.frames);
        Some((run.id, run.purpose, frames, run.exchange.take(), run.test.take()))
    })?;
    if let (Outcome::Ended(report), Some(frame)) = (&mut outcome, frames.last()) {
        report.extension = frame.extension;
        report.gate = frame.gate.map(|gate| gate_name(shared, gate));
        report.stack.truncate(STACK_SNAPSHOT_BYTES_MAX);
    }
    let faulted = matches!(&outcome, Outcome::Ended(report) if report.cause != Cause::Interrupted);
    let tested = test.and_then(|test| test.finish(&outcome, faulted));
    for frame in &frames {
        stacks::release(shared, frame.extension, frame.stack);
    }
    if let Some((start, pages)) = exchange {
        shared.platform.unmap(start, pages);
    }
    shared.with(|state| {
        let inner = frames.last().and_then(|frame| frame.extension);
        if let Some(domain) = inner.filter(|_| faulted).and_then(|inner| state.domains.get_mut(&inner)) {
            domain.faults = domain.faults.saturating_add(1);
        }
        if let Some(run) = state.run_mut(run) {
            run.tested = tested;
            run.ended = Some((outcome.clone(), cpu_time_ns));
        }
    });
    (purpose == Purpose::Operation).then_some((run, outcome))
}

/// Name of a gate: of the export, or of the extension's function that it reaches.
fn gate_name(shared: &Shared, index: u32) -> String {
    if let Some(export) = shared.exports.get(index as usize) {
        return export.name.to_string();
    }
    let link = shared.with(|state| {
        let link = state.links.get(index as usize - shared.exports.len())?;
        link.as_ref().map(|link| link.name.clone())
    });
    link.unwrap_or_else(|| format!("gate {index}"))
}

/// Ends runs that `select` picks. Returns how many.
pub(crate) fn interrupt(shared: &Shared, select: impl Fn(&Run) -> bool) -> usize {
    let threads: Vec<_> = shared.with(|state| {
        let picked = state.runs.iter().filter(|run| run.ended.is_none() && select(run));
        picked.filter_map(|run| run.thread).collect()
    });
    for &thread in &threads {
        shared.platform.end(thread, Cause::Interrupted);
    }
    threads.len()
}

/// Forgets that a session wants to hear of its runs, and ends them. Whoever waits for room in its
/// output is ended with it.
pub(crate) fn abandon(shared: &Shared, session: u32) {
    interrupt(shared, |run| run.session == Some(session));
    shared.with(|state| {
        for run in state.runs.iter_mut().filter(|run| run.session == Some(session)) {
            run.session = None;
            run.output.bytes = VecDeque::new();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lie_as_c_expects_them() {
        let image =
            argument_image(GuestAddress(0x1000), &["add".to_string(), String::new(), "é".to_string()]);
        let pointer = |index: usize| u64::from_le_bytes(image[index * 8..][..8].try_into().unwrap());
        let string = |index: usize| {
            let start = (pointer(index) - 0x1000) as usize;
            image[start..].split(|&byte| byte == 0).next().unwrap()
        };
        assert_eq!((string(0), string(1), string(2)), (&b"add"[..], &b""[..], "é".as_bytes()));
        assert_eq!(pointer(3), 0);
        assert_eq!(image.len(), 4 * 8 + 4 + 1 + 3);
    }

    #[test]
    fn the_largest_arguments_fit_their_pages() {
        let mut arguments = alloc::vec![String::new(); ARGUMENTS_MAX];
        arguments[0] = "x".repeat(ARGUMENT_BYTES_MAX - ARGUMENTS_MAX);
        let image = argument_image(GuestAddress(0), &arguments);
        assert!(image.len() <= ARGUMENT_PAGES as usize * PAGE_BYTES as usize);
        assert!(image.len() > ARGUMENT_BYTES_MAX);
    }
}
