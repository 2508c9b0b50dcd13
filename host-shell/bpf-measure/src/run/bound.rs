//! Programs bound to maps of their own.

use std::sync::Arc;

use uio_bpf::helper::FUNCTIONS;
use uio_bpf::instruction::{DecodeError, decode};
use uio_bpf::interpreter::Machine;
use uio_bpf::invocation::{Invocation, Stopped};
use uio_bpf::jit::{EmitError, Options, Plan};
use uio_bpf::map::{Map, MapError};
use uio_bpf::program::{BindError, Executable, Parts, Program};
use uio_bpf::services::Services;
use uio_protocol::bpf::ObjectImage;
use uio_verifier::{CheckError, Checked, Proof, check};

use super::{Memory, Pages, PagesError, Protection};

/// Seed of the maps' hashes: any number, the same for all engines.
const HASH_SEED: u64 = 0x5eed;

/// Passes over loops without a proven bound that runs get here: little, because watched runs are slow.
pub(super) const FUEL: i64 = 20;

/// Why a program cannot run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is the error of a step")]
pub enum PrepareError {
    #[error("the object has no program {0}")]
    NoProgram(usize),
    #[error("map {index}: {error}")]
    Map { index: usize, error: MapError },
    #[error("{0}")]
    Decode(DecodeError),
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Check(#[from] CheckError),
    #[error("{0}")]
    Emit(EmitError),
    #[error(transparent)]
    Pages(#[from] PagesError),
    #[error("rbpf: {0}")]
    Peer(String),
}

/// A program with maps of its own, freshly made. Nobody says that it is safe: it runs contained only.
pub struct Bound {
    pub(super) executable: Executable,
    pub(super) maps: Vec<Arc<Map>>,
    slots: Vec<u64>,
}

impl Bound {
    /// Binds program number `index` of `object`; `fuelled` as in [`Checked::fuel`].
    ///
    /// # Errors
    ///
    /// [`PrepareError`] for what does not fit together.
    pub fn new(object: &ObjectImage, index: usize, fuelled: &[u32]) -> Result<Self, PrepareError> {
        let program = object.programs.get(index).ok_or(PrepareError::NoProgram(index))?;
        let mut maps = Vec::with_capacity(object.maps.len());
        for (index, spec) in object.maps.iter().enumerate() {
            let inner = spec.inner.and_then(|inner| object.maps.get(inner as usize));
            let map = Map::new(spec, inner, HASH_SEED).map_err(|error| PrepareError::Map { index, error })?;
            maps.push(map);
        }
        let executable = Executable::new(Parts {
            kind: program.kind,
            operations: decode(&program.slots).map_err(PrepareError::Decode)?,
            functions: program.functions.clone(),
            maps: maps.iter().map(Map::binding).collect(),
            helpers: FUNCTIONS,
            fuelled: fuelled.to_vec(),
        })?;
        Ok(Self { executable, maps, slots: program.slots.clone() })
    }

    /// Its maps, by index.
    #[must_use]
    pub fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }

    /// Discards the records that a run, stopped by fuel, did not give back.
    pub(super) fn abandon(&self, invocation: &Invocation<'_>) {
        for map in &self.maps {
            map.abandon(invocation);
        }
    }

    /// Its instructions, bound.
    #[must_use]
    pub const fn executable(&self) -> &Executable {
        &self.executable
    }

    /// Its instructions as slots.
    #[must_use]
    pub fn slots(&self) -> &[u64] {
        &self.slots
    }
}

/// A bound program that passed the check.
pub struct Verified {
    bound: Bound,
    checked: Checked,
    machine: Box<Machine>,
}

impl Verified {
    /// Checks program number `index` of `object` against `proof` and binds it.
    ///
    /// # Errors
    ///
    /// [`PrepareError`]; [`PrepareError::Check`] if it is not shown to be safe.
    pub fn new(object: &ObjectImage, index: usize, proof: &Proof) -> Result<Self, PrepareError> {
        let checked = check(object, index, proof)?;
        let bound = Bound::new(object, index, &checked.fuel)?;
        Ok(Self { bound, checked, machine: Box::default() })
    }

    /// The program.
    #[must_use]
    pub const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What the check says of it.
    #[must_use]
    pub const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Runs it in the interpreter, as the guest does: nothing is watched.
    ///
    /// # Errors
    ///
    /// [`Stopped`], as the program does.
    pub fn interpret(&mut self, memory: &mut Memory, services: &dyn Services) -> Result<u64, Stopped> {
        let (first, second) = memory.arguments();
        let invocation = Invocation::new(memory.kind(), first, second, services);
        invocation.fuel.set(FUEL);
        // SAFETY: the program passed the check for contexts of its kind; the memory is borrowed alone. A context of another
        // kind is refused.
        let result = unsafe { self.interpret_with(&invocation) };
        self.bound.abandon(&invocation);
        result
    }

    /// # Safety
    ///
    /// The invocation's context is memory for a program of this kind, and nobody else uses it.
    pub(crate) unsafe fn interpret_with(&mut self, invocation: &Invocation<'_>) -> Result<u64, Stopped> {
        if invocation.kind != self.bound.executable.kind() {
            return Err(Stopped::Refused);
        }
        let mut unwatched = uio_bpf::interpreter::Unwatched;
        // SAFETY: the caller's promise, and the check's.
        unsafe { self.machine.run(&self.bound.executable, invocation, &mut unwatched) }
    }

    /// Compiles it to machine code.
    ///
    /// # Errors
    ///
    /// [`PrepareError`] without memory, or if the compiler gives up.
    pub fn compile(self, options: &Options) -> Result<Compiled, PrepareError> {
        let (pages, bytes) = emit(&self.bound.executable, options)?;
        // SAFETY: the code was made from this executable for this address; the pages live in the same value.
        let program = unsafe { Program::compiled(self.bound.executable.clone(), pages.address()) };
        let entry = pages.address();
        Ok(Compiled {
            entry,
            program,
            machine: self.machine,
            bound: self.bound,
            code_bytes: bytes,
            _pages: pages,
        })
    }
}

/// Compiles into pages of their own; gives also the size of the code.
pub(crate) fn emit(executable: &Executable, options: &Options) -> Result<(Pages, usize), PrepareError> {
    let plan = Plan::new(executable, options);
    let mut bytes = plan.bytes_bound();
    let mut again = true;
    loop {
        let mut pages = Pages::new(bytes, Protection::Sealed)?;
        let address = pages.address();
        match plan.emit(pages.bytes_mut(), address) {
            Ok(code) => {
                pages.seal()?;
                return Ok((pages, code.bytes));
            }
            // It says what is enough, so once is all it takes.
            Err(EmitError::TooSmall { bytes: needed }) if again => {
                bytes = needed;
                again = false;
            }
            Err(error) => return Err(PrepareError::Emit(error)),
        }
    }
}

/// A program that passed the check, in machine code.
pub struct Compiled {
    program: Program,
    machine: Box<Machine>,
    bound: Bound,
    entry: u64,
    code_bytes: usize,
    _pages: Pages,
}

impl Compiled {
    /// The program.
    #[must_use]
    pub const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Address of its machine code, which lives as long as this value.
    pub(crate) const fn entry(&self) -> u64 {
        self.entry
    }

    /// Bytes of machine code.
    #[must_use]
    pub const fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// [`Stopped`], as the program does.
    pub fn run(&mut self, memory: &mut Memory, services: &dyn Services) -> Result<u64, Stopped> {
        let (first, second) = memory.arguments();
        let invocation = Invocation::new(memory.kind(), first, second, services);
        invocation.fuel.set(FUEL);
        // SAFETY: the program passed the check for contexts of its kind; the memory is borrowed alone.
        let result = unsafe { self.run_with(&invocation) };
        self.bound.abandon(&invocation);
        result
    }

    /// # Safety
    ///
    /// The invocation's context is memory for a program of this kind, and nobody else uses it.
    #[inline]
    pub(crate) unsafe fn run_with(&mut self, invocation: &Invocation<'_>) -> Result<u64, Stopped> {
        if invocation.kind != self.bound.executable.kind() {
            return Err(Stopped::Refused);
        }
        // SAFETY: the caller's promise, and the check's.
        unsafe { self.program.run(&mut self.machine, invocation) }
    }
}
