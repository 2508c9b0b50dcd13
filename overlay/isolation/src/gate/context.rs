//! What a gate knows about the thread it runs on, and about the call it serves.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::pkru::Pkru;

/// Set in [`GateContext::entitled`] while domain code runs.
pub(super) const IN_DOMAIN: u64 = 1 << 32;

/// A kernel thread's state of domains. Lives in memory that no domain can write and that every domain
/// can read; the assembly reads it through [`super::CURRENT`].
///
/// Atomics because an interrupt handler looks at it, on the same processor: relaxed order suffices.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct GateContext {
    /// Low half: the most that the code running now is entitled to. 0 in host code; in domain code its
    /// register value plus [`IN_DOMAIN`].
    pub(super) entitled: AtomicU64,
    /// What `entitled` is while the innermost domain runs.
    pub(crate) frame: AtomicU64,
    /// Stack pointer in the innermost frame of `enter`: a gate's stack begins there.
    pub(super) host_rsp: AtomicU64,
    /// Frames of `enter` on the host stack.
    pub(super) depth: AtomicU64,
    /// The call that is being served, null outside a gate.
    pub(super) call: AtomicPtr<GateCall>,
    /// Non-zero: the next way into domain code ends in the killed handler.
    pub(super) kill_pending: AtomicU32,
    /// Non-zero: the frame that ends next was aborted, with `abort_code`.
    pub(super) aborted: AtomicU32,
    pub(super) abort_code: AtomicU64,
}

impl GateContext {
    /// For a thread that is in no domain.
    pub const fn new() -> Self {
        Self {
            entitled: AtomicU64::new(0),
            frame: AtomicU64::new(0),
            host_rsp: AtomicU64::new(0),
            depth: AtomicU64::new(0),
            call: AtomicPtr::new(core::ptr::null_mut()),
            kill_pending: AtomicU32::new(0),
            aborted: AtomicU32::new(0),
            abort_code: AtomicU64::new(0),
        }
    }

    /// Whether the thread runs domain code (to the instruction, if [`super::settle`] was called first).
    ///
    /// True also for the few instructions of a gate that run with the domain's rights: a fault
    /// there, on the domain's stack pointer, is the domain's.
    pub fn in_domain(&self) -> bool {
        self.entitled.load(Ordering::Relaxed) & IN_DOMAIN != 0
    }

    /// Whether the thread runs host code on behalf of a domain.
    pub fn in_gate(&self) -> bool {
        self.depth() > 0 && !self.in_domain()
    }

    /// Domains entered and not yet left.
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed) as usize
    }

    /// Register value of the innermost domain; `None` outside any.
    pub fn domain_pkru(&self) -> Option<Pkru> {
        (self.depth() > 0).then(|| Pkru::from_bits(self.frame.load(Ordering::Relaxed) as u32))
    }

    /// The most that the code running now may have in its register.
    pub fn entitled(&self) -> Pkru {
        Pkru::from_bits(self.entitled.load(Ordering::Relaxed) as u32)
    }

    /// The call being served. Valid until the gate is left; read it on this thread, or while it is stopped.
    pub fn call(&self) -> Option<NonNull<GateCall>> {
        NonNull::new(self.call.load(Ordering::Relaxed))
    }

    /// Asks for the run to end where host code would next go (back) into a domain.
    pub fn request_kill(&self) {
        self.kill_pending.store(1, Ordering::Relaxed);
    }

    /// Whether the run is to end.
    pub fn kill_pending(&self) -> bool {
        self.kill_pending.load(Ordering::Relaxed) != 0
    }

    /// Takes the request back: the run has ended, and the thread serves another.
    pub fn clear_kill(&self) {
        self.kill_pending.store(0, Ordering::Relaxed);
    }
}

impl Default for GateContext {
    fn default() -> Self {
        Self::new()
    }
}

/// A call from a domain to the host. Lies on the host stack, out of the domain's reach; everything in it
/// is what the domain chose, except `rflags` and `mxcsr`, which are what the processor held.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateCall {
    /// Integer arguments in the order of the System V ABI. Arguments beyond the sixth, floating-point
    /// and by-value structure arguments are not supported.
    pub args: [u64; 6],
    /// Where the domain's code goes on.
    pub return_address: u64,
    /// Its stack pointer, at the return address. Unchecked.
    pub domain_rsp: u64,
    /// Index of the gate.
    pub gate_index: u64,
    /// Its MXCSR. The host runs with the default one if the control bits differ.
    pub mxcsr: u32,
    pub(super) reserved: u32,
    /// Its frame pointer, for a backtrace. Unchecked.
    pub domain_rbp: u64,
    /// Flags at entry. The arithmetic ones are already the gate's; IF, DF, AC, TF and NT are the domain's. The
    /// host runs with DF, AC, TF and NT clear, and with IF as the domain left it.
    pub rflags: u64,
}

impl GateCall {
    /// A call that came from ring 3 by the kernel's interrupt, from the registers it saved. Its MXCSR stays with them.
    #[must_use]
    pub const fn from_ring3(
        gate_index: u32,
        args: [u64; 6],
        return_address: u64,
        domain_rsp: u64,
        domain_rbp: u64,
        rflags: u64,
    ) -> Self {
        const MXCSR_DEFAULT: u32 = 0x1f80;
        Self {
            args,
            return_address,
            domain_rsp,
            gate_index: gate_index as u64,
            mxcsr: MXCSR_DEFAULT,
            reserved: 0,
            domain_rbp,
            rflags,
        }
    }
}
