//! What registers and stack words are known to hold in a straight line of code: enough to see which map a lookup is for,
//! which entry, and which function a callback is.

use crate::instruction::{Alu, Callee, Immediate64, Operand, Operation, Register, Size, Width};

/// Stack words remembered at once. Keys are stored shortly before they are used.
const WORDS: usize = 4;

/// A value known at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Number(u64),
    Map(u32),
    Function(u32),
    /// R10 plus this.
    Stack(i32),
}

/// See [`Known`].
pub(super) struct Facts {
    registers: [Known; Register::COUNT],
    /// Offset from R10 and the four bytes there.
    words: [Option<(i32, u32)>; WORDS],
    next: usize,
}

impl Facts {
    pub(super) const fn new() -> Self {
        let mut registers = [Known::Nothing; Register::COUNT];
        registers[Register::FRAME.index()] = Known::Stack(0);
        Self { registers, words: [None; WORDS], next: 0 }
    }

    pub(super) fn get(&self, register: u8) -> Known {
        self.registers.get(usize::from(register)).copied().unwrap_or(Known::Nothing)
    }

    /// The four bytes at R10 plus `offset`.
    pub(super) fn word(&self, offset: i32) -> Option<u32> {
        self.words.iter().flatten().find(|word| word.0 == offset).map(|word| word.1)
    }

    fn set(&mut self, register: Register, known: Known) {
        if let Some(place) = self.registers.get_mut(register.index()) {
            *place = known;
        }
    }

    /// After a call: R1 to R5 hold anything, R0 holds its result, the stack may have been written.
    fn called(&mut self) {
        self.looked_up();
        self.words = [None; WORDS];
    }

    /// After a lookup, which writes no memory of the program.
    pub(super) fn looked_up(&mut self) {
        self.registers[..=5].fill(Known::Nothing);
    }

    /// After any operation but a lookup.
    pub(super) fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Alu { op, width, destination, source } => {
                let known = self.computed(op, width, destination, source);
                self.set(destination, known);
            }
            Operation::Negate { destination, .. }
            | Operation::MoveSigned { destination, .. }
            | Operation::Swap { destination, .. }
            | Operation::Load { destination, .. } => self.set(destination, Known::Nothing),
            Operation::LoadImmediate { destination, value } => {
                let known = match value {
                    Immediate64::Value(value) => Known::Number(value),
                    Immediate64::Map(map) => Known::Map(map),
                    Immediate64::Function(slot) => Known::Function(slot),
                    Immediate64::MapValue { .. } => Known::Nothing,
                };
                self.set(destination, known);
            }
            Operation::Store { size, base, offset, source } => self.stored(size, base, offset, source),
            Operation::Atomic { source, .. } => {
                self.words = [None; WORDS];
                self.registers[0] = Known::Nothing;
                if source != Register::FRAME {
                    self.set(source, Known::Nothing);
                }
            }
            Operation::Call(Callee::Helper(_) | Callee::Function(_) | Callee::Register(_)) => self.called(),
            Operation::Jump { .. } | Operation::JumpIf { .. } | Operation::Exit => {}
        }
    }

    fn computed(&self, op: Alu, width: Width, destination: Register, source: Operand) -> Known {
        let right = match source {
            Operand::Register(register) => self.get(register.index() as u8),
            Operand::Immediate(value) => Known::Number(i64::from(value) as u64),
        };
        match (op, width, self.get(destination.index() as u8), right) {
            (Alu::Move, Width::W64, _, right) => right,
            (Alu::Move, Width::W32, _, Known::Number(value)) => Known::Number(value & 0xffff_ffff),
            (Alu::Add, Width::W64, Known::Stack(offset), Known::Number(value)) => i32::try_from(value as i64)
                .ok()
                .and_then(|value| offset.checked_add(value))
                .map_or(Known::Nothing, Known::Stack),
            _ => Known::Nothing,
        }
    }

    fn stored(&mut self, size: Size, base: Register, offset: i16, source: Operand) {
        let Known::Stack(start) = self.get(base.index() as u8) else {
            self.words = [None; WORDS];
            return;
        };
        let Some(start) = start.checked_add(i32::from(offset)) else {
            self.words = [None; WORDS];
            return;
        };
        let end = start.saturating_add(i32::from(size.bytes()));
        for word in &mut self.words {
            if word.is_some_and(|(offset, _)| offset < end && start < offset.saturating_add(4)) {
                *word = None;
            }
        }
        let value = match source {
            Operand::Register(register) => self.get(register.index() as u8),
            Operand::Immediate(value) => Known::Number(i64::from(value) as u64),
        };
        if let (Known::Number(value), Size::B4 | Size::B8) = (value, size) {
            self.words[self.next % WORDS] = Some((start, value as u32));
            self.next += 1;
        }
    }
}
