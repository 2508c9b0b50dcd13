//! A program bound to its maps and helpers: what the interpreter runs and the JIT compiles.

mod bind;
mod run;

pub use bind::BindError;
pub use run::{Entry, Program, call};

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use uio_protocol::bpf::ProgramKind;

use crate::instruction::{Callee, Decoded, Immediate64, Operation};
use crate::invocation::Invocation;

/// Bytes of stack that each function has below R10 (`MAX_BPF_STACK`).
pub const FRAME_BYTES: usize = 512;
/// Functions on the stack at once, the entry included (`BPF_MAX_CALL_FRAMES`).
pub const FRAMES_MAX: usize = 8;
/// Functions of a program whose address it may load: a call through a register compares it with each.
pub const TAKEN_MAX: usize = 64;
/// Number of `tail_call`. Both engines carry it out themselves. The function of this number is called for
/// `(context, map, index)` and returns the address of the [`Program`] to go on in, or 0.
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
        this.depth = bind::depth(&calls, &this.functions)?;
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
}

fn is_set(bits: &[u64], slot: u32) -> bool {
    bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
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
