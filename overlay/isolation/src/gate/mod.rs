//! Into a domain, out through a gate, and back, with the register and the stack switched each time.
//!
//! # The rule
//!
//! [`GateContext`] records the most that the running code is *entitled* to: everything in host code, the
//! domain's value in domain code. Domain code cannot write it. Every instruction that writes the
//! register is one of five, and each is followed, before anything else of consequence, by a comparison that
//! holds only if the value written is one that the running code is entitled to:
//!
//! | site | writes | then |
//! |---|---|---|
//! | gate entry | 0 | `eax` is 0, and control is in the host: the only way on is the dispatcher |
//! | gate exit | the domain's value | equals `entitled`, read again through [`CURRENT`] |
//! | `enter`, inward | the domain's value | the same |
//! | `enter`, outward | 0 | `eax` is 0, and the stack is the host's: the only way on is `enter`'s caller |
//! | [`crate::pkru::write`] | its argument | denies all that `entitled` denies |
//!
//! A sixth, where tampering ends, writes 0 and loops until it did.
//!
//! # What an attacker gains by a jump
//!
//! Text is one space: a domain in ring 0 can jump to any byte of the gates, with any registers.
//!
//! - **To the start of gate entry**: that is a call. The index and arguments are the caller's choice
//!   and the dispatcher checks them.
//! - **To the `wrpkru` of an entry with `eax` ≠ 0**: the comparison with 0 sends it to the tampered
//!   handler, after all rights have been taken back so that the handler does not run under a register of the
//!   attacker's choice. `ecx` or `edx` ≠ 0 raises `#GP`, still in the domain.
//! - **To the `wrpkru` of an exit with `eax` = 0 or another domain's value**: the comparison finds the
//!   difference. It reads [`CURRENT`] and the context afresh, so no register prepared before the jump matters,
//!   and both lie in memory that no domain writes. Control goes to the tampered handler; nothing of
//!   the attacker's ran in between.
//! - **Before the exit's `wrpkru`, or anywhere in the host's half**: the first store to the context or the
//!   host stack faults for lack of rights. Later instructions load registers from the attacker's own
//!   stack and return there: nothing he could not do himself. The dispatcher or a handler called directly runs with
//!   the domain's rights.
//! - **To `pkru::write` or the aborting path**: the first refuses to widen. The second ends the
//!   attacker's own run, as returning would; whether it counts as aborted stands in the context.
//! - **Past the comparison**: the register was not written.
//! - **With a wild stack pointer**: entry reads the return address as its first instruction, with the
//!   domain's rights, and never touches that stack again; exit reads it by its final `ret`, again
//!   with the domain's rights. Both faults have `rip` in [`text`] while [`GateContext::in_domain`] is true: they are the
//!   extension's.
//! - **With hostile processor state**: DF, AC, TF and NT are cleared and a changed MXCSR is replaced before the dispatcher
//!   runs. `enter` also restores MXCSR and the x87 control word, and drops pending x87 exceptions. The x87 register stack is
//!   not cleaned: host code is SSE only. FS and GS bases are not restored either: host code that domains
//!   can reach must not use them, or the kernel clears CR4.FSGSBASE.
//!
//! # What this cannot stop
//!
//! **PKS.** `wrmsr` writes the register that `ecx` names. A jump to one with another `ecx` has changed
//! that register before the check ends the run. The same holds for privileged instructions
//! elsewhere in the kernel's text (`mov cr4`, `lgdt`). A trap exit that writes the register with an instruction of its own,
//! unchecked, undoes everything here: see [`settle`]. Untrusted native code therefore runs in ring 3; in ring 0
//! gates contain faults and mistakes, and make attacks on the register fail.
//! Speculative reads past a key are not addressed.
//!
//! # Memory
//!
//! The statics of this module and every [`GateContext`] must be readable by every domain and writable by none:
//! key 0 under [`crate::domain::ReadPolicy::Everything`], else a key of their own. Host stacks are key 0.
//! CR0.WP must be set. The processor pushes interrupt frames with the interrupted code's rights, so stacks of the
//! interrupt stack table must lie where every domain may write: pages that the keys do not govern
//! (under PKU, U=0), or [`crate::pkru::ProtectionKey::EXCHANGE`]. A handler clears the register, then copies the
//! frame away.
//!
//! The routines touch neither IF nor the stack below `rsp`. They have no unwind information.

mod assembly;
mod context;
mod interrupt;
mod stub;

use core::convert::Infallible;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use uio_protocol::limits::GATE_DEPTH_MAX;

use crate::backend::{self, Backend, IA32_PKRS};
use crate::pkru::Pkru;
use assembly::Routines;
pub use context::{GateCall, GateContext};
pub use interrupt::{Settled, settle};
pub use stub::{GATE_INDEX_MAX, RING3_VECTOR, STUB_BYTES_MAX, Stub, StubError, StubKind, stub};

/// Context of threads that have none: always in the host.
static HOST: GateContext = GateContext::new();

/// Context of the running thread, never null. Public for the `sym` operands of the kernel's assembly;
/// write it through [`set_current`].
pub static CURRENT: AtomicPtr<GateContext> = AtomicPtr::new((&raw const HOST).cast_mut());

static GATE_HANDLER: AtomicUsize = AtomicUsize::new(0);
static TAMPERED_HANDLER: AtomicUsize = AtomicUsize::new(0);
static KILLED_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// What the gates call. All run with every right, on the host stack of the thread.
#[derive(Clone, Copy)]
pub struct Handlers {
    /// Serves a call and returns the domain's `rax`. Arguments are whatever the domain passed.
    pub gate: extern "C" fn(gate_index: u32, call: &mut GateCall) -> u64,
    /// The domain jumped into the middle of a gate. Must not return: ends the thread, or calls [`abort`].
    pub tampered: extern "C" fn(&GateContext) -> !,
    /// [`GateContext::request_kill`] was called, and the thread is about to go (back) into the domain.
    pub killed: extern "C" fn(&GateContext) -> !,
}

/// Registers the handlers, for all threads.
pub fn set_handlers(handlers: Handlers) {
    TAMPERED_HANDLER.store(handlers.tampered as *const () as usize, Ordering::Relaxed);
    KILLED_HANDLER.store(handlers.killed as *const () as usize, Ordering::Relaxed);
    // Last: `enter` looks at this one.
    GATE_HANDLER.store(handlers.gate as *const () as usize, Ordering::Release);
}

/// Makes a context the running thread's: the scheduler calls it at each switch. `None` for threads that enter no domain.
///
/// # Safety
/// The context must be the one that belongs to the thread that runs next, and stay valid and in place
/// until another is set. Calling this from host code that serves a gate takes the thread's frames from it.
pub unsafe fn set_current(context: Option<&GateContext>) {
    CURRENT.store(core::ptr::from_ref(context.unwrap_or(&HOST)).cast_mut(), Ordering::Relaxed);
}

/// Context of the running thread; `None` if it has none.
pub fn current() -> Option<*const GateContext> {
    let context = CURRENT.load(Ordering::Relaxed).cast_const();
    (context != &raw const HOST).then_some(context)
}

/// Why a domain was not entered, or did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterError {
    /// [`set_handlers`] was not called.
    NoHandlers,
    /// The context is not the running thread's.
    NotCurrent,
    /// That many domains are entered on this thread, which is the limit
    /// ([`uio_protocol::limits::GATE_DEPTH_MAX`]).
    DepthExceeded {
        /// The limit.
        limit: usize,
    },
    /// The stack's top is not a multiple of 16.
    MisalignedStack {
        /// The top.
        top: u64,
    },
    /// [`abort`] ended it, with this code.
    Aborted {
        /// What `abort` was given.
        code: u64,
    },
}

/// Calls the function at `entry` in a domain: on the stack that ends at `domain_stack_top`, with `pkru` in the
/// register (ignored without a backend), and returns what it returns.
///
/// Nests: a gate's handler may enter another domain. Registers that the call does not define are zero in the
/// domain. Afterwards callee-saved registers, DF, MXCSR and the x87 control word are as before.
///
/// # Errors
/// [`EnterError`]. A kill that is pending does not return: it ends in [`Handlers::killed`].
///
/// # Safety
/// - The selected backend's register allows everything now, and `pkru` allows what the domain needs:
///   writing its stack, reading `context` and this module's statics, writing neither.
/// - `entry` is code that returns by the System V ABI or ends by [`abort`]; if the register does not
///   contain it (no backend, or a wide `pkru`), it must be sound by itself.
/// - The domain's stack is used by nobody else until this returns.
/// - An [`abort`] leaves host frames above the last `enter` without running their destructors; callers
///   between two nested domains hold nothing that this would harm.
pub unsafe fn enter(
    context: &GateContext,
    entry: u64,
    arguments: [u64; 6],
    domain_stack_top: u64,
    pkru: Pkru,
) -> Result<u64, EnterError> {
    // SAFETY: the selected backend is on, as `backend::select` was told; the caller answers for the rest.
    unsafe { enter_on(backend::selected(), context, entry, arguments, domain_stack_top, pkru) }
}

/// [`enter`] with a backend named.
///
/// # Safety
/// As [`enter`], and the backend is on.
pub(crate) unsafe fn enter_on(
    backend: Backend,
    context: &GateContext,
    entry: u64,
    arguments: [u64; 6],
    domain_stack_top: u64,
    pkru: Pkru,
) -> Result<u64, EnterError> {
    const STACK_ALIGNMENT: u64 = 16;
    if GATE_HANDLER.load(Ordering::Acquire) == 0 {
        return Err(EnterError::NoHandlers);
    }
    if current() != Some(context) {
        return Err(EnterError::NotCurrent);
    }
    if context.depth() >= GATE_DEPTH_MAX {
        return Err(EnterError::DepthExceeded { limit: GATE_DEPTH_MAX });
    }
    if !domain_stack_top.is_multiple_of(STACK_ALIGNMENT) {
        return Err(EnterError::MisalignedStack { top: domain_stack_top });
    }
    let rights = if backend == Backend::None { Pkru::ALLOW_ALL } else { pkru };
    let frame = context::IN_DOMAIN | u64::from(rights.bits());
    let enter = routines(backend).enter;
    // SAFETY: the backend is on, the context is the running thread's, the stack aligned; the caller answers
    // for the rest.
    let result = unsafe { enter(context, entry, &raw const arguments, domain_stack_top, frame) };
    if context.aborted.swap(0, Ordering::Relaxed) != 0 {
        return Err(EnterError::Aborted { code: context.abort_code.load(Ordering::Relaxed) });
    }
    Ok(result)
}

/// No domain is entered on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEntered;

/// Ends the innermost domain's run from host code: its [`enter`] returns [`EnterError::Aborted`] with `code`.
///
/// For the handlers, a gate's handler, or a Linux signal handler. In ring 0, a trap handler uses [`prepare_abort`].
///
/// # Errors
/// [`NotEntered`]; otherwise it does not return.
///
/// # Safety
/// Runs on the thread whose domain it is, in host code. The frames between the innermost `enter` and here
/// are left without running destructors.
pub unsafe fn abort(code: u64) -> Result<Infallible, NotEntered> {
    let context = current().ok_or(NotEntered)?;
    // SAFETY: `set_current` promised that the current context stays valid.
    let target = unsafe { prepare_abort(&*context, code) }?;
    // SAFETY: the target restores stack and registers from the innermost frame of `enter` and never comes
    // back here; the caller allows that.
    unsafe { core::arch::asm!("jmp {target}", target = in(reg) target, options(noreturn)) }
}

/// Does the first half of [`abort`] and returns the address at which the thread has to go on for the
/// second: a trap handler stores it as the interrupted `rip`. No other register matters.
///
/// # Errors
/// [`NotEntered`].
///
/// # Safety
/// As [`abort`], and the thread must go on there.
pub unsafe fn prepare_abort(context: &GateContext, code: u64) -> Result<u64, NotEntered> {
    if context.depth() == 0 {
        return Err(NotEntered);
    }
    context.abort_code.store(code, Ordering::Relaxed);
    context.aborted.store(1, Ordering::Relaxed);
    Ok(routines(backend::selected()).unwind)
}

/// The text of a backend's routines: a fault in it while [`GateContext::in_domain`] is the domain's.
pub fn text(backend: Backend) -> Range<u64> {
    let routines = routines(backend);
    routines.entry..routines.end
}

/// Address of the checked write that a trap exit calls, see [`settle`].
pub fn checked_write(backend: Backend) -> u64 {
    routines(backend).write
}

fn routines(backend: Backend) -> Routines {
    match backend {
        Backend::None => assembly::none(),
        Backend::Pku => assembly::pku(),
        Backend::Pks => assembly::pks(),
    }
}

/// # Safety
/// CR4.PKE is set.
pub(crate) unsafe fn read_pkru() -> u32 {
    let value;
    // SAFETY: the caller promised that the instruction exists; it reads a register.
    unsafe {
        core::arch::asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    value
}

/// # Safety
/// Ring 0, and the processor has supervisor keys.
pub(crate) unsafe fn read_pkrs() -> u32 {
    let value;
    // SAFETY: the caller promised that the register exists and may be read.
    unsafe {
        core::arch::asm!("rdmsr", in("ecx") IA32_PKRS, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    value
}

/// # Safety
/// As [`crate::pkru::write`], and CR4.PKE is set.
pub(crate) unsafe fn write_pkru(value: u32) {
    // SAFETY: the caller's promise.
    unsafe { assembly::uio_isolation_write_pku(value) }
}

/// # Safety
/// As [`crate::pkru::write`], in ring 0 with CR4.PKS set.
pub(crate) unsafe fn write_pkrs(value: u32) {
    // SAFETY: the caller's promise.
    unsafe { assembly::uio_isolation_write_pks(value) }
}
