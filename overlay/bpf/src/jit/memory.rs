//! Code of loads, stores and atomic operations.

use super::assembler::{Address, Basic, Flag, Form, LOCK, OPERAND_16, Reg, at};
use super::emit::Emitter;
use super::plan::is_wide;
use crate::instruction::{Atomic, Operand, Register, Size, Width};

impl Emitter<'_, '_> {
    /// The memory at `base` plus `offset`. In varied code this can change R11.
    #[inline(always)]
    fn place(&mut self, base: Register, offset: i16) -> Address {
        let offset = i32::from(offset);
        if base == Register::FRAME {
            return at(Reg::RSP, self.function.frame + offset);
        }
        let base = self.register(base);
        if self.varied && offset != i32::from(offset as i8) {
            let part = self.random.next() as i32 >> 4;
            self.code.lea(Reg::R11, at(base, part));
            return at(Reg::R11, offset - part);
        }
        at(base, offset)
    }

    #[inline(always)]
    pub(super) fn load(
        &mut self,
        size: Size,
        signed: bool,
        destination: Register,
        base: Register,
        offset: i16,
    ) {
        let form = match (size, signed) {
            (Size::B1, false) => Form::escaped(false, 0xb6),
            (Size::B2, false) => Form::escaped(false, 0xb7),
            (Size::B4, false) => Form::new(false, 0x8b),
            (Size::B1, true) => Form::escaped(true, 0xbe),
            (Size::B2, true) => Form::escaped(true, 0xbf),
            (Size::B4, true) => Form::new(true, 0x63),
            (Size::B8, _) => Form::new(true, 0x8b),
        };
        let target = self.register(destination);
        let place = self.place(base, offset);
        self.code.memory(form, target, place);
    }

    pub(super) fn store(&mut self, size: Size, base: Register, offset: i16, source: Operand) {
        let source = match source {
            Operand::Register(register) => self.value(register),
            Operand::Immediate(value) => {
                // What is cut off need not be hidden, nor written.
                let value = match size {
                    Size::B1 => i32::from(value as i8),
                    Size::B2 => i32::from(value as i16),
                    Size::B4 | Size::B8 => value,
                };
                if !self.disguises(value) {
                    let place = self.place(base, offset);
                    return self.store_immediate(size, place, value);
                }
                self.constant(true, Reg::R10, value);
                Reg::R10
            }
        };
        let place = self.place(base, offset);
        let form = match size {
            Size::B1 => Form::new(false, 0x88).byte(),
            Size::B2 => Form::new(false, 0x89).prefixed(OPERAND_16),
            Size::B4 => Form::new(false, 0x89),
            Size::B8 => Form::new(true, 0x89),
        };
        self.code.memory(form, source, place);
    }

    fn store_immediate(&mut self, size: Size, place: Address, value: i32) {
        let (form, bytes) = match size {
            Size::B1 => (Form::new(false, 0xc6), 1),
            Size::B2 => (Form::new(false, 0xc7).prefixed(OPERAND_16), 2),
            Size::B4 => (Form::new(false, 0xc7), 4),
            Size::B8 => (Form::new(true, 0xc7), 4),
        };
        self.code.memory(form, Reg(0), place);
        self.code.put(value as u32 as u64, bytes);
    }

    /// Stores a number of ours in four bytes.
    pub(super) fn store_constant(&mut self, place: Address, value: i32) {
        self.store_immediate(Size::B4, place, value);
    }

    pub(super) fn atomic(&mut self, op: Atomic, width: Width, base: Register, offset: i16, source: Register) {
        let wide = is_wide(width);
        let fetching = |op| (op, true);
        let (basic, fetch) = match op {
            Atomic::Or { fetch } => (Basic::Or, fetch),
            Atomic::And { fetch } => (Basic::And, fetch),
            Atomic::Xor { fetch } => (Basic::Xor, fetch),
            Atomic::Add { fetch: false } => (Basic::Add, false),
            Atomic::Add { fetch: true } | Atomic::Exchange | Atomic::CompareExchange => fetching(Basic::Add),
        };
        let locked = |form: Form| form.prefixed(LOCK);
        match op {
            Atomic::Add { fetch: true } => {
                self.exchange(locked(Form::escaped(wide, 0xc1)), base, offset, source);
            }
            // With memory, the processor locks this one by itself.
            Atomic::Exchange => self.exchange(Form::new(wide, 0x87), base, offset, source),
            Atomic::CompareExchange => {
                self.exchange(locked(Form::escaped(wide, 0xb1)), base, offset, source);
                if !wide {
                    // Where it succeeds, it leaves the high half.
                    self.code.mov(false, Reg::RAX, Reg::RAX);
                }
            }
            _ if fetch => self.fetching_loop(basic, wide, base, offset, source),
            _ => self.exchange(locked(Form::new(wide, (basic as u8) << 3 | 1)), base, offset, source),
        }
    }

    fn exchange(&mut self, form: Form, base: Register, offset: i16, source: Register) {
        let source = self.value(source);
        let place = self.place(base, offset);
        self.code.memory(form, source, place);
    }

    /// What the processor has no instruction for: tries until nobody else changed the memory in between.
    fn fetching_loop(&mut self, op: Basic, wide: bool, base: Register, offset: i16, source: Register) {
        let source = self.register(source);
        let place = self.place(base, offset);
        self.code.lea(Reg::R11, place);
        self.code.mov(true, Reg::R9, Reg::RAX);
        self.code.memory(Form::new(wide, 0x8b), Reg::RAX, at(Reg::R11, 0));
        let again = self.code.position();
        self.code.mov(true, Reg::R10, Reg::RAX);
        let operand = if source == Reg::RAX { Reg::R9 } else { source };
        self.code.basic(op, wide, Reg::R10, operand);
        let form = Form::escaped(wide, 0xb1).prefixed(LOCK);
        self.code.memory(form, Reg::R10, at(Reg::R11, 0));
        self.code.skip_back(Flag::NotEqual as u8, again);
        if source != Reg::RAX {
            self.code.mov(true, source, Reg::RAX);
            self.code.mov(true, Reg::RAX, Reg::R9);
        }
    }
}
