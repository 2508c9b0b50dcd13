//! What crossings cost on this machine, in a Linux process.
//!
//! Every number is the smallest of many rounds (the variants take turns, so that a slow second hits all of
//! them), divided by the operations in a round; a round's own loop is included and nothing is subtracted. The
//! unit is the time stamp counter's tick, which runs at a constant rate; [`GateCycles::ticks_per_core_cycle`] relates
//! it to the core's clock during the measurement.
//!
//! Where the processor has no protection keys, the isolated half is an error that says so. The unisolated half runs
//! the same instructions but for the register's, and says nothing about what `wrpkru` costs.

mod linux;
mod loops;

use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use crate::backend::{Backend, detect};
use crate::gate::{self, EnterError, GateCall, GateContext, Handlers, StubError, StubKind};
use crate::pkru::Pkru;
pub use linux::SystemError;
use linux::{Key, Pages};

/// Operations in a round: long enough that reading the counter does not matter, short enough that many
/// rounds pass without an interrupt.
const OPERATIONS: u64 = 1_000;
/// Rounds of each variant.
const ROUNDS: usize = 300;
/// Pages of a domain's stack.
const STACK_PAGES: usize = 4;

/// Costs with one backend, in ticks of the time stamp counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossingTicks {
    /// Writing the register twice, and nothing else; `None` where there is no register.
    pub register_pair: Option<f64>,
    /// From the host into a domain that returns at once, and back.
    pub enter: f64,
    /// From a domain through a gate into the host and back: own stack, arguments saved, registers scrubbed,
    /// checks on both sides.
    pub crossing: f64,
    /// The same on the domain's stack, with the checks but without scrubbing: for comparison only.
    pub crossing_shared_stack: f64,
}

/// Costs on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateCycles {
    /// Under the processor's keys, or why not.
    pub isolated: Result<CrossingTicks, MeasureError>,
    /// Without them.
    pub unisolated: CrossingTicks,
    /// Ticks of the counter in one cycle of the core, by a chain of multiplications of 3 cycles each (true of
    /// Intel since 2008 and of AMD's Zen).
    pub ticks_per_core_cycle: f64,
}

/// Why something was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureError {
    /// CPUID offers no protection keys (bit OSPKE of leaf 7).
    NoPku,
    /// Linux refused.
    System(SystemError),
    /// No stub for the gate.
    Stub(StubError),
    /// The domain did not return.
    Enter(EnterError),
    /// The measuring thread panicked.
    Thread,
}

impl From<SystemError> for MeasureError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

/// Measures, in about a second. Registers handlers of its own for gates, so nothing else in the process may use them.
///
/// # Errors
/// [`MeasureError`] if not even the unisolated half works; what only isolation lacks is in
/// [`GateCycles::isolated`].
pub fn gate_cycles() -> Result<GateCycles, MeasureError> {
    // A thread of its own: its register and its restartable sequences are changed for good.
    std::thread::spawn(measure).join().unwrap_or(Err(MeasureError::Thread))
}

fn measure() -> Result<GateCycles, MeasureError> {
    // `CURRENT` and the handlers are one for the process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    linux::unregister_rseq();
    gate::set_handlers(Handlers { gate: serve, tampered: unexpected, killed: unexpected });
    let context = GateContext::new();
    // SAFETY: undone below, before the context ends; this is the only thread that enters.
    unsafe { gate::set_current(Some(&context)) };
    let result = measure_with(&context);
    // SAFETY: no domain is entered any more.
    unsafe { gate::set_current(None) };
    result
}

fn measure_with(context: &GateContext) -> Result<GateCycles, MeasureError> {
    let unisolated = Setup::new(Backend::None, context)?;
    let isolated =
        if detect().pku_enabled { Setup::new(Backend::Pku, context) } else { Err(MeasureError::NoPku) };
    let mut setups = Vec::from([unisolated]);
    let missing = match isolated {
        Ok(setup) => {
            setups.push(setup);
            None
        }
        Err(error) => Some(error),
    };
    let mut multiplication = f64::INFINITY;
    for _ in 0..ROUNDS {
        for setup in &mut setups {
            setup.round()?;
        }
        multiplication = multiplication.min(loops::multiplications(OPERATIONS));
    }
    const MULTIPLICATION_CYCLES: f64 = 3.0;
    Ok(GateCycles {
        unisolated: setups[0].best,
        isolated: match (setups.get(1), missing) {
            (Some(setup), _) => Ok(setup.best),
            (None, error) => Err(error.unwrap_or(MeasureError::NoPku)),
        },
        ticks_per_core_cycle: multiplication / MULTIPLICATION_CYCLES,
    })
}

/// One backend, ready to run.
struct Setup<'context> {
    backend: Backend,
    context: &'context GateContext,
    pkru: Pkru,
    stack: Pages,
    text: Pages,
    best: CrossingTicks,
    /// Last, so that the stack that carries it goes first.
    _key: Option<Key>,
}

impl<'context> Setup<'context> {
    fn new(backend: Backend, context: &'context GateContext) -> Result<Self, MeasureError> {
        let stack = Pages::new(STACK_PAGES)?;
        let (mut pkru, mut key) = (Pkru::ALLOW_ALL, None);
        if backend == Backend::Pku {
            let allocated = Key::allocate()?;
            stack.set_key(allocated.0)?;
            pkru = Pkru::reads_all_writes(&[allocated.0]);
            key = Some(allocated);
            // SAFETY: CPUID said that the instruction exists; everything is allowed afterwards.
            unsafe { gate::write_pkru(Pkru::ALLOW_ALL.bits()) };
        }
        let stub = gate::stub(StubKind::Ring0(backend), 0).map_err(MeasureError::Stub)?;
        let text = Pages::with_text(stub.as_bytes())?;
        let unknown = f64::INFINITY;
        let register_pair = (backend == Backend::Pku).then_some(unknown);
        let best = CrossingTicks {
            register_pair,
            enter: unknown,
            crossing: unknown,
            crossing_shared_stack: unknown,
        };
        Ok(Self { backend, context, pkru, stack, text, best, _key: key })
    }

    fn round(&mut self) -> Result<(), MeasureError> {
        if let Some(best) = &mut self.best.register_pair {
            // SAFETY: the backend is PKU; the loop touches no memory while rights are reduced.
            *best = best.min(unsafe { loops::register_pairs(OPERATIONS, self.pkru.bits()) });
        }
        let mut all = Ok(0);
        let enter = loops::time(OPERATIONS, || {
            for _ in 0..OPERATIONS {
                all = all.and(self.enter(loops::return_at_once(), 0, 0));
            }
        });
        let crossing = loops::time(OPERATIONS, || {
            all = all.and(self.enter(loops::call_in_a_loop(), self.text.start(), OPERATIONS));
        });
        let light = loops::light_gate(self.backend);
        let shared = loops::time(OPERATIONS, || {
            all = all.and(self.enter(loops::call_in_a_loop(), light, OPERATIONS));
        });
        all.map_err(MeasureError::Enter)?;
        self.best.enter = self.best.enter.min(enter);
        self.best.crossing = self.best.crossing.min(crossing);
        self.best.crossing_shared_stack = self.best.crossing_shared_stack.min(shared);
        Ok(())
    }

    fn enter(&self, entry: u64, first: u64, second: u64) -> Result<u64, EnterError> {
        let arguments = [first, second, 0, 0, 0, 0];
        // SAFETY: the backend was detected; the stack is this setup's and free; the entries are the loops below.
        unsafe { gate::enter_on(self.backend, self.context, entry, arguments, self.stack.end(), self.pkru) }
    }
}

/// The cheapest handler there is.
extern "C" fn serve(_: u32, call: &mut GateCall) -> u64 {
    call.args[0]
}

extern "C" fn unexpected(_: &GateContext) -> ! {
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_what_the_machine_has() {
        let cycles = gate_cycles().unwrap();
        let all = |ticks: CrossingTicks| {
            [Some(ticks.enter), Some(ticks.crossing), Some(ticks.crossing_shared_stack), ticks.register_pair]
        };
        let positive = |ticks| all(ticks).into_iter().flatten().all(|ticks| ticks.is_finite() && ticks > 0.0);
        assert!(positive(cycles.unisolated), "{cycles:?}");
        assert_eq!(cycles.unisolated.register_pair, None);
        match cycles.isolated {
            Ok(ticks) => {
                assert!(detect().pku_enabled && positive(ticks), "{ticks:?}");
                assert!(ticks.register_pair.is_some());
            }
            Err(error) => {
                assert!(!detect().pku_enabled, "{error:?}");
                assert_eq!(error, MeasureError::NoPku);
            }
        }
    }
}
