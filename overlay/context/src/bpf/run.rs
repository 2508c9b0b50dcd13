//! Running a program on a supervised thread.
//!
//! The thread calls [`execute`] as it would a function of the guest that a person asked to call: in no domain of its own,
//! so with every right, but at any instruction it may be ended, and a fault in it is its end. What must not be left
//! half done runs with interrupts off (`super::helpers`).
#![expect(unsafe_code, reason = "runs programs that were checked, on data that their run owns")]

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;

use uio_bpf::interpreter::Machine;
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::{EmitError, Options, Plan};
use uio_bpf::program::{Executable, Program as Runnable};
use uio_protocol::error::RpcError;
use uio_protocol::programs::ProgramError;
use uio_protocol::rpc::RunId;

use super::code::CodePages;
use super::test::Test;
use crate::platform::Platform;
use crate::runs::out_of_memory;
use crate::shared::Shared;

/// Runs the test of run number `run` and leaves its results there. What a supervised thread calls.
pub(crate) extern "sysv64" fn execute(run: u64) -> u64 {
    let Some(shared) = Shared::current() else { return 0 };
    let found = shared.with(|state| {
        let run = state.run_mut(RunId(run as u32))?;
        run.test.as_deref().map(ptr::from_ref::<Test>)
    });
    let Some(test) = found else { return 0 };
    // SAFETY: the test is boxed in its run, which drops it when this thread has ended. Until then nobody else looks at it:
    // what the program changes are cells.
    let test = unsafe { &*test };
    let (context, context_bytes) = test.arguments();
    let program = &test.program.runnable;
    let invocation = Invocation::new(program.executable().kind(), context, context_bytes, test.services);
    let mut machine = Machine::new();
    let start = shared.platform.now_ns();
    for _ in 0..test.repeat {
        test.reset();
        invocation.again();
        // SAFETY: the program passed the check, bound to maps and helpers by the prototypes that the check went by; its
        // context is of its kind and alive as long as the test.
        match unsafe { program.run(&mut machine, &invocation) } {
            Ok(value) => {
                test.value.set(value);
                test.runs.set(test.runs.get() + 1);
            }
            Err(stopped) => {
                test.stopped.set(Some(stopped));
                break;
            }
        }
    }
    test.duration_ns.set(shared.platform.now_ns() - start);
    test.value.get()
}

/// A program that is ready to run: machine code in pages of its own, or for the interpreter as it is.
pub(crate) struct Ready {
    pub(crate) runnable: Arc<Runnable>,
    pub(crate) code: Option<CodePages>,
    /// Where the code of each slot starts.
    pub(crate) offsets: Vec<u32>,
}

/// Places that are tried for code: where it is measured, where it fits, and one more for each of the two reasons to go on.
const PLACES_MAX: usize = 4;

/// Makes `executable` ready to run. Constants of its code are disguised with `seed`.
pub(crate) fn compile(
    platform: &'static dyn Platform,
    executable: Executable,
    name: &str,
    seed: Option<u64>,
) -> Result<Ready, RpcError> {
    let Some(seed) = seed else {
        let runnable = Arc::new(Runnable::interpreted(executable));
        return Ok(Ready { runnable, code: None, offsets: Vec::new() });
    };
    let plan = Plan::new(&executable, &Options::blinded(seed));
    let untranslatable = |reason: String| {
        RpcError::Program(ProgramError::Untranslatable { program: name.to_string(), reason })
    };
    let mut room = plan.bytes_bound();
    let mut size = room;
    for _ in 0..PLACES_MAX {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(room).map_err(|_| RpcError::OutOfMemory { bytes: room as u64 })?;
        buffer.resize(room, 0);
        let mut pages = CodePages::reserve(platform, name, size).map_err(out_of_memory)?;
        let code = match plan.emit(&mut buffer, pages.start().0) {
            Ok(code) => code,
            Err(EmitError::TooSmall { bytes }) if bytes > room => {
                (room, size) = (bytes, bytes);
                continue;
            }
            Err(error) => return Err(untranslatable(error.to_string())),
        };
        let text = buffer.get(..code.bytes).unwrap_or(&buffer);
        // The bound was generous: the code goes where its size fits, which is most often the same place.
        if !pages.fits(text.len()) {
            size = text.len();
            continue;
        }
        pages.seal(text).map_err(|address| RpcError::BadAddress { address, write: true })?;
        let entry = pages.start().0;
        // SAFETY: the code was made from this executable for this address, and its pages are executable from here on.
        // They belong to the program that keeps this `Runnable`; whoever else keeps it keeps that program, too
        // (`MapSlot`).
        let runnable = Arc::new(unsafe { Runnable::compiled(executable, entry) });
        return Ok(Ready { runnable, code: Some(pages), offsets: code.offsets });
    }
    Err(untranslatable("its code has another size at each place".to_string()))
}
