//! The way into domains, and the gates' handlers: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "calls addresses of loaded code through the gates of uio-isolation")]

use alloc::format;

use uio_isolation::gate::{self, EnterError, GateCall, GateContext, Handlers};
use uio_isolation::pkru::Pkru;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::Isolation;

use crate::gate::dispatch::dispatch;
use crate::platform::{DomainCall, Platform};
use crate::shared::Shared;

/// Registers the handlers of this overlay with the gates.
pub(crate) fn register_handlers() {
    gate::set_handlers(Handlers { gate: gate_entry, tampered, killed });
}

/// Serves a call through a gate on the calling thread's kernel stack. From ring 0 the gates come here by
/// themselves; the kernel's handler of [`gate::RING3_VECTOR`] calls it, with every right in the
/// register. Does not return if the call ends the run.
pub extern "C" fn gate_entry(gate_index: u32, call: &mut GateCall) -> u64 {
    if let Some(shared) = Shared::current() {
        shared.platform.check_interrupts();
    }
    dispatch(gate_index, call.args)
}

extern "C" fn tampered(_: &GateContext) -> ! {
    end(Cause::GateTampered)
}

extern "C" fn killed(_: &GateContext) -> ! {
    end(Cause::Interrupted)
}

/// Ends the calling thread.
fn end(cause: Cause) -> ! {
    match Shared::current() {
        Some(shared) => shared.platform.end_current(cause),
        // The handlers are registered after the shared state.
        None => unreachable!("a gate without an overlay"),
    }
}

/// Calls a function in a domain, on the calling supervised thread, and returns what it returned. Ends
/// the thread if the domain cannot be entered.
pub(crate) fn enter(platform: &dyn Platform, isolation: Isolation, call: &DomainCall) -> u64 {
    if isolation == Isolation::Ring3 {
        return platform.enter_ring3(call);
    }
    let cause = match gate::current() {
        None => Cause::Gate { argument: None, reason: "the thread has no gate context".into() },
        Some(context) => {
            // SAFETY: `set_current` promised that the running thread's context stays valid and in place, and
            // contexts are changed through atomics only. The function is an address in the text of a loaded
            // extension, checked by the linker, or one that a person asked to call; the register lets it
            // read all and write its own pages, or everything where the person chose no isolation. The
            // stack was taken for this call alone and is released after it. Nothing calls `abort`.
            let entered = unsafe {
                gate::enter(
                    &*context,
                    call.function.0,
                    call.arguments,
                    call.stack_top.0,
                    Pkru::from_bits(call.pkru),
                )
            };
            match entered {
                Ok(value) => {
                    platform.check_interrupts();
                    return value;
                }
                Err(EnterError::DepthExceeded { .. }) => Cause::GateDepth,
                Err(error) => Cause::Gate { argument: None, reason: format!("cannot enter: {error:?}") },
            }
        }
    };
    platform.end_current(cause)
}
