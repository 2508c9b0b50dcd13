//! Slots to operations.

use alloc::vec::Vec;
use core::fmt;

use super::{
    Alu, Atomic, ByteOrder, Callee, Condition, Immediate64, Operand, Operation, Register, Size, Width,
};

/// A program in typed form: one entry per slot, `None` for the second half of a 64-bit immediate load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    operations: Vec<Option<Operation>>,
}

impl Decoded {
    /// The operation at `slot`, if one starts there.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<Operation> {
        *self.operations.get(slot as usize)?
    }

    /// All slots.
    #[must_use]
    pub fn as_slice(&self) -> &[Option<Operation>] {
        &self.operations
    }

    /// Slots, second halves included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.operations.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Slot and operation, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Operation)> + '_ {
        self.operations.iter().enumerate().filter_map(|(slot, operation)| Some((slot as u32, (*operation)?)))
    }
}

/// Why slots are no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where.
    pub slot: u32,
    /// Why.
    pub reason: DecodeReason,
}

/// See [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeReason {
    /// No instruction has this opcode with these other fields.
    Opcode(u8),
    /// There are registers 0 to 10, and a program does not write R10.
    Register(u8),
    /// A field that has to be zero is not.
    Reserved,
    /// A jump or call to where no instruction of this program starts.
    Target(i64),
    /// A 64-bit immediate load without its second half.
    Truncated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "instruction {}: ", self.slot)?;
        match self.reason {
            DecodeReason::Opcode(opcode) => {
                write!(formatter, "no instruction has opcode {opcode:#04x} with these fields")
            }
            DecodeReason::Register(register) => write!(formatter, "register r{register} cannot stand here"),
            DecodeReason::Reserved => formatter.write_str("a field that has to be zero is not"),
            DecodeReason::Target(target) => {
                write!(formatter, "jumps to {target}, where no instruction starts")
            }
            DecodeReason::Truncated => formatter.write_str("a 64-bit immediate load ends the program"),
        }
    }
}

impl core::error::Error for DecodeError {}

const IMMEDIATE_LOAD: u8 = 0x18;

struct Fields {
    opcode: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

impl Fields {
    const fn new(slot: u64) -> Self {
        Self {
            opcode: slot as u8,
            destination: (slot >> 8) as u8 & 15,
            source: (slot >> 12) as u8 & 15,
            offset: (slot >> 16) as i16,
            immediate: (slot >> 32) as i32,
        }
    }
}

/// Decodes a whole program.
///
/// # Errors
///
/// [`DecodeError`] for the first slot that is no instruction of RFC 9669, and for the first jump or call that leads to
/// where none starts.
pub fn decode(slots: &[u64]) -> Result<Decoded, DecodeError> {
    let mut operations = Vec::with_capacity(slots.len());
    while operations.len() < slots.len() {
        let slot = operations.len();
        let fields = Fields::new(slots[slot]);
        let at = |reason| DecodeError { slot: slot as u32, reason };
        if fields.opcode == IMMEDIATE_LOAD {
            let second = slots.get(slot + 1).ok_or(at(DecodeReason::Truncated))?;
            operations.push(Some(immediate_load(&fields, &Fields::new(*second), slot).map_err(at)?));
            operations.push(None);
        } else {
            operations.push(Some(operation(&fields, slot).map_err(at)?));
        }
    }
    let decoded = Decoded { operations };
    for (slot, operation) in decoded.iter() {
        let target = match operation {
            Operation::Jump { target } | Operation::JumpIf { target, .. } => target,
            Operation::Call(Callee::Function(target)) => target,
            Operation::LoadImmediate { value: Immediate64::Function(target), .. } => target,
            _ => continue,
        };
        if decoded.get(target).is_none() {
            return Err(DecodeError { slot, reason: DecodeReason::Target(i64::from(target as i32)) });
        }
    }
    Ok(decoded)
}

fn register(number: u8) -> Result<Register, DecodeReason> {
    Register::new(number).ok_or(DecodeReason::Register(number))
}

fn writable(number: u8) -> Result<Register, DecodeReason> {
    register(number)
        .ok()
        .filter(|register| *register != Register::FRAME)
        .ok_or(DecodeReason::Register(number))
}

fn target(slot: usize, distance: i64) -> Result<u32, DecodeReason> {
    let target = slot as i64 + 1 + distance;
    u32::try_from(target).map_err(|_| DecodeReason::Target(target))
}

fn zero(fields: &[i64]) -> Result<(), DecodeReason> {
    if fields.iter().all(|field| *field == 0) { Ok(()) } else { Err(DecodeReason::Reserved) }
}

fn immediate_load(first: &Fields, second: &Fields, slot: usize) -> Result<Operation, DecodeReason> {
    let destination = writable(first.destination)?;
    zero(&[
        first.offset.into(),
        second.opcode.into(),
        second.destination.into(),
        second.source.into(),
        second.offset.into(),
    ])?;
    let low = first.immediate as u32;
    let high = second.immediate as u32;
    let value = match first.source {
        0 => Immediate64::Value(u64::from(high) << 32 | u64::from(low)),
        4 if high == 0 => Immediate64::Function(target(slot, i64::from(first.immediate))?),
        5 if high == 0 => Immediate64::Map(low),
        6 => Immediate64::MapValue { map: low, offset: high },
        4 | 5 => return Err(DecodeReason::Reserved),
        _ => return Err(DecodeReason::Opcode(first.opcode)),
    };
    Ok(Operation::LoadImmediate { destination, value })
}

fn operation(fields: &Fields, slot: usize) -> Result<Operation, DecodeReason> {
    match fields.opcode & 7 {
        1 => load(fields),
        2 | 3 => store(fields),
        4 => arithmetic(fields, Width::W32),
        5 => jump(fields, Width::W64, slot),
        6 => jump(fields, Width::W32, slot),
        7 => arithmetic(fields, Width::W64),
        _ => Err(DecodeReason::Opcode(fields.opcode)),
    }
}

fn size(opcode: u8) -> Size {
    match opcode & 0x18 {
        0x00 => Size::B4,
        0x08 => Size::B2,
        0x10 => Size::B1,
        _ => Size::B8,
    }
}

fn load(fields: &Fields) -> Result<Operation, DecodeReason> {
    let signed = match fields.opcode & 0xe0 {
        0x60 => false,
        // There is nothing to extend in 8 bytes.
        0x80 if size(fields.opcode) != Size::B8 => true,
        _ => return Err(DecodeReason::Opcode(fields.opcode)),
    };
    zero(&[fields.immediate.into()])?;
    Ok(Operation::Load {
        size: size(fields.opcode),
        signed,
        destination: writable(fields.destination)?,
        base: register(fields.source)?,
        offset: fields.offset,
    })
}

fn store(fields: &Fields) -> Result<Operation, DecodeReason> {
    let base = register(fields.destination)?;
    let from_register = fields.opcode & 1 == 1;
    match fields.opcode & 0xe0 {
        0x60 => {
            let source = if from_register {
                zero(&[fields.immediate.into()])?;
                Operand::Register(register(fields.source)?)
            } else {
                zero(&[fields.source.into()])?;
                Operand::Immediate(fields.immediate)
            };
            Ok(Operation::Store { size: size(fields.opcode), base, offset: fields.offset, source })
        }
        0xc0 if from_register => {
            let width = match size(fields.opcode) {
                Size::B4 => Width::W32,
                Size::B8 => Width::W64,
                Size::B1 | Size::B2 => return Err(DecodeReason::Opcode(fields.opcode)),
            };
            let fetch = fields.immediate & 1 == 1;
            let op = match fields.immediate {
                0x00 | 0x01 => Atomic::Add { fetch },
                0x40 | 0x41 => Atomic::Or { fetch },
                0x50 | 0x51 => Atomic::And { fetch },
                0xa0 | 0xa1 => Atomic::Xor { fetch },
                0xe1 => Atomic::Exchange,
                0xf1 => Atomic::CompareExchange,
                _ => return Err(DecodeReason::Opcode(fields.opcode)),
            };
            let source = match op {
                Atomic::CompareExchange => register(fields.source)?,
                _ if fetch => writable(fields.source)?,
                _ => register(fields.source)?,
            };
            Ok(Operation::Atomic { op, width, base, offset: fields.offset, source })
        }
        _ => Err(DecodeReason::Opcode(fields.opcode)),
    }
}

fn operand(fields: &Fields) -> Result<Operand, DecodeReason> {
    if fields.opcode & 8 == 0 {
        zero(&[fields.source.into()])?;
        Ok(Operand::Immediate(fields.immediate))
    } else {
        zero(&[fields.immediate.into()])?;
        Ok(Operand::Register(register(fields.source)?))
    }
}

fn arithmetic(fields: &Fields, width: Width) -> Result<Operation, DecodeReason> {
    let destination = writable(fields.destination)?;
    let from_register = fields.opcode & 8 != 0;
    let op = match (fields.opcode & 0xf0, fields.offset) {
        (0x00, 0) => Alu::Add,
        (0x10, 0) => Alu::Subtract,
        (0x20, 0) => Alu::Multiply,
        (0x30, 0) => Alu::Divide,
        (0x30, 1) => Alu::SignedDivide,
        (0x40, 0) => Alu::Or,
        (0x50, 0) => Alu::And,
        (0x60, 0) => Alu::ShiftLeft,
        (0x70, 0) => Alu::ShiftRight,
        (0x80, 0) if !from_register => {
            zero(&[fields.source.into(), fields.immediate.into()])?;
            return Ok(Operation::Negate { width, destination });
        }
        (0x90, 0) => Alu::Modulo,
        (0x90, 1) => Alu::SignedModulo,
        (0xa0, 0) => Alu::Xor,
        (0xb0, 0) => Alu::Move,
        (0xb0, 8 | 16 | 32) if from_register && (width == Width::W64 || fields.offset != 32) => {
            zero(&[fields.immediate.into()])?;
            let bits = fields.offset as u8;
            return Ok(Operation::MoveSigned { width, bits, destination, source: register(fields.source)? });
        }
        (0xc0, 0) => Alu::ShiftRightArithmetic,
        (0xd0, 0) => {
            zero(&[fields.source.into()])?;
            let order = match (width, from_register) {
                (Width::W32, false) => ByteOrder::ToLittle,
                (Width::W32, true) => ByteOrder::ToBig,
                (Width::W64, false) => ByteOrder::Swap,
                (Width::W64, true) => return Err(DecodeReason::Opcode(fields.opcode)),
            };
            return match fields.immediate {
                16 | 32 | 64 => Ok(Operation::Swap { order, bits: fields.immediate as u8, destination }),
                _ => Err(DecodeReason::Opcode(fields.opcode)),
            };
        }
        _ => return Err(DecodeReason::Opcode(fields.opcode)),
    };
    Ok(Operation::Alu { op, width, destination, source: operand(fields)? })
}

fn jump(fields: &Fields, width: Width, slot: usize) -> Result<Operation, DecodeReason> {
    let condition = match fields.opcode & 0xf0 {
        0x00 => {
            let (distance, unused) = match (fields.opcode, width) {
                (0x05, _) => (i64::from(fields.offset), i64::from(fields.immediate)),
                (0x06, _) => (i64::from(fields.immediate), i64::from(fields.offset)),
                _ => return Err(DecodeReason::Opcode(fields.opcode)),
            };
            zero(&[unused, fields.destination.into(), fields.source.into()])?;
            return Ok(Operation::Jump { target: target(slot, distance)? });
        }
        0x10 => Condition::Equal,
        0x20 => Condition::Greater,
        0x30 => Condition::GreaterOrEqual,
        0x40 => Condition::BitsSet,
        0x50 => Condition::NotEqual,
        0x60 => Condition::SignedGreater,
        0x70 => Condition::SignedGreaterOrEqual,
        0x80 if width == Width::W64 => return call(fields, slot),
        0x90 if fields.opcode == 0x95 => {
            zero(&[
                fields.destination.into(),
                fields.source.into(),
                fields.offset.into(),
                fields.immediate.into(),
            ])?;
            return Ok(Operation::Exit);
        }
        0xa0 => Condition::Less,
        0xb0 => Condition::LessOrEqual,
        0xc0 => Condition::SignedLess,
        0xd0 => Condition::SignedLessOrEqual,
        _ => return Err(DecodeReason::Opcode(fields.opcode)),
    };
    Ok(Operation::JumpIf {
        condition,
        width,
        left: register(fields.destination)?,
        right: operand(fields)?,
        target: target(slot, i64::from(fields.offset))?,
    })
}

fn call(fields: &Fields, slot: usize) -> Result<Operation, DecodeReason> {
    zero(&[fields.offset.into()])?;
    let callee = match (fields.opcode, fields.source) {
        (0x85, 0) => Callee::Helper(fields.immediate as u32),
        (0x85, 1) => Callee::Function(target(slot, i64::from(fields.immediate))?),
        // clang puts the register into the destination field; older ones into the immediate.
        (0x8d, 0) => match (fields.destination, fields.immediate) {
            (number, 0) => Callee::Register(register(number)?),
            (0, number) => {
                Callee::Register(register(u8::try_from(number).map_err(|_| DecodeReason::Reserved)?)?)
            }
            _ => return Err(DecodeReason::Reserved),
        },
        _ => return Err(DecodeReason::Opcode(fields.opcode)),
    };
    if matches!(callee, Callee::Helper(_) | Callee::Function(_)) {
        zero(&[fields.destination.into()])?;
    }
    Ok(Operation::Call(callee))
}
