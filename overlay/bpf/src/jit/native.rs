//! Compiled programs in a Linux process: for tests, benchmarks and tools on the host.

use core::ptr::NonNull;

use super::{Code, EmitError, Options, Plan};
use crate::invocation::{Invocation, Stopped};
use crate::program::{Executable, Program, call};

/// Pages that are writable until they are sealed, and executable from then on.
#[derive(Debug)]
struct CodeMemory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its pages, and nothing about them depends on the thread.
unsafe impl Send for CodeMemory {}
// SAFETY: once shared they are only executed.
unsafe impl Sync for CodeMemory {}

/// Why there is no compiled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeError {
    /// The code could not be written.
    Emit(EmitError),
    /// The system gave no memory, or would not make it executable; `errno`.
    Memory(i32),
}

impl core::fmt::Display for NativeError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Emit(error) => error.fmt(formatter),
            Self::Memory(errno) => write!(formatter, "no memory for code (errno {errno})"),
        }
    }
}

impl core::error::Error for NativeError {}

fn errno() -> i32 {
    // SAFETY: the location is the calling thread's own and always valid.
    unsafe { *libc::__errno_location() }
}

/// How far from this crate's own code new code is asked for: near enough for direct calls.
const NEAR_BYTES: usize = 256 << 20;

impl CodeMemory {
    fn new(bytes: usize) -> Result<Self, NativeError> {
        let own = CodeMemory::new as *const () as usize;
        let hint = own.wrapping_sub(NEAR_BYTES) & !0xfff;
        // SAFETY: a new private mapping; the address is a hint, so nothing mapped is replaced.
        let start = unsafe {
            libc::mmap(
                core::ptr::without_provenance_mut(hint),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast::<libc::c_void>() != libc::MAP_FAILED => {
                Ok(Self { start, bytes })
            }
            _ => Err(NativeError::Memory(errno())),
        }
    }

    fn writable(&mut self) -> &mut [u8] {
        // SAFETY: the pages are ours, mapped, initialised with zeros and not yet sealed: `seal` takes `self`.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    fn seal(self) -> Result<Self, NativeError> {
        // SAFETY: the pages are ours, and no reference into them is left.
        let result = unsafe {
            libc::mprotect(self.start.as_ptr().cast(), self.bytes, libc::PROT_READ | libc::PROT_EXEC)
        };
        if result == 0 { Ok(self) } else { Err(NativeError::Memory(errno())) }
    }

    fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        // SAFETY: the pages are ours, and whoever runs code in them borrows this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A compiled program with its memory.
pub struct Compiled {
    program: Program,
    code: Code,
    memory: CodeMemory,
}

impl Compiled {
    /// Compiles `executable`.
    ///
    /// # Errors
    ///
    /// [`NativeError`].
    pub fn new(executable: Executable, options: &Options) -> Result<Self, NativeError> {
        let plan = Plan::new(&executable, options);
        let mut memory = CodeMemory::new(plan.bytes_bound())?;
        let address = memory.address();
        let code = plan.emit(memory.writable(), address).map_err(NativeError::Emit)?;
        drop(plan);
        let memory = memory.seal()?;
        // SAFETY: this is the code of `executable`, and its memory lives as long as this value.
        let program = unsafe { Program::compiled(executable, address) };
        Ok(Self { program, code, memory })
    }

    /// The program, for program arrays. It must not outlive this value.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// What was written.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }

    /// The machine code.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes were written, and pages with code are readable.
        unsafe { core::slice::from_raw_parts(self.memory.start.as_ptr(), self.code.bytes) }
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Runs it and gives its R0.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if it came to no end.
    ///
    /// # Safety
    ///
    /// As [`Program::run`].
    #[inline]
    pub unsafe fn run(&self, invocation: &Invocation<'_>) -> Result<u64, Stopped> {
        // SAFETY: the caller's promise; the code lives as long as `self`.
        unsafe { call(self.memory.address(), invocation) }
    }
}
