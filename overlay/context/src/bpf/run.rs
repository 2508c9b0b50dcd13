//! Running a program on a supervised thread.
//!
//! The thread calls [`execute`] as it would a function of the guest that a person asked to call: in no domain of its own,
//! so with every right, but at any instruction it may be ended, and a fault in it is its end. What must not be left
//! half done runs with interrupts off (`super::helpers`).
#![expect(unsafe_code, reason = "runs programs that were checked, on data that their run owns")]

use core::ptr;

use uio_bpf::invocation::Invocation;
use uio_protocol::rpc::RunId;

use super::test::Test;
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
    let start = shared.platform.now_ns();
    for _ in 0..test.repeat {
        test.reset();
        invocation.again();
        // SAFETY: the program passed the check, bound to maps and helpers by the prototypes that the check went by; its
        // context is of its kind and alive as long as the test.
        match unsafe { program.run(&invocation) } {
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
