//! A Linux process in the part of the kernel: pages with keys, a fault handler, gate handlers.
//!
//! [`Mode`] says what enforces the keys. Where the processor has none, an emulator stands in: the instructions that
//! write the register trap (`wrpkru` as `#UD`, `wrmsr` as `#GP`), and the trap handler keeps the value and
//! sets the protection of the pages that the test registered. That runs every instruction of the gates, but protects
//! only those pages; the processor's own checks need the real thing.

// Each test program includes this and uses its share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test program uses a part of it"
)]

pub mod domain_code;
pub mod memory;
pub mod signals;
pub mod suite;

/// Makes tests of functions of [`suite`], all in one mode.
#[macro_export]
macro_rules! suite_tests {
    ($mode:expr; $($name:ident),* $(,)?) => {
        $(#[test] fn $name() { support::suite::$name($mode) })*
    };
    ($mode:expr) => {
        $crate::suite_tests!($mode;
            arguments_and_result_pass_through_enter,
            a_call_through_a_gate_carries_six_arguments,
            a_store_reaches_own_and_exchange_pages_only,
            reading_follows_the_policy,
            domains_nest,
            depth_is_limited,
            wrong_requests_are_errors,
            a_handler_can_abort,
            a_kill_waits_for_the_gates_end,
            nothing_of_the_hosts_is_left_in_registers,
            callee_saved_registers_survive,
            processor_state_is_restored_by_enter,
            the_host_runs_with_its_own_processor_state,
            a_wild_stack_pointer_is_the_domains_fault,
            null_and_garbage_end_the_domain_only,
            alignment_checks_end_with_the_domain,
            the_gates_hold_the_writes_that_are_accounted_for,
            an_interrupt_anywhere_is_settled,
            a_kill_requested_in_a_gate_is_never_missed,
        );
    };
}

/// Those that need something to enforce the keys.
#[macro_export]
macro_rules! enforced_tests {
    ($mode:expr) => {
        $crate::suite_tests!($mode;
            the_context_is_out_of_reach,
            a_jump_to_a_write_wins_nothing,
            a_jump_to_any_byte_of_the_gates_wins_nothing,
            the_checked_write_only_narrows,
        );
    };
}

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use uio_isolation::backend::{self, Backend};
use uio_isolation::domain::{Domain, ReadPolicy};
use uio_isolation::gate::{self, EnterError, GateCall, GateContext, Handlers, StubKind};
use uio_isolation::pkru::{self, Pkru, ProtectionKey};

use memory::Pages;

/// What enforces the keys in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    None,
    /// The processor.
    Pku,
    /// The emulator, for `wrpkru`.
    EmulatedPku,
    /// The emulator, for `wrmsr`.
    EmulatedPks,
}

impl Mode {
    /// The processor where it can, else the emulator.
    pub fn best_pku() -> Self {
        if backend::detect().pku_enabled { Self::Pku } else { Self::EmulatedPku }
    }

    pub fn backend(self) -> Backend {
        match self {
            Self::None => Backend::None,
            Self::Pku | Self::EmulatedPku => Backend::Pku,
            Self::EmulatedPks => Backend::Pks,
        }
    }

    pub fn enforces(self) -> bool {
        self != Self::None
    }
}

/// Codes with which handlers abort.
pub const FAULT: u64 = 1;
pub const TAMPERED: u64 = 2;
pub const KILLED: u64 = 3;
pub const ON_REQUEST: u64 = 4;

/// Gates of the test host.
pub mod gates {
    /// Records the call and returns [`super::ECHO_RESULT`].
    pub const ECHO: u32 = 0;
    /// Enters domain B at `args[0]` with `args[1]`, `args[2]`; returns what came of it, see [`super::fold`].
    pub const NEST: u32 = 1;
    /// Enters a domain at `args[0]` with `args[0..2]`, again and again.
    pub const RECURSE: u32 = 2;
    /// Asks for a kill.
    pub const KILL: u32 = 3;
    /// Aborts.
    pub const ABORT: u32 = 4;
    /// Leaves values in every register that a callee may change.
    pub const DIRTY: u32 = 5;
    /// Records the processor state in which the host runs.
    pub const STATE: u32 = 6;
}

pub const ECHO_RESULT: u64 = 0x1234_5678_9abc_def0;
pub const DEPTH_EXCEEDED: u64 = 1 << 40;
pub const ABORTED: u64 = 1 << 41;

/// The last call, and the state of the host while it ran.
pub static LAST_CALL: Mutex<Option<GateCall>> = Mutex::new(None);
pub static CALLS: AtomicU64 = AtomicU64::new(0);
pub static HOST_MXCSR: AtomicU64 = AtomicU64::new(0);
pub static HOST_FLAGS: AtomicU64 = AtomicU64::new(0);
pub static HOST_PKRU: AtomicU64 = AtomicU64::new(0);

pub struct Env {
    pub mode: Mode,
    pub context: &'static GateContext,
    /// Pages by key: two domains, the application, the exchange, the kernel.
    pub own: Pages,
    pub other: Pages,
    pub application: Pages,
    pub exchange: Pages,
    pub kernel: Pages,
    pub stack_a: Pages,
    pub stack_b: Pages,
    pub domain_a: Domain,
    pub domain_b: Domain,
    stubs: Pages,
    _context_page: Pages,
}

pub const KEY_A: u8 = 5;
pub const KEY_B: u8 = 6;

impl Env {
    fn new(mode: Mode) -> Self {
        memory::take_all_keys(mode);
        signals::install(mode);
        // SAFETY: the mode was chosen by what the processor has, or the emulator is installed.
        unsafe { backend::select(mode.backend()) }.expect("one mode per process");
        gate::set_handlers(Handlers { gate: serve, tampered, killed });
        let key = |number| ProtectionKey::new(number).expect("below 16");
        let context_page = Pages::new(1, 0);
        let place = context_page.start() as *mut GateContext;
        // SAFETY: a fresh page, aligned, large enough, and never unmapped.
        let context = unsafe {
            place.write(GateContext::new());
            &*place
        };
        let domain = |number| Domain::new(key(number), ReadPolicy::Everything).expect("not reserved");
        let stubs = Pages::new(1, 0);
        let backend = mode.backend();
        for index in 0..=gates::STATE {
            let stub = gate::stub(StubKind::Ring0(backend), index).expect("the gates lie well");
            stubs.write_bytes(u64::from(index) * 32, stub.as_bytes());
        }
        let stubs = stubs.make_executable();
        Self {
            mode,
            context,
            own: Pages::new(1, KEY_A),
            other: Pages::new(1, KEY_B),
            application: Pages::new(1, 1),
            exchange: Pages::new(1, 2),
            kernel: Pages::new(1, 0),
            stack_a: Pages::new(8, KEY_A),
            stack_b: Pages::new(8, KEY_B),
            domain_a: domain(KEY_A),
            domain_b: domain(KEY_B),
            stubs,
            _context_page: context_page,
        }
    }

    pub fn stub(&self, index: u32) -> u64 {
        self.stubs.start() + u64::from(index) * 32
    }

    pub fn enter_a(&self, entry: u64, arguments: [u64; 6]) -> Result<u64, EnterError> {
        self.enter_with(self.domain_a.pkru(), entry, arguments)
    }

    pub fn enter_with(&self, pkru: Pkru, entry: u64, arguments: [u64; 6]) -> Result<u64, EnterError> {
        // SAFETY: the stack is domain A's and free, the entry is one of `domain_code`, which do what the tests expect.
        unsafe { gate::enter(self.context, entry, arguments, self.stack_a.end(), pkru) }
    }
}

static ENV: OnceLock<Env> = OnceLock::new();
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The environment, for one test at a time: [`gate::CURRENT`] is one for the process.
pub fn env(mode: Mode) -> (&'static Env, MutexGuard<'static, ()>) {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let env = ENV.get_or_init(|| {
        // Not through the captured `eprintln!`: whoever reads a passing run has to see it.
        let _ = writeln!(std::io::stderr(), "protection keys in these tests: {mode:?}");
        Env::new(mode)
    });
    signals::use_alternate_stack(mode);
    // SAFETY: the context lives as long as the process; tests run one at a time.
    unsafe { gate::set_current(Some(env.context)) };
    // SAFETY: every right, from host code.
    unsafe { pkru::write(Pkru::ALLOW_ALL) };
    env.context.clear_kill();
    for pages in [&env.own, &env.other, &env.application, &env.exchange, &env.kernel] {
        pages.clear();
    }
    *LAST_CALL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    (env, guard)
}

/// A result in one number, as gates return it.
pub fn fold(result: Result<u64, EnterError>) -> u64 {
    match result {
        Ok(value) => value,
        Err(EnterError::DepthExceeded { limit }) => DEPTH_EXCEEDED | limit as u64,
        Err(EnterError::Aborted { code }) => ABORTED | code,
        Err(other) => panic!("{other:?}"),
    }
}

extern "C" fn serve(gate_index: u32, call: &mut GateCall) -> u64 {
    let env = ENV.get().expect("gates are called in an environment");
    CALLS.fetch_add(1, Ordering::Relaxed);
    match gate_index {
        gates::ECHO => {
            *LAST_CALL.lock().unwrap_or_else(PoisonError::into_inner) = Some(*call);
            ECHO_RESULT
        }
        gates::NEST => {
            let arguments = [call.args[1], call.args[2], 0, 0, 0, 0];
            // SAFETY: domain B's stack is free: only this gate uses it.
            fold(unsafe {
                gate::enter(env.context, call.args[0], arguments, env.stack_b.end(), env.domain_b.pkru())
            })
        }
        gates::RECURSE => {
            // The caller's frames lie above its stack pointer; go on below, aligned.
            let below = (call.domain_rsp - 256) & !15;
            let arguments = [call.args[0], call.args[1], 0, 0, 0, 0];
            // SAFETY: the stack is domain A's, free below the caller's pointer.
            let result =
                unsafe { gate::enter(env.context, call.args[0], arguments, below, env.domain_a.pkru()) };
            // What the innermost got, plus one for each level.
            fold(result) + (1 << 20)
        }
        gates::KILL => {
            env.context.request_kill();
            7
        }
        gates::ABORT => {
            // SAFETY: no destructors are pending in this frame.
            match unsafe { gate::abort(ON_REQUEST) } {
                Ok(never) => match never {},
                Err(gate::NotEntered) => 0,
            }
        }
        gates::DIRTY => domain_code::dirty_registers(),
        gates::STATE => {
            *LAST_CALL.lock().unwrap_or_else(PoisonError::into_inner) = Some(*call);
            HOST_MXCSR.store(u64::from(domain_code::mxcsr()), Ordering::Relaxed);
            HOST_FLAGS.store(domain_code::flags(), Ordering::Relaxed);
            HOST_PKRU.store(u64::from(pkru::read().bits()), Ordering::Relaxed);
            0
        }
        // An index that an attacker made up.
        _ => u64::MAX,
    }
}

extern "C" fn tampered(_: &GateContext) -> ! {
    end(TAMPERED)
}

extern "C" fn killed(_: &GateContext) -> ! {
    end(KILLED)
}

fn end(code: u64) -> ! {
    // SAFETY: called by a gate, with no destructors pending.
    let result = unsafe { gate::abort(code) };
    let Err(gate::NotEntered) = result;
    std::process::abort()
}
