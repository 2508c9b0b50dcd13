//! What programs of this guest may call: all helpers, those that change maps with interrupts off.
//!
//! A change takes a lock of its map for a moment. The thread of a program may be preempted, or ended, at any
//! instruction; within a change that would leave the lock taken.
#![expect(unsafe_code, reason = "passes calls of programs on")]

use uio_bpf::helper::FUNCTIONS;
use uio_bpf::invocation::Invocation;
use uio_bpf::program::{HelperFunction, HelperTable};

const COUNT: usize = FUNCTIONS.len();

static HELPERS: [(u32, HelperFunction); COUNT] = {
    let mut helpers = [FUNCTIONS[0]; COUNT];
    let mut index = 0;
    while index < COUNT {
        let (number, function) = FUNCTIONS[index];
        helpers[index] = (number, guarded(number, function));
        index += 1;
    }
    helpers
};

/// Helpers by number.
pub(crate) fn helpers() -> &'static HelperTable {
    &HELPERS
}

/// Helpers that change a map, by Linux's numbers: `map_update_elem` and `map_delete_elem`, `perf_event_output`,
/// push, pop and peek, output and reservation in ring buffers and their ends.
const fn guarded(number: u32, function: HelperFunction) -> HelperFunction {
    match number {
        2 => exclusive::<2>,
        3 => exclusive::<3>,
        25 => exclusive::<25>,
        87 => exclusive::<87>,
        88 => exclusive::<88>,
        89 => exclusive::<89>,
        130 => exclusive::<130>,
        131 => exclusive::<131>,
        132 => exclusive::<132>,
        133 => exclusive::<133>,
        _ => function,
    }
}

/// Helper `NUMBER` with interrupts off.
///
/// # Safety
///
/// As the helper.
unsafe extern "sysv64" fn exclusive<const NUMBER: u32>(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    run: *const Invocation<'_>,
) -> u64 {
    let function = const { find(NUMBER) };
    // SAFETY: the caller's promise.
    critical_section::with(|_| unsafe { function(r1, r2, r3, r4, r5, run) })
}

/// The plain helper `number`. Evaluated by the compiler, which refuses one that is not there.
const fn find(number: u32) -> HelperFunction {
    let mut index = 0;
    while FUNCTIONS[index].0 != number {
        index += 1;
    }
    FUNCTIONS[index].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_engines_with_guards() {
        assert_eq!(helpers().len(), FUNCTIONS.len());
        let mut changed = 0;
        for (own, plain) in helpers().iter().zip(FUNCTIONS) {
            assert_eq!(own.0, plain.0);
            changed += usize::from(own.1 as usize != plain.1 as usize);
        }
        assert_eq!(changed, 10);
    }
}
