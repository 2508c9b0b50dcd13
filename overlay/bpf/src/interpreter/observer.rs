//! Watching a program instruction by instruction.

use crate::instruction::Register;
use crate::program::Executable;

/// Sees every instruction before it is carried out, and every access that it makes, and may refuse: then the
/// run ends with [`crate::invocation::Stopped::Refused`]. For tests and for comparing runs with proofs.
pub trait Observer {
    /// Whether it wants to be called at all. Without, the interpreter has no checks in it.
    const WATCHES: bool = true;

    /// Before the instruction at `state.slot`.
    ///
    /// # Errors
    ///
    /// [`Refusal`] ends the run before it.
    fn instruction(&mut self, state: &State<'_>) -> Result<(), Refusal>;

    /// Before the instruction accesses memory.
    ///
    /// # Errors
    ///
    /// [`Refusal`] ends the run before it.
    fn access(&mut self, state: &State<'_>, access: Access) -> Result<(), Refusal>;

    /// Before helper `number` is called with R1 to R5. What it accesses is for the observer to know.
    ///
    /// # Errors
    ///
    /// [`Refusal`] ends the run before it.
    fn helper(&mut self, state: &State<'_>, number: u32) -> Result<(), Refusal> {
        let _ = (state, number);
        Ok(())
    }
}

/// The observer's no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal;

/// A program between two instructions.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// What runs; another one after a tail call.
    pub executable: &'a Executable,
    /// The instruction.
    pub slot: u32,
    /// How many functions are on the stack below this one.
    pub depth: usize,
    pub(super) registers: &'a [u64; 16],
}

impl State<'_> {
    /// What a register holds.
    #[must_use]
    pub const fn register(&self, register: Register) -> u64 {
        self.registers[register.index() & 15]
    }
}

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// First byte.
    pub address: u64,
    /// How many.
    pub bytes: u8,
    /// What is done.
    pub kind: AccessKind,
}

/// See [`Access`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named for what is done")]
pub enum AccessKind {
    Read,
    Write,
    Atomic,
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Observer for Unwatched {
    const WATCHES: bool = false;

    fn instruction(&mut self, _: &State<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn access(&mut self, _: &State<'_>, _: Access) -> Result<(), Refusal> {
        Ok(())
    }
}
