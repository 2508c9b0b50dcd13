//! A program made ready for a walk: decoded, with its structure checked.

use alloc::vec::Vec;

use uio_bpf::context::{self, Field, FieldKind};
use uio_bpf::instruction::{Callee, Decoded, Immediate64, Operation, Register, decode};
use uio_protocol::bpf::{MapSpec, ObjectImage, ProgramKind};

use crate::check::{CheckError, CheckReason};
use crate::domain::Scalar;
use crate::state::State;
use crate::value::{Region, Value};

/// Slots of the largest program.
pub const MAX_SLOTS: u32 = 1 << 20;

/// What the walk needs to know of a program.
pub(crate) struct Program<'a> {
    pub(crate) maps: &'a [MapSpec],
    pub(crate) kind: ProgramKind,
    pub(crate) fields: &'a [Field],
    pub(crate) code: Decoded,
    /// First slots, ascending, the first 0.
    pub(crate) functions: Vec<u32>,
}

impl<'a> Program<'a> {
    /// Decodes program number `index` and checks what does not depend on values.
    ///
    /// # Errors
    ///
    /// [`CheckError`] if it is not made of whole functions of valid instructions.
    pub(crate) fn new(object: &'a ObjectImage, index: usize) -> Result<Self, CheckError> {
        let image = object.programs.get(index).ok_or(CheckError {
            slot: 0,
            reason: CheckReason::NoProgram { programs: object.programs.len() as u32 },
        })?;
        let length = u32::try_from(image.slots.len()).unwrap_or(u32::MAX);
        if length == 0 || length > MAX_SLOTS {
            return Err(CheckError {
                slot: 0,
                reason: CheckReason::Length { slots: length, limit: MAX_SLOTS },
            });
        }
        let code = decode(&image.slots)
            .map_err(|error| CheckError { slot: error.slot, reason: CheckReason::Decode(error) })?;
        let ascending = image.functions.windows(2).all(|pair| pair[0] < pair[1]);
        if image.functions.first() != Some(&0)
            || !ascending
            || image.functions.iter().any(|&start| code.get(start).is_none())
        {
            return Err(CheckError { slot: 0, reason: CheckReason::Functions });
        }
        let program = Self {
            maps: &object.maps,
            kind: image.kind,
            fields: context::fields(image.kind),
            code,
            functions: image.functions.clone(),
        };
        program.check_targets()?;
        Ok(program)
    }

    fn check_targets(&self) -> Result<(), CheckError> {
        let mut function = 0;
        for (slot, operation) in self.code.iter() {
            while self.functions.get(function + 1).is_some_and(|next| *next <= slot) {
                function += 1;
            }
            let start = self.functions[function];
            let end = self.functions.get(function + 1).copied().unwrap_or(self.code.len());
            let (target, inside) = match operation {
                Operation::Jump { target } | Operation::JumpIf { target, .. } => (target, true),
                Operation::Call(Callee::Function(target))
                | Operation::LoadImmediate { value: Immediate64::Function(target), .. } => (target, false),
                _ => continue,
            };
            let fine = if inside {
                (start..end).contains(&target)
            } else {
                self.functions.binary_search(&target).is_ok()
            };
            if !fine {
                return Err(CheckError { slot, reason: CheckReason::Leaves { target } });
            }
        }
        Ok(())
    }

    /// The state in which the program starts.
    pub(crate) fn entry(&self) -> State {
        let mut state = State::new();
        let (first, second) = match self.kind {
            ProgramKind::Raw { memory_bytes } => {
                let memory = match memory_bytes {
                    // Its caller may pass null, which a test of a pointer into memory would rule out.
                    0 => Value::scalar(Scalar::UNKNOWN),
                    bytes => Value::pointer(Region::Memory(bytes)),
                };
                (memory, Value::scalar(Scalar::constant(memory_bytes.into())))
            }
            ProgramKind::Packet | ProgramKind::Tracing | ProgramKind::Timer => {
                (Value::pointer(Region::Context), Value::UNUSABLE)
            }
        };
        state.registers[Register::R1.index()] = first;
        state.registers[2] = second;
        state
    }

    /// The field of the context that a read of `bytes` at `offset` gives, if it is one and readable.
    pub(crate) fn field(&self, offset: i64, bytes: u32) -> Option<FieldKind> {
        let field = self.fields.iter().find(|field| {
            let start = i64::from(field.offset);
            offset >= start && offset + i64::from(bytes) <= start + i64::from(field.bytes)
        })?;
        match field.kind {
            FieldKind::Hidden => None,
            FieldKind::Scalar => Some(FieldKind::Scalar),
            whole if i64::from(field.offset) == offset && u32::from(field.bytes) == bytes => Some(whole),
            FieldKind::PacketStart | FieldKind::PacketEnd | FieldKind::PacketMeta => None,
        }
    }

    /// The map with this index.
    pub(crate) fn map(&self, index: u32) -> Option<&'a MapSpec> {
        self.maps.get(index as usize)
    }
}
