//! A program bound to its maps and helpers: what the interpreter runs and the JIT compiles.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use uio_protocol::bpf::ProgramKind;

use crate::instruction::{Callee, Decoded, Immediate64, Operation};
use crate::interpreter::{Machine, Unwatched};
use crate::invocation::{Invocation, Stopped};

/// Bytes of stack that each function has below R10 (`MAX_BPF_STACK`).
pub const FRAME_BYTES: usize = 512;
/// Functions on the stack at once, the entry included (`BPF_MAX_CALL_FRAMES`).
pub const FRAMES_MAX: usize = 8;
/// Number of `tail_call`. Both engines carry it out themselves. The function of this number is called for
/// `(context, map, index)` and returns the address of the [`crate::program::Program`] to go on in, or 0.
pub const TAIL_CALL: u32 = 12;
/// Number of `loop`. Both engines carry it out themselves, so no function has this number.
pub const LOOP: u32 = 181;
/// Rounds that `loop` makes at most, as in Linux (`BPF_MAX_LOOPS`).
pub const LOOP_ROUNDS_MAX: u64 = 1 << 23;

/// What `loop` returns for flags (`-EINVAL`).
pub const WRONG_ARGUMENT: u64 = -22_i64 as u64;
/// What `loop` returns for more rounds than [`LOOP_ROUNDS_MAX`] (`-E2BIG`).
pub const LOOP_TOO_LONG: u64 = -7_i64 as u64;
/// What R0 holds after a tail call that did not happen (`-EINVAL`).
pub const TAIL_CALL_FAILED: u64 = -22_i64 as u64;

/// A helper: R1 to R5 and the run. Returns R0.
///
/// # Safety
///
/// The arguments are what the helper's [`crate::helper::Prototype`] says, the invocation is live.
pub type HelperFunction = unsafe extern "sysv64" fn(u64, u64, u64, u64, u64, *const Invocation<'_>) -> u64;

/// Helpers by number, ascending.
pub type HelperTable = [(u32, HelperFunction)];

/// A map as a program sees it.
#[derive(Clone)]
pub struct MapBinding {
    /// What loading the map gives, for helpers: its address.
    pub address: u64,
    /// Where its values lie if it is an array (of any kind with 32-bit indices as keys and values in one row): for
    /// addresses of values, and for lookups without a call.
    pub array: Option<ArrayLayout>,
    /// A function to call instead of helper 1 when a program looks up this map.
    pub lookup: Option<HelperFunction>,
    /// Whatever has to live as long as the program does.
    pub owner: Option<Arc<dyn Any + Send + Sync>>,
}

/// Values of an array in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayLayout {
    /// Address of the value with index 0.
    pub base: u64,
    /// Bytes from one value to the next.
    pub stride: u32,
    /// How many there are.
    pub entries: u32,
}

/// The high half of a function's value in a register; the low half is its first slot. No address looks like this, and no
/// machine address of code ever stands in a program's registers.
const FUNCTION_TAG: u64 = 0xbf0f_0000_0000_0000;

/// What a register holds after loading the address of the function at `slot`.
#[must_use]
pub const fn function_value(slot: u32) -> u64 {
    FUNCTION_TAG | slot as u64
}

/// The parts of an [`Executable`].
pub struct Parts {
    /// What it is called with.
    pub kind: ProgramKind,
    /// Its instructions.
    pub operations: Decoded,
    /// First slot of every function, ascending; the entry is the first and starts at slot 0.
    pub functions: Vec<u32>,
    /// Its maps, by index.
    pub maps: Vec<MapBinding>,
    /// What it may call.
    pub helpers: &'static HelperTable,
    /// Slots of those backward jumps that cost fuel, in any order.
    pub fuelled: Vec<u32>,
}

/// A program bound to its maps and helpers.
///
/// Its jumps stay inside their functions, its calls lead to functions and helpers that exist, and no chain of
/// calls is longer than [`FRAMES_MAX`]. That its accesses are safe is for the verifier to say.
#[derive(Clone)]
pub struct Executable {
    kind: ProgramKind,
    operations: Decoded,
    functions: Vec<u32>,
    taken: Vec<u32>,
    depth: usize,
    maps: Vec<MapBinding>,
    helpers: &'static HelperTable,
    targets: Vec<u64>,
    fuelled: Vec<u64>,
    numbered_callees: bool,
}

/// Why parts do not make an [`Executable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are the slot and what it names")]
pub enum BindError {
    /// The list of functions is empty, does not start at 0, is not ascending, or names no instruction.
    Functions,
    /// There is no such helper here.
    Helper { slot: u32, number: u32 },
    /// The object has no such map.
    Map { slot: u32, map: u32 },
    /// The map is no array, or the offset is not inside its first value.
    MapValue { slot: u32, map: u32, offset: u32 },
    /// A jump leaves its function.
    Jump { slot: u32, target: u32 },
    /// A call, or the load of a function's address, of something that is no function.
    Callee { slot: u32, target: u32 },
    /// A tail call from a function other than the entry.
    TailCall { slot: u32 },
    /// A chain of calls is longer than [`FRAMES_MAX`], or closes.
    Depth { function: u32 },
    /// Execution could run on past the function's last instruction.
    End { slot: u32 },
    /// Only backward jumps can cost fuel.
    Fuel { slot: u32 },
}

impl fmt::Display for BindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Functions => formatter.write_str("its list of functions is not in order"),
            Self::Helper { slot, number } => {
                write!(formatter, "instruction {slot}: there is no helper {number}")
            }
            Self::Map { slot, map } => write!(formatter, "instruction {slot}: there is no map {map}"),
            Self::MapValue { slot, map, offset } => {
                write!(formatter, "instruction {slot}: map {map} has no value with a byte {offset}")
            }
            Self::Jump { slot, target } => {
                write!(formatter, "instruction {slot}: jumps out of its function to {target}")
            }
            Self::Callee { slot, target } => {
                write!(formatter, "instruction {slot}: no function starts at {target}")
            }
            Self::TailCall { slot } => {
                write!(formatter, "instruction {slot}: tail calls are for the entry function")
            }
            Self::Depth { function } => {
                write!(
                    formatter,
                    "the function at {function} can be more than {FRAMES_MAX} calls deep or call itself"
                )
            }
            Self::End { slot } => {
                write!(formatter, "instruction {slot}: the function goes on past its last instruction")
            }
            Self::Fuel { slot } => write!(formatter, "instruction {slot}: only backward jumps cost fuel"),
        }
    }
}

impl core::error::Error for BindError {}

impl Executable {
    /// Puts `parts` together.
    ///
    /// # Errors
    ///
    /// [`BindError`] for what does not fit.
    pub fn new(parts: Parts) -> Result<Self, BindError> {
        let Parts { kind, operations, functions, maps, helpers, fuelled } = parts;
        let targets = alloc::vec![0; operations.len().div_ceil(64) as usize];
        let mut this = Self {
            kind,
            operations,
            functions,
            taken: Vec::new(),
            depth: 1,
            maps,
            helpers,
            targets,
            fuelled: Vec::new(),
            numbered_callees: false,
        };
        this.check_functions()?;
        let calls = this.check_operations()?;
        this.depth = depth(&calls, &this.functions)?;
        this.mark(&fuelled)?;
        Ok(this)
    }

    /// Lets calls through registers name helpers by number too, as the public conformance suite does.
    /// For programs that nobody verifies.
    #[must_use]
    pub fn with_numbered_callees(mut self) -> Self {
        self.numbered_callees = true;
        self
    }

    /// What it is called with.
    #[must_use]
    pub const fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// Its instructions.
    #[must_use]
    pub const fn operations(&self) -> &Decoded {
        &self.operations
    }

    /// First slot of every function, ascending.
    #[must_use]
    pub fn functions(&self) -> &[u32] {
        &self.functions
    }

    /// First slots of the functions whose address the program loads, ascending.
    #[must_use]
    pub fn taken(&self) -> &[u32] {
        &self.taken
    }

    /// Frames of stack in its longest chain of calls, at most [`FRAMES_MAX`].
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Its maps.
    #[must_use]
    pub fn maps(&self) -> &[MapBinding] {
        &self.maps
    }

    /// The function behind helper `number`.
    #[must_use]
    pub fn helper(&self, number: u32) -> Option<HelperFunction> {
        let index = self.helpers.binary_search_by_key(&number, |entry| entry.0).ok()?;
        Some(self.helpers[index].1)
    }

    /// All helpers.
    #[must_use]
    pub const fn helpers(&self) -> &'static HelperTable {
        self.helpers
    }

    /// Whether a register may hold a helper's number when it is called.
    #[must_use]
    pub const fn numbered_callees(&self) -> bool {
        self.numbered_callees
    }

    /// Whether taking the backward jump at `slot` costs fuel.
    #[must_use]
    pub fn is_fuelled(&self, slot: u32) -> bool {
        is_set(&self.fuelled, slot)
    }

    /// Whether some jump leads to `slot`.
    #[must_use]
    pub fn is_target(&self, slot: u32) -> bool {
        is_set(&self.targets, slot)
    }

    /// Whether any jump costs fuel.
    #[must_use]
    pub const fn has_fuelled(&self) -> bool {
        !self.fuelled.is_empty()
    }

    /// Which function `value` names, if a register holds it.
    #[must_use]
    pub fn function_of_value(&self, value: u64) -> Option<u32> {
        let slot = value as u32;
        (value == function_value(slot) && self.taken.binary_search(&slot).is_ok()).then_some(slot)
    }

    /// What a 64-bit immediate load of an address loads. Bindings were checked when this was made.
    #[must_use]
    pub fn immediate(&self, value: Immediate64) -> u64 {
        match value {
            Immediate64::Value(value) => value,
            Immediate64::Map(map) => self.maps.get(map as usize).map_or(0, |map| map.address),
            Immediate64::MapValue { map, offset } => self
                .maps
                .get(map as usize)
                .and_then(|map| map.array)
                .map_or(0, |array| array.base + u64::from(offset)),
            Immediate64::Function(slot) => function_value(slot),
        }
    }

    fn check_functions(&self) -> Result<(), BindError> {
        let in_order = self.functions.first() == Some(&0)
            && self.functions.is_sorted_by(|before, after| before < after)
            && self.functions.iter().all(|start| self.operations.get(*start).is_some());
        if in_order { Ok(()) } else { Err(BindError::Functions) }
    }

    /// Checks what each operation names, collects the functions whose address is taken and all calls
    /// (caller and callee as indices of functions; `None` for a call of whatever is taken).
    fn check_operations(&mut self) -> Result<Vec<(usize, Option<usize>)>, BindError> {
        let mut calls = Vec::new();
        let mut function = 0;
        let mut end = self.end(0);
        for (slot, operation) in self.operations.iter() {
            if slot >= end {
                function += 1;
                end = self.end(function);
            }
            let start = self.functions[function];
            let width = if matches!(operation, Operation::LoadImmediate { .. }) { 2 } else { 1 };
            if slot + width == end && !matches!(operation, Operation::Exit | Operation::Jump { .. }) {
                return Err(BindError::End { slot });
            }
            match operation {
                Operation::Jump { target } | Operation::JumpIf { target, .. } => {
                    if !(start..end).contains(&target) {
                        return Err(BindError::Jump { slot, target });
                    }
                    set(&mut self.targets, target);
                }
                Operation::Call(Callee::Function(target)) => {
                    calls.push((function, Some(self.index(slot, target)?)));
                }
                Operation::Call(Callee::Register(_) | Callee::Helper(LOOP)) => {
                    calls.push((function, None));
                }
                Operation::Call(Callee::Helper(number)) => {
                    if self.helper(number).is_none() {
                        return Err(BindError::Helper { slot, number });
                    }
                    if number == TAIL_CALL && function != 0 {
                        return Err(BindError::TailCall { slot });
                    }
                }
                Operation::LoadImmediate { value: Immediate64::Function(target), .. } => {
                    self.index(slot, target)?;
                    if let Err(place) = self.taken.binary_search(&target) {
                        self.taken.insert(place, target);
                    }
                }
                Operation::LoadImmediate { value: Immediate64::Map(map), .. }
                    if map as usize >= self.maps.len() =>
                {
                    return Err(BindError::Map { slot, map });
                }
                Operation::LoadImmediate { value: Immediate64::MapValue { map, offset }, .. } => {
                    let binding = self.maps.get(map as usize).ok_or(BindError::Map { slot, map })?;
                    // One past the end is an address that compilers form.
                    if binding.array.is_none_or(|array| array.entries == 0 || offset > array.stride) {
                        return Err(BindError::MapValue { slot, map, offset });
                    }
                }
                _ => {}
            }
        }
        for (_, callee) in &mut calls {
            // A call of whatever is taken leads to one place that leads to all of them.
            callee.get_or_insert(self.functions.len());
        }
        for target in &self.taken {
            calls.push((self.functions.len(), self.functions.binary_search(target).ok()));
        }
        Ok(calls)
    }

    /// One past the last slot of function `index`.
    pub(crate) fn end(&self, index: usize) -> u32 {
        self.functions.get(index + 1).copied().unwrap_or(self.operations.len())
    }

    fn index(&self, slot: u32, target: u32) -> Result<usize, BindError> {
        self.functions.binary_search(&target).map_err(|_| BindError::Callee { slot, target })
    }

    fn mark(&mut self, fuelled: &[u32]) -> Result<(), BindError> {
        if fuelled.is_empty() {
            return Ok(());
        }
        self.fuelled = alloc::vec![0; self.operations.len().div_ceil(64) as usize];
        for &slot in fuelled {
            match self.operations.get(slot) {
                Some(Operation::Jump { target } | Operation::JumpIf { target, .. }) if target <= slot => {
                    set(&mut self.fuelled, slot);
                }
                _ => return Err(BindError::Fuel { slot }),
            }
        }
        Ok(())
    }
}

fn set(bits: &mut [u64], slot: u32) {
    if let Some(word) = bits.get_mut(slot as usize / 64) {
        *word |= 1 << (slot % 64);
    }
}

fn is_set(bits: &[u64], slot: u32) -> bool {
    bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
}

/// Frames in the longest chain of `calls`. The last index stands for "whatever is taken" and is no frame.
fn depth(calls: &[(usize, Option<usize>)], functions: &[u32]) -> Result<usize, BindError> {
    let mut depths = alloc::vec![1_usize; functions.len() + 1];
    depths[functions.len()] = 0;
    // Each round knows chains longer by one call, of which at most every other leads to the pseudo function and counts
    // nothing: about twice FRAMES_MAX rounds.
    loop {
        let mut changed = false;
        for &(caller, callee) in calls {
            let Some(callee) = callee else { continue };
            let depth = depths[caller] + usize::from(callee < functions.len());
            if depth > FRAMES_MAX {
                let function = functions.get(callee).or(functions.get(caller)).copied().unwrap_or(0);
                return Err(BindError::Depth { function });
            }
            if depth > depths[callee] {
                depths[callee] = depth;
                changed = true;
            }
        }
        if !changed {
            return Ok(depths.into_iter().max().unwrap_or(1));
        }
    }
}

/// Where the functions of a program without a list of them start: slot 0 and whatever is called or has its address
/// taken.
#[must_use]
pub fn functions_of(operations: &Decoded) -> Vec<u32> {
    let mut functions = alloc::vec![0];
    for (_, operation) in operations.iter() {
        if let Operation::Call(Callee::Function(target))
        | Operation::LoadImmediate { value: Immediate64::Function(target), .. } = operation
        {
            functions.push(target);
        }
    }
    functions.sort_unstable();
    functions.dedup();
    functions
}

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
