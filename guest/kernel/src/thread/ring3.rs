//! Loaded code in ring 3: the same pages and keys, page tables in which it sees no supervisor page, gates by a
//! software interrupt.
//!
//! A call goes from the supervised thread's kernel stack into ring 3 by `iretq`. A gate's interrupt saves the
//! ring-3 context below the point on that stack where the call left it and goes on in [`serve`], in ring 0;
//! at its end a second interrupt restores the context. So gates are ordinary thread code, preemptible, and nest.

use alloc::string::ToString;
use core::arch::naked_asm;

use uio_isolation::gate::GateCall;
use uio_protocol::GuestAddress;
use uio_protocol::fault::Cause;
use uio_protocol::limits::GATE_DEPTH_MAX;

use super::scheduler;
use crate::arch::segments::{KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA};
use crate::arch::traps::{TrapFrame, VECTOR_GATE, VECTOR_RESUME};
use crate::mm::paging::Root;
use crate::mm::window;
use crate::sync::InterruptLock;

/// Gate index with which code in ring 3 returns from its call; no gate has it.
const RETURN_INDEX: u32 = u32::MAX;

/// Where a supervised thread stands between ring 0 and ring 3.
#[derive(Default)]
pub(crate) struct Ring3 {
    /// Stack pointer of the innermost call into ring 3; 0 outside any.
    host_rsp: u64,
    /// The ring-3 context of the gate that is being served; 0 outside.
    caller: u64,
    /// Calls into ring 3 that have not returned.
    depth: usize,
}

impl Ring3 {
    /// The context of the code whose gate is being served.
    pub(crate) fn caller(&self) -> Option<TrapFrame> {
        // SAFETY: `gate` put the frame on the thread's kernel stack, where it stays while the gate is served.
        (self.caller != 0).then(|| unsafe { *(self.caller as *const TrapFrame) })
    }
}

/// Code in ring 3 returns to this page: it tells the kernel, by [`RETURN_INDEX`].
static RETURN_PAGE: InterruptLock<Option<u64>> = InterruptLock::new(None);

/// `mov rdx, rax; mov eax, RETURN_INDEX; int VECTOR_GATE; ud2`.
const RETURN_CODE: [u8; 12] = [0x48, 0x89, 0xc2, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xcd, VECTOR_GATE, 0x0f, 0x0b];

/// The page to which ring-3 code returns, made at the first call.
fn return_page() -> Option<u64> {
    if let Some(page) = RETURN_PAGE.with(|page| *page) {
        return Some(page);
    }
    let page = window::map(1, "ring 3 return", false).ok()?;
    let access = uio_protocol::inspect::Access { write: false, execute: true };
    let filled = crate::mm::write(page, &RETURN_CODE).is_ok()
        && window::protect(page, 1, access, crate::mm::layout::KEY_EXCHANGE, true).is_ok();
    if !filled {
        window::unmap(page);
        return None;
    }
    RETURN_PAGE.with(|slot| *slot = Some(page));
    Some(page)
}

/// Why code cannot run in ring 3 here; `None` if it can.
#[must_use]
pub fn missing() -> Option<&'static str> {
    match crate::arch::cpu::key_register() {
        crate::arch::cpu::KeyRegister::Pkru => None,
        _ => Some(
            "ring 3 needs protection keys for user pages (PKU), so that extensions cannot write each other",
        ),
    }
}

/// A call into ring 3.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The function.
    pub function: GuestAddress,
    /// Its integer arguments.
    pub arguments: [u64; 6],
    /// One past the highest byte of its stack, a multiple of 16.
    pub stack_top: GuestAddress,
    /// PKRU while it runs.
    pub pkru: u32,
}

/// Calls loaded code in ring 3 on the running supervised thread; returns what it returns.
///
/// # Errors
///
/// Why the run cannot go on: nested too deeply, or no memory for the page that the code returns to.
pub fn call(call: &Call) -> Result<u64, Cause> {
    let failed = || Cause::Gate { argument: None, reason: "no memory to return from ring 3".to_string() };
    let page = return_page().ok_or_else(failed)?;
    let rsp = call.stack_top.0 - 8;
    // As a call instruction would leave it: the return address on top of the stack.
    crate::mm::write(rsp, &page.to_le_bytes()).map_err(|_| failed())?;
    let [rdi, rsi, rdx, rcx, r8, r9] = call.arguments;
    let frame = TrapFrame {
        rdi,
        rsi,
        rdx,
        rcx,
        r8,
        r9,
        key_rights: u64::from(call.pkru),
        rip: call.function.0,
        rsp,
        cs: USER_CODE,
        ss: USER_DATA,
        ..TrapFrame::start(0, 8, 0)
    };
    let (outer, slot) = scheduler::with_current(|thread| {
        let ring3 = &mut thread.supervised.as_mut().ok_or_else(failed)?.ring3;
        if ring3.depth == GATE_DEPTH_MAX {
            return Err(Cause::GateDepth);
        }
        // A gate that calls on into another domain is no longer what a report should show.
        let outer = core::mem::replace(ring3, Ring3 { depth: ring3.depth + 1, ..Ring3::default() });
        Ok((outer, &raw mut ring3.host_rsp))
    })?;
    // SAFETY: the frame is a ring-3 context on pages of the window; `slot` lies in the running thread, which stays
    // while it runs. Control comes back once, through `gate`, with the stack as it is here.
    let value = unsafe { leave(&raw const frame, slot) };
    scheduler::with_current(|thread| {
        if let Some(supervised) = thread.supervised.as_mut() {
            supervised.ring3 = outer;
        }
    });
    Ok(value)
}

/// Saves what a callee has to save, stores the stack pointer in `slot` and resumes `frame`. `gate` returns from it.
///
/// # Safety
///
/// `frame` is a ring-3 context, `slot` the running thread's [`Ring3::host_rsp`].
#[unsafe(naked)]
unsafe extern "C" fn leave(frame: *const TrapFrame, slot: *mut u64) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rsi], rsp",
        "int {resume}",
        "ud2",
        resume = const VECTOR_RESUME,
    )
}

/// Where `leave` goes on when the code in ring 3 returned: its value is in `rax`.
#[unsafe(naked)]
unsafe extern "C" fn leave_end() {
    naked_asm!("pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret")
}

/// The gate interrupt. Returns false if it does not come from ring-3 code that the kernel called.
pub(crate) fn gate(frame: &mut TrapFrame) -> bool {
    if !frame.is_ring3() {
        return false;
    }
    let host_rsp = scheduler::with_current(|thread| {
        thread.supervised.as_ref().map_or(0, |supervised| supervised.ring3.host_rsp)
    });
    if host_rsp == 0 {
        return false;
    }
    // In the page tables of ring 3 the kernel's pages are no user pages, so their keys hold nobody back: a gate that calls
    // on into a domain in ring 0 must not be on them.
    scheduler::set_root(Root::Kernel);
    if frame.rax as u32 == RETURN_INDEX {
        *frame = TrapFrame { rax: frame.rdx, ..TrapFrame::start(leave_end as *const () as u64, 8, 0) };
        frame.rsp = host_rsp;
        return true;
    }
    // The frame's own alignment, and below it that of a call.
    let saved = (host_rsp - size_of::<TrapFrame>() as u64) & !15;
    // SAFETY: the thread's kernel stack below `host_rsp` is free, and large enough for the frames of
    // GATE_DEPTH_MAX nested calls.
    unsafe { *(saved as *mut TrapFrame) = *frame };
    scheduler::with_current(|thread| {
        if let Some(supervised) = thread.supervised.as_mut() {
            supervised.ring3.caller = saved;
        }
    });
    *frame = TrapFrame::start(serve as *const () as u64, saved, saved);
    debug_assert!(frame.cs == KERNEL_CODE && frame.ss == KERNEL_DATA);
    true
}

/// Serves a gate call from ring 3, on the thread's kernel stack.
extern "C" fn serve(saved: *mut TrapFrame) -> ! {
    // SAFETY: `gate` put the frame there for this call alone.
    let frame = unsafe { &mut *saved };
    let index = frame.rax as u32;
    let args = [frame.rdi, frame.rsi, frame.rdx, frame.rcx, frame.r8, frame.r9];
    let mut call = GateCall::from_ring3(index, args, frame.rip, frame.rsp, frame.rbp, frame.rflags);
    frame.rax = uio_overlay::gate_entry(index, &mut call);
    if super::supervised::is_ending() {
        super::supervised::end_current(Cause::Interrupted);
    }
    scheduler::with_current(|thread| {
        if let Some(supervised) = thread.supervised.as_mut() {
            supervised.ring3.caller = 0;
        }
    });
    // SAFETY: the handler resumes the saved ring-3 context; nothing on this stack is needed any more.
    unsafe {
        core::arch::asm!(
            "int {resume}",
            "ud2",
            resume = const VECTOR_RESUME,
            in("rdi") saved,
            options(noreturn),
        )
    }
}

/// The resume interrupt, from ring 0: goes on with the context that `rdi` points to.
pub(crate) fn resume(frame: &mut TrapFrame) {
    let saved = frame.rdi as *const TrapFrame;
    // SAFETY: only `leave` and `serve` raise this vector (its gate is closed to ring 3, and domains in ring 0 that
    // raise it are refused by the caller), with a frame of theirs.
    *frame = unsafe { *saved };
    if frame.is_ring3() {
        scheduler::set_root(Root::Ring3);
    }
}
