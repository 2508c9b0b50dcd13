//! Running any program at all, contained.
//!
//! Every access and every helper's arguments are compared with what the run owns before they happen. The comparison uses
//! addresses only and nothing that the verifier concluded, so that it finds the verifier's mistakes.

use std::ops::Range;

use uio_bpf::context::{FieldKind, fields};
use uio_bpf::helper::{Argument, Prototype, Returns, prototype};
use uio_bpf::instruction::Register;
use uio_bpf::interpreter::{Access, AccessKind, Machine, Observer, Refusal, State};
use uio_bpf::invocation::{Invocation, Stopped};
use uio_bpf::map::is_read_only;
use uio_bpf::program::{FRAME_BYTES, FRAMES_MAX};
use uio_bpf::services::Services;
use uio_protocol::bpf::{MapKind, ProgramKind};

use super::bound::FUEL;
use super::regions::{Region, Written, within};
use super::{Bound, Memory};

/// What a contained program tried, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The instruction.
    pub slot: u32,
    /// What.
    pub kind: ViolationKind,
}

/// See [`Violation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// An access to memory that is not the run's, or not for writing.
    Access(Access),
    /// A read of stack that was not written since its function began.
    Unwritten(Access),
    /// An atomic access that is not naturally aligned.
    Unaligned(Access),
    /// A helper's argument is not what its prototype asks for.
    Argument {
        /// The helper.
        helper: u32,
        /// R1 to R5.
        register: u8,
    },
    /// A helper that there is none of, or not for this kind of program.
    Helper(u32),
    /// The program ended with records that it did not give back.
    Records(usize),
    /// The watcher disagrees.
    Claim(String),
}

/// How a contained run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contained {
    /// With this R0.
    Ended(u64),
    /// Stopped by the engine.
    Stopped(Stopped),
    /// It tried something that it may not, and did not get to do it.
    Violated(Violation),
    /// It made more steps than it was given.
    Endless,
}

/// Sees every instruction of a contained run.
pub trait Watch {
    /// Before an instruction.
    ///
    /// # Errors
    ///
    /// What is wrong with the state: the run ends with [`ViolationKind::Claim`].
    fn instruction(&mut self, watched: &Watched<'_>) -> Result<(), String>;
}

impl Watch for () {
    fn instruction(&mut self, _: &Watched<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A contained run between two instructions.
pub struct Watched<'a> {
    state: &'a State<'a>,
    guard: &'a Ground<'a>,
}

impl Watched<'_> {
    /// The instruction that comes next.
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.state.slot
    }

    /// Functions on the stack below the current one.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.state.depth
    }

    /// What a register holds.
    #[must_use]
    pub const fn register(&self, register: Register) -> u64 {
        self.state.register(register)
    }

    /// One past the stack of the function at `depth`: its R10.
    #[must_use]
    pub fn frame(&self, depth: usize) -> u64 {
        self.guard.stack.end - (depth * FRAME_BYTES) as u64
    }

    /// The context, or a raw program's memory.
    #[must_use]
    pub fn context(&self) -> u64 {
        self.guard.memory.arguments().0
    }

    /// First byte, end and first byte of metadata of the packet.
    #[must_use]
    pub fn packet(&self) -> (u64, u64, u64) {
        self.guard.memory.packet()
    }

    /// Address of map number `index`.
    #[must_use]
    pub fn map(&self, index: u32) -> Option<u64> {
        Some(self.guard.bound.maps.get(index as usize)?.address())
    }

    /// Addresses at which values of map number `index` start: all of an array's, and those of others that the run
    /// has been given.
    #[must_use]
    pub fn map_values(&self, index: u32) -> Vec<u64> {
        let Some(map) = self.guard.bound.maps.get(index as usize) else { return Vec::new() };
        if let Some(array) = map.array_layout() {
            return (0..array.entries)
                .map(|entry| array.base + u64::from(entry) * u64::from(array.stride))
                .collect();
        }
        let found = self.guard.found.iter().filter(|region| !region.record && region.map == index);
        found.map(|region| region.start).collect()
    }

    /// Addresses and sizes of the records that were reserved and not given back.
    #[must_use]
    pub fn records(&self) -> Vec<(u64, u64)> {
        let records = self.guard.found.iter().filter(|region| region.record);
        records.map(|region| (region.start, region.bytes)).collect()
    }

    /// Eight bytes of stack at `address`, and which of them were written, bit 0 the lowest.
    #[must_use]
    pub fn stack_word(&self, address: u64) -> Option<(u64, u8)> {
        if !within(&self.guard.stack, address, 8) || !address.is_multiple_of(8) {
            return None;
        }
        let written = (0..8).filter(|byte| self.guard.written.all(address + byte, 1));
        let mask = written.fold(0u8, |mask, byte| mask | 1 << byte);
        // SAFETY: inside the machine's stack, aligned, and nothing else writes it while the run stands still.
        let word = unsafe { std::ptr::with_exposed_provenance::<u64>(address as usize).read() };
        Some((word, mask))
    }
}

/// What the run owns.
struct Ground<'a> {
    bound: &'a Bound,
    memory: &'a Memory,
    stack: Range<u64>,
    written: Written,
    found: Vec<Region>,
}

/// What the helper before gives in R0.
enum Pending {
    Value { map: u32 },
    Record { bytes: u64 },
}

struct Guard<'a, W> {
    ground: Ground<'a>,
    watch: &'a mut W,
    pending: Option<Pending>,
    depth: usize,
    steps_left: u64,
    violation: Option<Violation>,
    endless: bool,
}

/// Registers R1 to R5.
fn argument_register(index: usize) -> Register {
    Register::new(index as u8 + 1).unwrap_or(Register::R1)
}

impl Bound {
    /// Runs the program, whatever it is, for at most `steps` instructions; `watch` sees each of them.
    pub fn contain<W: Watch>(
        &self,
        memory: &mut Memory,
        services: &dyn Services,
        steps: u64,
        watch: &mut W,
    ) -> Contained {
        if memory.kind() != self.executable.kind() {
            return Contained::Stopped(Stopped::Refused);
        }
        let mut machine = Box::new(Machine::new());
        let stack = machine.stack();
        let (first, second) = memory.arguments();
        let invocation = Invocation::new(memory.kind(), first, second, services);
        invocation.fuel.set(FUEL);
        let mut guard = Guard {
            ground: Ground {
                bound: self,
                memory,
                written: Written::new(stack.clone()),
                stack,
                found: Vec::new(),
            },
            watch,
            pending: None,
            depth: 0,
            steps_left: steps,
            violation: None,
            endless: false,
        };
        // SAFETY: the guard refuses every access and every call of a helper that the run does not own the memory for.
        let result = unsafe { machine.run(&self.executable, &invocation, &mut guard) };
        self.abandon(&invocation);
        if let Some(violation) = guard.violation {
            return Contained::Violated(violation);
        }
        if guard.endless {
            return Contained::Endless;
        }
        let records = guard.ground.found.iter().filter(|region| region.record).count();
        match result {
            Ok(_) if records > 0 => {
                let slot = self.executable.operations().len();
                Contained::Violated(Violation { slot, kind: ViolationKind::Records(records) })
            }
            Ok(value) => Contained::Ended(value),
            Err(stopped) => Contained::Stopped(stopped),
        }
    }
}

impl<W: Watch> Observer for Guard<'_, W> {
    fn instruction(&mut self, state: &State<'_>) -> Result<(), Refusal> {
        if self.steps_left == 0 {
            self.endless = true;
            return Err(Refusal);
        }
        self.steps_left -= 1;
        if let Some(pending) = self.pending.take() {
            self.ground.receive(&pending, state.register(Register::R0));
        }
        if state.depth > self.depth {
            let end = state.register(Register::FRAME);
            self.ground.written.set(end - FRAME_BYTES as u64, FRAME_BYTES as u64, false);
        }
        self.depth = state.depth;
        let watched = Watched { state, guard: &self.ground };
        match self.watch.instruction(&watched) {
            Ok(()) => Ok(()),
            Err(claim) => self.refuse(state.slot, ViolationKind::Claim(claim)),
        }
    }

    fn access(&mut self, state: &State<'_>, access: Access) -> Result<(), Refusal> {
        let (address, bytes) = (access.address, u64::from(access.bytes));
        if access.kind == AccessKind::Atomic && !address.is_multiple_of(bytes) {
            return self.refuse(state.slot, ViolationKind::Unaligned(access));
        }
        let writes = access.kind != AccessKind::Read;
        if !self.ground.owns(state.depth, address, bytes, writes) {
            return self.refuse(state.slot, ViolationKind::Access(access));
        }
        if within(&self.ground.stack, address, bytes) {
            if access.kind != AccessKind::Write && !self.ground.written.all(address, bytes) {
                return self.refuse(state.slot, ViolationKind::Unwritten(access));
            }
            self.ground.written.set(address, bytes, true);
        }
        Ok(())
    }

    fn helper(&mut self, state: &State<'_>, number: u32) -> Result<(), Refusal> {
        let kind = self.ground.memory.kind();
        let Some(prototype) = prototype(number).filter(|prototype| prototype.programs.contains(kind)) else {
            return self.refuse(state.slot, ViolationKind::Helper(number));
        };
        match self.ground.arguments(state, prototype) {
            Ok(pending) => {
                self.pending = pending;
                Ok(())
            }
            Err(register) => self.refuse(state.slot, ViolationKind::Argument { helper: number, register }),
        }
    }
}

impl<W> Guard<'_, W> {
    fn refuse(&mut self, slot: u32, kind: ViolationKind) -> Result<(), Refusal> {
        self.violation = Some(Violation { slot, kind });
        Err(Refusal)
    }
}

impl Ground<'_> {
    /// Notes what a helper gave.
    fn receive(&mut self, pending: &Pending, address: u64) {
        if address == 0 {
            return;
        }
        let region = match *pending {
            Pending::Value { map } => {
                let Some(spec) = self.bound.maps.get(map as usize).map(|map| map.spec()) else { return };
                if matches!(spec.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
                    return;
                }
                let bytes = u64::from(spec.value_bytes);
                Region { start: address, bytes, writable: !is_read_only(spec), record: false, map }
            }
            Pending::Record { bytes } => {
                Region { start: address, bytes, writable: true, record: true, map: u32::MAX }
            }
        };
        if !self.found.contains(&region) {
            self.found.push(region);
        }
    }

    /// Whether the run may access these bytes. Where the packet lies is read anew each time.
    fn owns(&self, depth: usize, address: u64, bytes: u64, writes: bool) -> bool {
        let unused = FRAMES_MAX.saturating_sub(depth + 1) * FRAME_BYTES;
        let stack = self.stack.start + unused as u64..self.stack.end;
        within(&stack, address, bytes)
            || within(&self.memory.writable(), address, bytes)
            || (!writes && self.is_context_field(address, bytes))
            || self.is_map_value(address, bytes, writes)
            || self.found.iter().any(|region| (region.writable || !writes) && region.holds(address, bytes))
    }

    fn is_context_field(&self, address: u64, bytes: u64) -> bool {
        let context = self.memory.context();
        within(&context, address, bytes)
            && fields(self.memory.kind()).iter().any(|field| {
                let start = context.start + u64::from(field.offset);
                field.kind != FieldKind::Hidden
                    && within(&(start..start + u64::from(field.bytes)), address, bytes)
            })
    }

    /// Values of arrays are there from the start.
    fn is_map_value(&self, address: u64, bytes: u64, writes: bool) -> bool {
        self.bound.maps.iter().any(|map| {
            let Some(array) = map.array_layout() else { return false };
            let all = array.base..array.base + u64::from(array.stride) * u64::from(array.entries);
            let offset = address.wrapping_sub(array.base) % u64::from(array.stride).max(1);
            within(&all, address, bytes)
                && offset + bytes <= u64::from(map.spec().value_bytes)
                && (!writes || !is_read_only(map.spec()))
        })
    }

    /// Whether a helper may read these bytes, all of them written before.
    fn readable(&self, depth: usize, address: u64, bytes: u64) -> bool {
        bytes == 0
            || self.owns(depth, address, bytes, false)
                && (!within(&self.stack, address, bytes) || self.written.all(address, bytes))
    }

    /// Whether a helper may write these bytes; it will.
    fn take_writable(&mut self, depth: usize, address: u64, bytes: u64) -> bool {
        let owned = bytes == 0 || self.owns(depth, address, bytes, true);
        if owned && within(&self.stack, address, bytes) {
            self.written.set(address, bytes, true);
        }
        owned
    }

    /// Compares arguments with the prototype; gives what R0 will be, or the number of the register that is wrong.
    fn arguments(&mut self, state: &State<'_>, prototype: &Prototype) -> Result<Option<Pending>, u8> {
        let value = |index: usize| state.register(argument_register(index));
        let mut map: Option<u32> = None;
        let mut record_bytes = 0;
        let depth = state.depth;
        for (index, argument) in prototype.arguments.iter().enumerate() {
            let address = value(index);
            let key_value = |map: Option<u32>| {
                let spec = self.bound.maps.get(map? as usize)?.spec();
                Some((u64::from(spec.key_bytes), u64::from(spec.value_bytes)))
            };
            // Helpers take sizes as 64-bit numbers, except where their prototypes say otherwise; larger is stricter.
            let size = value(index + 1);
            let right = match argument {
                Argument::Scalar | Argument::AllocationSize | Argument::CallbackContext => {
                    if *argument == Argument::AllocationSize {
                        record_bytes = address;
                    }
                    true
                }
                Argument::Size => address > 0,
                Argument::SizeOrZero => true,
                Argument::Map => {
                    let found = self.bound.maps.iter().position(|map| map.address() == address);
                    map = found.map(|found| found as u32);
                    found.is_some_and(|found| prototype.maps.contains(&self.bound.maps[found].kind()))
                }
                Argument::MapKey => key_value(map).is_some_and(|(key, _)| self.readable(depth, address, key)),
                Argument::MapValue => {
                    key_value(map).is_some_and(|(_, value)| self.readable(depth, address, value))
                }
                Argument::MapValueOut => {
                    key_value(map).is_some_and(|(_, value)| self.take_writable(depth, address, value))
                }
                Argument::Context => {
                    self.memory.kind() != (ProgramKind::Raw { memory_bytes: 0 })
                        && address == self.memory.arguments().0
                }
                Argument::Memory => self.readable(depth, address, size),
                Argument::MemoryOrNull => (address == 0 && size == 0) || self.readable(depth, address, size),
                Argument::MemoryOut => self.take_writable(depth, address, size),
                Argument::RingRecord => {
                    let found = self.found.iter().position(|region| region.record && region.start == address);
                    found.is_some_and(|found| {
                        self.found.swap_remove(found);
                        true
                    })
                }
                Argument::ConstantString => self.is_constant_string(address),
                Argument::Function => state.executable.function_of_value(address).is_some(),
            };
            if !right {
                return Err(index as u8 + 1);
            }
        }
        Ok(match prototype.returns {
            Returns::MapValueOrNull => map.map(|map| Pending::Value { map }),
            Returns::RingRecord => Some(Pending::Record { bytes: record_bytes }),
            Returns::Scalar | Returns::Range { .. } | Returns::TailCall => None,
        })
    }

    /// Whether a zero follows inside the constant value that holds `address`.
    fn is_constant_string(&self, address: u64) -> bool {
        self.bound.maps.iter().any(|map| {
            let Some(array) = map.array_layout().filter(|_| is_read_only(map.spec())) else { return false };
            let value = array.base..array.base + u64::from(map.spec().value_bytes);
            if !within(&value, address, 1) {
                return false;
            }
            let first = (address - array.base) as usize;
            let mut bytes = vec![0; map.spec().value_bytes as usize];
            map.lookup(&0u32.to_le_bytes(), &mut bytes).is_ok() && bytes[first..].contains(&0)
        })
    }
}
