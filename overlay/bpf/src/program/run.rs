//! Programs that can run, and the way into compiled code.

use super::Executable;
use crate::interpreter::{Machine, Unwatched};
use crate::invocation::{Invocation, Stopped};

/// A program that can run: an [`Executable`] and, if it was compiled, its machine code.
pub struct Program {
    executable: Executable,
    entry: Option<u64>,
}

impl Program {
    /// A program for the interpreter.
    #[must_use]
    pub const fn interpreted(executable: Executable) -> Self {
        Self { executable, entry: None }
    }

    /// A compiled program.
    ///
    /// # Safety
    ///
    /// `entry` is the address of the code that the JIT made from `executable`, executable for as long as this
    /// value lives.
    #[must_use]
    pub const unsafe fn compiled(executable: Executable, entry: u64) -> Self {
        Self { executable, entry: Some(entry) }
    }

    /// What it was made from.
    #[must_use]
    pub const fn executable(&self) -> &Executable {
        &self.executable
    }

    /// Where its machine code starts, if it was compiled.
    #[must_use]
    pub const fn entry(&self) -> Option<u64> {
        self.entry
    }

    /// Runs it and gives its R0. `machine` is for the interpreter.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if it came to no end.
    ///
    /// # Safety
    ///
    /// The verifier accepted the program for contexts like `invocation`'s, and nothing else writes
    /// that context meanwhile.
    #[inline]
    pub unsafe fn run(&self, machine: &mut Machine, invocation: &Invocation<'_>) -> Result<u64, Stopped> {
        match self.entry {
            // SAFETY: the caller's promise, and that of `compiled`.
            Some(entry) => unsafe { call(entry, invocation) },
            // SAFETY: the caller's promise.
            None => unsafe { machine.run(&self.executable, invocation, &mut Unwatched) },
        }
    }
}

/// How compiled code is entered.
pub type Entry = unsafe extern "sysv64" fn(u64, u64, *const Invocation<'_>) -> u64;

/// Calls compiled code.
///
/// # Safety
///
/// `entry` is the address of code made by the JIT, which may run with this invocation.
#[inline]
pub unsafe fn call(entry: u64, invocation: &Invocation<'_>) -> Result<u64, Stopped> {
    let entry = core::ptr::with_exposed_provenance::<()>(entry as usize);
    // SAFETY: the caller's promise; a function pointer is an address.
    let entry = unsafe { core::mem::transmute::<*const (), Entry>(entry) };
    // SAFETY: the caller's promise.
    let result = unsafe { entry(invocation.context, invocation.context_bytes, invocation) };
    match Stopped::from_number(invocation.stopped.get()) {
        None => Ok(result),
        Some(stopped) => Err(stopped),
    }
}
