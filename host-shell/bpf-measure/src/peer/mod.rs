//! rbpf, the other engine for Rust, behind our inputs, maps and helpers.
//!
//! rbpf has no maps: references to them become numbers, the addresses that our engines load, and helpers are the same
//! functions as ours, so that a comparison is the engines'. What rbpf cannot run, or runs wrongly, is told apart before.

mod subset;

use std::arch::naked_asm;
use std::cell::Cell;
use std::ptr;
use std::time::Duration;

use rbpf::EbpfVmRaw;
use uio_bpf::helper::FUNCTIONS;
use uio_bpf::instruction::{Immediate64, Operation};
use uio_bpf::invocation::Invocation;
use uio_bpf::services::Services;

use crate::run::{Bound, Memory, Pages, PrepareError, Protection, Verified};
use crate::speed::median_of;
pub use subset::{Unsupported, unsupported};

/// Bytes of machine code that rbpf makes of one slot at most, by its encoder's longest case, and then some.
const CODE_BYTES_PER_SLOT: usize = 64;
/// Bytes that its compiler wants to have in any case, and enough for its entry and exit.
const CODE_BYTES_MIN: usize = 4 * 4096;

thread_local! {
    /// What the helpers of the run under way get as their sixth argument.
    static CURRENT: Cell<*const Invocation<'static>> = const { Cell::new(ptr::null()) };
}

/// A helper as rbpf takes it.
type Forward = fn(u64, u64, u64, u64, u64) -> u64;

/// A function of its own for each helper: rbpf passes nothing that would tell them apart.
extern "sysv64" fn forward<const INDEX: usize>(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    let invocation = CURRENT.get();
    // SAFETY: only programs that passed the check run, so the arguments are what the prototype says; the invocation
    // is the one of the run under way on this thread.
    unsafe { FUNCTIONS[INDEX].1(r1, r2, r3, r4, r5, invocation) }
}

/// [`forward`] for rbpf's interpreter.
fn interpreted<const INDEX: usize>(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    forward::<INDEX>(r1, r2, r3, r4, r5)
}

/// [`forward`] for rbpf's machine code, which calls in the System V convention but with its stack as it happens to be.
#[unsafe(naked)]
extern "sysv64" fn aligned<const INDEX: usize>(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {forward}",
        "leave",
        "ret",
        forward = sym forward::<INDEX>,
    )
}

/// Both forms for all places in [`FUNCTIONS`].
macro_rules! forwards {
    ($($index:literal)*) => {
        [$((interpreted::<$index> as Forward, aligned::<$index> as Aligned)),*]
    };
}

/// See [`aligned`].
type Aligned = extern "sysv64" fn(u64, u64, u64, u64, u64) -> u64;

/// By place in [`FUNCTIONS`].
static FORWARDS: [(Forward, Aligned); 40] = forwards!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
);

/// The program's bytes as rbpf takes them, with addresses instead of references.
fn bytes(bound: &Bound) -> Vec<u8> {
    let mut slots = bound.slots().to_vec();
    for (slot, operation) in bound.executable().operations().iter() {
        let Operation::LoadImmediate { value, .. } = operation else { continue };
        if matches!(value, Immediate64::Value(_)) {
            continue;
        }
        const OPCODE_AND_DESTINATION: u64 = 0xfff;
        const HALF: u64 = 0xffff_ffff;
        let address = bound.executable().immediate(value);
        let place = slot as usize;
        slots[place] = slots[place] & OPCODE_AND_DESTINATION | (address & HALF) << 32;
        slots[place + 1] = address & !HALF;
    }
    slots.iter().flat_map(|slot| slot.to_le_bytes()).collect()
}

/// A program that passed the check, in rbpf.
pub struct Peer {
    // First: it refers to the program and the pages.
    vm: EbpfVmRaw<'static>,
    compiled: bool,
    bound: Verified,
    _program: Box<[u8]>,
    pages: Option<Pages>,
}

impl Peer {
    /// Gives `verified` to rbpf, and compiles it there if `compile`. Where [`unsupported`] finds something, results may
    /// be wrong.
    ///
    /// # Errors
    ///
    /// [`PrepareError::Peer`] if rbpf says no.
    pub fn new(verified: Verified, compile: bool) -> Result<Self, PrepareError> {
        let said = |error: rbpf::lib::Error| PrepareError::Peer(format!("{error:?}"));
        let program = bytes(verified.bound()).into_boxed_slice();
        // SAFETY: the box outlives the machine that borrows it: both are fields of one value, the machine drops first, and
        // the box's memory does not move with it.
        let borrowed: &'static [u8] = unsafe { &*ptr::from_ref::<[u8]>(&program) };
        let mut vm = EbpfVmRaw::new(None).map_err(said)?;
        // Our check has seen it; rbpf's own knows no references and no long programs of ours.
        vm.set_verifier(|_| Ok(())).map_err(said)?;
        vm.set_program(borrowed).map_err(said)?;
        for (entry, (interpreted, aligned)) in FUNCTIONS.iter().zip(FORWARDS) {
            // SAFETY: rbpf only makes a number of it, for its machine code, which calls in this convention.
            let compiled = unsafe { std::mem::transmute::<Aligned, Forward>(aligned) };
            let function = if compile { compiled } else { interpreted };
            vm.register_helper(entry.0, function).map_err(said)?;
        }
        vm.register_allowed_memory(0..u64::MAX);
        let mut pages = None;
        if compile {
            let size = CODE_BYTES_MIN + CODE_BYTES_PER_SLOT * verified.bound().slots().len();
            let mut open = Pages::new(size, Protection::Open)?;
            let memory = open.bytes_mut();
            // SAFETY: as with the program: the pages are a field behind the machine, and do not move.
            let memory: &'static mut [u8] =
                unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr(), memory.len()) };
            vm.set_jit_exec_memory(memory).map_err(said)?;
            vm.jit_compile().map_err(said)?;
            pages = Some(open);
        }
        Ok(Self { vm, compiled: compile, bound: verified, _program: program, pages })
    }

    /// The median of `times` compilations by rbpf, fresh pages included.
    ///
    /// # Errors
    ///
    /// [`PrepareError::Peer`] if rbpf says no.
    pub fn compile_time(&mut self, times: usize) -> Result<Duration, PrepareError> {
        let said = |error: rbpf::lib::Error| PrepareError::Peer(format!("{error:?}"));
        let size = CODE_BYTES_MIN + CODE_BYTES_PER_SLOT * self.bound().slots().len();
        let mut failed = None;
        let time = median_of(times, || {
            let mut open =
                Pages::new(size, Protection::Open).map_err(|error| failed = Some(error.into())).ok()?;
            let memory = open.bytes_mut();
            // SAFETY: the pages become this value's, and outlive the machine there.
            let memory: &'static mut [u8] =
                unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr(), memory.len()) };
            let compiled = self.vm.set_jit_exec_memory(memory).and_then(|()| self.vm.jit_compile());
            if let Err(error) = compiled {
                failed = Some(said(error));
            }
            self.compiled = true;
            // Those of the time before are given back after the clock is read.
            self.pages.replace(open)
        });
        failed.map_or(Ok(time), Err)
    }

    /// The program with its maps.
    #[must_use]
    pub const fn bound(&self) -> &Bound {
        self.bound.bound()
    }

    /// Runs it; `None` if rbpf gives up.
    pub fn run(&mut self, memory: &mut Memory, services: &dyn Services) -> Option<u64> {
        let (first, second) = memory.arguments();
        let invocation = Invocation::new(memory.kind(), first, second, services);
        // Raw programs get their size in R2, others what rbpf thinks is one.
        let length = if first == memory.context().start { memory.context().end - first } else { second };
        // SAFETY: the memory is borrowed alone.
        unsafe { self.run_with(&invocation, length) }
    }

    /// # Safety
    ///
    /// The invocation's context is memory of `length` bytes for a program of this kind, and nobody else uses it.
    #[inline]
    pub(crate) unsafe fn run_with(&mut self, invocation: &Invocation<'_>, length: u64) -> Option<u64> {
        CURRENT.set(ptr::from_ref(invocation).cast());
        let start = ptr::with_exposed_provenance_mut::<u8>(invocation.context as usize);
        let memory: &'static mut [u8] = if invocation.context == 0 {
            &mut []
        } else {
            // SAFETY: the caller's promise; rbpf makes an address of it and forgets it with the run.
            unsafe { std::slice::from_raw_parts_mut(start, length as usize) }
        };
        let result = if self.compiled {
            // SAFETY: the program passed the check.
            unsafe { self.vm.execute_program_jit(memory) }
        } else {
            self.vm.execute_program(memory)
        };
        CURRENT.set(ptr::null());
        result.ok()
    }
}
