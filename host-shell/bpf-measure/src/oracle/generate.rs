//! Random programs, most of which are nearly safe.
//!
//! The generator knows roughly what each register holds and writes what such programs write: loads behind checks, masks
//! before indices, counted loops, null checks. Every now and then it forgets one, or makes it one too wide. What it
//! thinks of a program does not matter: the verifier decides, and the oracle watches.

use uio_protocol::bpf::{MapKind, MapSpec, ObjectImage, ProgramImage, ProgramKind};

use super::source::Source;
use crate::encode::{self as op, By};

/// Maps of every generated program, by index.
const ARRAY: u32 = 0;
const HASH: u32 = 1;
const GLOBAL: u32 = 2;
const RING: u32 = 3;
const CONSTANT: u32 = 4;

const ARRAY_VALUE_BYTES: u32 = 64;
const ARRAY_ENTRIES: u32 = 4;
const HASH_KEY_BYTES: u32 = 4;
const HASH_VALUE_BYTES: u32 = 24;
const GLOBAL_BYTES: u32 = 32;
const RING_BYTES: u32 = 4096;
const RECORD_BYTES: i32 = 32;

const HELPER_LOOKUP: i32 = 1;
const HELPER_UPDATE: i32 = 2;
const HELPER_DELETE: i32 = 3;
const HELPER_TIME: i32 = 5;
const HELPER_RANDOM: i32 = 7;
const HELPER_RESERVE: i32 = 131;
const HELPER_SUBMIT: i32 = 132;
const HELPER_DISCARD: i32 = 133;

/// Numbers at which arithmetic goes wrong.
const IMMEDIATES: [i32; 22] = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    63,
    64,
    127,
    255,
    256,
    0xffff,
    0x7fff_ffff,
    -1,
    -2,
    -8,
    i32::MIN,
    -32768,
];
const MASKS: [i32; 8] = [1, 3, 7, 15, 31, 56, 63, 0xff];
const SIZES: [u8; 4] = [1, 2, 4, 8];

/// What the generator thinks a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Number,
    Context,
    /// Packet bytes, of which this many are known to be there.
    Packet(i16),
    PacketEnd,
    /// A map's value, or memory, of this many bytes.
    Memory(i16),
}

/// A program under construction.
struct Builder<'a, S> {
    source: &'a mut S,
    slots: Vec<u64>,
    registers: [Kind; 10],
    /// Eight-byte slots below R10 that hold numbers.
    stack: [bool; 8],
    packet: bool,
    /// How often care is forgotten, in percent.
    careless: usize,
    nested: usize,
}

/// A generated object with one program.
#[must_use]
pub fn object(source: &mut impl Source) -> ObjectImage {
    let packet = source.chance(75);
    let kind = if packet { ProgramKind::Packet } else { ProgramKind::Raw { memory_bytes: 64 } };
    let careless = source.pick(&[0, 0, 1, 3, 10]);
    let length = 4 + source.below(40);
    let mut builder = Builder {
        source,
        slots: Vec::new(),
        registers: [Kind::Nothing; 10],
        stack: [false; 8],
        packet,
        careless,
        nested: 0,
    };
    builder.registers[1] = if packet { Kind::Context } else { Kind::Memory(64) };
    builder.prologue();
    builder.statements(length);
    builder.epilogue();
    let function = builder.function();
    let mut slots = builder.slots;
    let mut functions = vec![0];
    if let Some(function) = function {
        functions.push(slots.len() as u32);
        slots.extend(function);
    }
    let program = ProgramImage { name: "generated".into(), kind, target: String::new(), slots, functions };
    ObjectImage { name: "generated".into(), maps: maps(), programs: vec![program] }
}

/// The maps of every generated program: an array of 4 values of 64 bytes, a hash of 8 values of 24 bytes, variables of 32
/// bytes, a ring buffer, constants of 32 bytes.
#[must_use]
pub fn maps() -> Vec<MapSpec> {
    let map = |name: &str, kind, key_bytes, value_bytes, max_entries| MapSpec {
        name: name.into(),
        kind,
        key_bytes,
        value_bytes,
        max_entries,
        flags: 0,
        read_only: false,
        pinned: false,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    };
    let constant: Vec<u8> = (0..GLOBAL_BYTES as u8).map(|byte| byte.wrapping_mul(37)).collect();
    vec![
        map("array", MapKind::Array, 4, ARRAY_VALUE_BYTES, ARRAY_ENTRIES),
        map("hash", MapKind::Hash, HASH_KEY_BYTES, HASH_VALUE_BYTES, 8),
        map(".bss", MapKind::Array, 4, GLOBAL_BYTES, 1),
        map("ring", MapKind::RingBuffer, 0, 0, RING_BYTES),
        MapSpec { read_only: true, initial: constant, ..map(".rodata", MapKind::Array, 4, GLOBAL_BYTES, 1) },
    ]
}

impl<S: Source> Builder<'_, S> {
    fn emit(&mut self, slot: u64) {
        self.slots.push(slot);
    }

    fn careless(&mut self) -> bool {
        self.source.chance(self.careless)
    }

    fn immediate(&mut self) -> i32 {
        match self.source.below(4) {
            0 => self.source.next() as i32,
            1 => self.source.below(300) as i32 - 20,
            _ => self.source.pick(&IMMEDIATES),
        }
    }

    /// A register that holds something that `wanted` says; any register where care is forgotten.
    fn find(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<u8> {
        if self.careless() {
            return Some(self.source.below(10) as u8);
        }
        let first = self.source.below(10);
        (0..10)
            .map(|step| (first + step) % 10)
            .find(|&index| wanted(self.registers[index]))
            .map(|index| index as u8)
    }

    fn number(&mut self) -> Option<u8> {
        self.find(|kind| kind == Kind::Number)
    }

    /// A register to write to. R6 to R9 are kept for pointers most of the time.
    fn target(&mut self) -> u8 {
        let limit = if self.source.chance(20) { 10 } else { 6 };
        self.source.below(limit) as u8
    }

    fn set(&mut self, register: u8, kind: Kind) {
        self.registers[usize::from(register)] = kind;
    }

    fn prologue(&mut self) {
        self.emit(op::alu(op::MOVE, true, 9, By::Register(1), 0));
        self.set(9, self.registers[1]);
        if self.packet {
            self.packet_pointers();
        }
        for register in [0, 2, 3] {
            self.fresh_number(register);
        }
    }

    /// R7 is the packet and R8 its end, most of the time with some bytes known to be there.
    fn packet_pointers(&mut self) {
        if self.registers[9] != Kind::Context {
            return;
        }
        self.emit(op::load(8, false, 7, 9, 0));
        self.emit(op::load(8, false, 8, 9, 8));
        self.set(7, Kind::Packet(0));
        self.set(8, Kind::PacketEnd);
        self.packet_check();
    }

    fn packet_check(&mut self) {
        let bytes = self.source.pick(&[1, 4, 8, 14, 16, 34]);
        self.emit(op::alu(op::MOVE, true, 1, By::Register(7), 0));
        self.emit(op::alu(op::ADD, true, 1, By::Immediate(bytes.into()), 0));
        // Greater than the end, or greater or equal, or from the other side; now and then the wrong way round.
        let (condition, left, right) =
            self.source.pick(&[(0x20, 1, 8), (0x30, 1, 8), (0xa0, 8, 1), (0x20, 8, 1)]);
        let wrong = condition == 0x20 && left == 8;
        self.emit(op::jump(condition, true, left, By::Register(right), 1));
        self.emit(op::go(2));
        self.leave();
        self.set(1, Kind::Packet(0));
        if !wrong {
            self.set(7, Kind::Packet(bytes));
        }
    }

    fn fresh_number(&mut self, register: u8) {
        match self.source.below(6) {
            0 => {
                let immediate = self.immediate();
                let wide = self.source.chance(70);
                self.emit(op::alu(op::MOVE, wide, register, By::Immediate(immediate), 0));
            }
            1 => {
                let (low, high) = (self.immediate() as u32, self.immediate() as u32);
                self.slots.extend(op::wide(register, 0, low, high));
            }
            2 if self.packet && self.registers[9] == Kind::Context => {
                let offset = self.source.pick(&[16, 20]);
                self.emit(op::load(4, false, register, 9, offset));
            }
            _ => {
                let Some(base) = self.find(|kind| matches!(kind, Kind::Packet(1..) | Kind::Memory(_))) else {
                    self.emit(op::alu(op::MOVE, true, register, By::Immediate(7), 0));
                    self.set(register, Kind::Number);
                    return;
                };
                self.load_from(register, base);
            }
        }
        self.set(register, Kind::Number);
    }

    fn room(&self, base: u8) -> i16 {
        match self.registers[usize::from(base)] {
            Kind::Packet(bytes) | Kind::Memory(bytes) => bytes,
            _ => 8,
        }
    }

    fn place(&mut self, base: u8) -> (u8, i16) {
        let room = self.room(base).max(1);
        let mut bytes = self.source.pick(&SIZES);
        while i16::from(bytes) > room {
            bytes /= 2;
        }
        let slack = usize::try_from(room - i16::from(bytes)).unwrap_or(0);
        let mut offset = self.source.below(slack + 1) as i16;
        if self.careless() {
            offset += self.source.pick(&[1, -1, 8, -8, 64]);
        }
        (bytes, offset)
    }

    fn load_from(&mut self, register: u8, base: u8) {
        let (bytes, offset) = self.place(base);
        let signed = bytes < 8 && self.source.chance(15);
        self.emit(op::load(bytes, signed, register, base, offset));
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            self.statement();
        }
    }

    fn statement(&mut self) {
        match self.source.below(24) {
            0..=8 => self.arithmetic(),
            9..=11 => self.branch(),
            12 => self.store(),
            13 => {
                let register = self.target();
                self.fresh_number(register);
            }
            14 | 15 => self.indexed(),
            16 => self.stack(),
            17 => self.lookup(),
            18 => self.counted_loop(),
            19 => self.global(),
            20 => self.helper(),
            21 => self.record(),
            22 => self.atomic(),
            _ => self.packet_variable(),
        }
    }

    fn arithmetic(&mut self) {
        let Some(destination) = self.number() else { return };
        let wide = self.source.chance(55);
        match self.source.below(16) {
            0 => self.emit(op::alu(op::NEGATE, wide, destination, By::Immediate(0), 0)),
            1 => {
                let (kind, bits) = (self.source.below(3) as u8, self.source.pick(&[16, 32, 64]));
                self.emit(op::order(kind, bits, destination));
            }
            2 => {
                let Some(other) = self.number() else { return };
                let bits = if wide { self.source.pick(&[8, 16, 32]) } else { self.source.pick(&[8, 16]) };
                self.emit(op::alu(op::MOVE, wide, destination, By::Register(other), bits));
            }
            _ => {
                let operation = self.source.pick(&[
                    op::ADD,
                    op::SUBTRACT,
                    op::MULTIPLY,
                    op::DIVIDE,
                    op::MODULO,
                    op::OR,
                    op::AND,
                    op::XOR,
                    op::SHIFT_LEFT,
                    op::SHIFT_RIGHT,
                    op::SHIFT_RIGHT_ARITHMETIC,
                    op::MOVE,
                ]);
                let by = match self.source.chance(50).then(|| self.number()).flatten() {
                    Some(register) => By::Register(register),
                    None => By::Immediate(self.operand(operation, wide)),
                };
                let signed = matches!(operation, op::DIVIDE | op::MODULO) && self.source.chance(40);
                self.emit(op::alu(operation, wide, destination, by, i16::from(signed)));
            }
        }
    }

    /// An immediate that the decoder takes: shifts below the width.
    fn operand(&mut self, operation: u8, wide: bool) -> i32 {
        let immediate = self.immediate();
        match operation {
            op::SHIFT_LEFT | op::SHIFT_RIGHT | op::SHIFT_RIGHT_ARITHMETIC => {
                immediate & if wide { 63 } else { 31 }
            }
            op::DIVIDE | op::MODULO if immediate == 0 => 3,
            _ => immediate,
        }
    }

    /// What one branch did to registers is not known after it.
    fn merge(&mut self, before: &[Kind; 10], stack: &[bool; 8]) {
        for (now, then) in self.registers.iter_mut().zip(before) {
            *now = match (*now, *then) {
                (Kind::Packet(a), Kind::Packet(b)) => Kind::Packet(a.min(b)),
                (a, b) if a == b => a,
                _ => Kind::Nothing,
            };
        }
        for (now, then) in self.stack.iter_mut().zip(stack) {
            *now &= then;
        }
    }

    fn branch(&mut self) {
        if self.nested >= 3 {
            return;
        }
        let Some(left) = self.number() else { return };
        let condition = self.source.pick(&op::CONDITIONS);
        let by = match self.source.chance(40).then(|| self.number()).flatten() {
            Some(register) => By::Register(register),
            None => By::Immediate(self.immediate()),
        };
        let wide = self.source.chance(60);
        let place = self.slots.len();
        self.emit(0);
        let (before, stack) = (self.registers, self.stack);
        self.nested += 1;
        let count = 1 + self.source.below(4);
        self.statements(count);
        if self.source.chance(15) {
            self.leave();
            self.registers = before;
            self.stack = stack;
        } else if self.source.chance(40) {
            // Both ways do something.
            let other = self.slots.len();
            self.emit(0);
            let after = (self.registers, self.stack);
            self.patch(place, op::jump(condition, wide, left, by, 0));
            (self.registers, self.stack) = (before, stack);
            self.statements(count);
            self.patch(other, op::go(0));
            self.merge(&after.0, &after.1);
            self.nested -= 1;
            return;
        } else {
            self.merge(&before, &stack);
        }
        self.nested -= 1;
        self.patch(place, op::jump(condition, wide, left, by, 0));
    }

    /// Puts a forward jump at `place` that leads here.
    fn patch(&mut self, place: usize, jump: u64) {
        let distance = (self.slots.len() - place - 1) as u16;
        self.slots[place] = jump & !(0xffff << 16) | u64::from(distance) << 16;
    }

    fn leave(&mut self) {
        let result = self.source.below(4) as i32;
        self.emit(op::alu(op::MOVE, true, 0, By::Immediate(result), 0));
        self.emit(op::EXIT);
    }

    fn store(&mut self) {
        let Some(base) = self.find(|kind| matches!(kind, Kind::Packet(1..) | Kind::Memory(_))) else {
            return;
        };
        let (bytes, offset) = self.place(base);
        let by = match self.number() {
            Some(register) => By::Register(register),
            None => By::Immediate(self.immediate()),
        };
        self.emit(op::store(bytes, base, offset, by));
    }

    /// A pointer moved by a number that was bounded in one of the usual ways.
    fn indexed(&mut self) {
        let Some(base) = self.find(|kind| matches!(kind, Kind::Packet(1..) | Kind::Memory(_))) else {
            return;
        };
        let Some(index) = self.number() else { return };
        let target = self.target();
        if target == base || target == index || base == index {
            return;
        }
        let room = self.room(base).max(1);
        let mut bytes = self.source.pick(&SIZES);
        while i16::from(bytes) > room {
            bytes /= 2;
        }
        // One too many, now and then.
        let slip = i16::from(self.careless());
        let most = i32::from(room - i16::from(bytes) + slip);
        match self.source.below(4) {
            0 => {
                let mask = MASKS.into_iter().rfind(|mask| *mask <= most.max(1)).unwrap_or(1);
                let wide = self.source.chance(60);
                self.emit(op::alu(op::AND, wide, index, By::Immediate(mask), 0));
                if most < 1 {
                    return;
                }
            }
            1 => {
                let wide = self.source.chance(60);
                self.emit(op::alu(op::MODULO, wide, index, By::Immediate(most + 1), 0));
            }
            2 => {
                let (wide, condition) = (
                    self.source.chance(60),
                    self.source.pick(&[op::JUMP_LESS_OR_EQUAL, 0xd0, op::JUMP_LESS]),
                );
                self.emit(op::jump(condition, wide, index, By::Immediate(most), 2));
                self.leave();
                if self.source.chance(50) {
                    self.emit(op::jump(0x70, wide, index, By::Immediate(0), 1));
                    self.emit(op::alu(op::MOVE, true, index, By::Immediate(0), 0));
                }
            }
            _ => {
                let wide = self.source.chance(60);
                let count = if wide { 64 } else { 32 } - (most + 1).ilog2() as i32;
                self.emit(op::alu(
                    op::SHIFT_RIGHT,
                    wide,
                    index,
                    By::Immediate(count.min(if wide { 63 } else { 31 })),
                    0,
                ));
            }
        }
        self.emit(op::alu(op::MOVE, true, target, By::Register(base), 0));
        let backwards = self.source.chance(5);
        let operation = if backwards { op::SUBTRACT } else { op::ADD };
        self.emit(op::alu(operation, true, target, By::Register(index), 0));
        if self.source.chance(50) {
            let result = self.target();
            self.emit(op::load(bytes, false, result, target, 0));
            self.set(target, Kind::Nothing);
            self.set(result, Kind::Number);
        } else {
            self.emit(op::store(bytes, target, 0, By::Register(index)));
            self.set(target, Kind::Nothing);
        }
    }

    fn stack(&mut self) {
        let place = self.source.below(8);
        let offset = -8 * (place as i16 + 1);
        if self.stack[place] && self.source.chance(50) {
            let (register, bytes) = (self.target(), self.source.pick(&SIZES));
            let inner = self.source.below(usize::from(8 / bytes)) as i16 * i16::from(bytes);
            self.emit(op::load(bytes, false, register, 10, offset + inner));
            self.set(register, Kind::Number);
        } else if let Some(register) = self.number() {
            if self.stack[place] && self.source.chance(30) {
                let bytes = self.source.pick(&SIZES);
                self.emit(op::store(bytes, 10, offset, By::Register(register)));
            } else {
                self.emit(op::store(8, 10, offset, By::Register(register)));
                self.stack[place] = true;
            }
        }
    }

    /// Spends R0 to R5, as calls do.
    fn called(&mut self) {
        for register in 1..6 {
            self.set(register, Kind::Nothing);
        }
        self.set(0, Kind::Number);
    }

    /// A key in the top slot of the stack, and R1 and R2 for a helper.
    fn key(&mut self, map: u32) {
        match self.number().filter(|_| self.source.chance(60)) {
            Some(register) => self.emit(op::store(4, 10, -4, By::Register(register))),
            None => {
                let key = self.source.below(6) as i32;
                self.emit(op::store(4, 10, -4, By::Immediate(key)));
            }
        }
        self.emit(op::alu(op::MOVE, true, 2, By::Register(10), 0));
        self.emit(op::alu(op::ADD, true, 2, By::Immediate(-4), 0));
        self.slots.extend(op::wide(1, 5, map, 0));
        self.stack[0] = false;
    }

    fn lookup(&mut self) {
        let map = self.source.pick(&[ARRAY, ARRAY, HASH]);
        self.key(map);
        self.emit(op::call(HELPER_LOOKUP));
        self.called();
        if !self.careless() {
            if self.source.chance(50) {
                self.emit(op::jump(op::JUMP_NOT_EQUAL, true, 0, By::Immediate(0), 1));
                self.emit(op::EXIT);
            } else {
                self.emit(op::jump(op::JUMP_EQUAL, true, 0, By::Immediate(0), 1));
                self.emit(op::go(1));
                self.emit(op::EXIT);
            }
        }
        let bytes = if map == HASH { HASH_VALUE_BYTES } else { ARRAY_VALUE_BYTES };
        let keep = 6 + self.source.below(2) as u8;
        let register = if self.source.chance(70) { keep } else { 4 };
        self.emit(op::alu(op::MOVE, true, register, By::Register(0), 0));
        self.set(register, Kind::Memory(bytes as i16));
        self.set(0, Kind::Nothing);
        let number = self.source.pick(&[0, 2, 3]);
        self.fresh_number(number);
    }

    fn counted_loop(&mut self) {
        if self.nested >= 2 {
            return;
        }
        let Some(counter) = self.number() else { return };
        let wide = self.source.chance(70);
        let step = self.source.pick(&[1, 1, 1, 2, 4]);
        let limit = 1 + self.source.below(16) as i32 * step;
        self.emit(op::alu(op::MOVE, true, counter, By::Immediate(0), 0));
        let head = self.slots.len();
        let (before, stack) = (self.registers, self.stack);
        self.nested += 1;
        self.set(counter, Kind::Nothing);
        let count = 1 + self.source.below(3);
        self.statements(count);
        self.merge(&before, &stack);
        self.set(counter, Kind::Number);
        self.nested -= 1;
        self.emit(op::alu(op::ADD, wide, counter, By::Immediate(step), 0));
        let distance = head as i64 - self.slots.len() as i64 - 1;
        let condition = self.source.pick(&[
            op::JUMP_LESS,
            op::JUMP_LESS,
            op::JUMP_NOT_EQUAL,
            op::JUMP_LESS_OR_EQUAL,
            0xc0,
        ]);
        self.emit(op::jump(condition, wide, counter, By::Immediate(limit), distance as i16));
    }

    fn global(&mut self) {
        let map = self.source.pick(&[GLOBAL, GLOBAL, CONSTANT]);
        let (bytes, register) = (self.source.pick(&SIZES), self.target());
        let offset = self.source.below(GLOBAL_BYTES as usize - usize::from(bytes)) as u32;
        self.slots.extend(op::wide(register, 6, map, offset));
        let result = self.target();
        match self.number().filter(|number| *number != register && map == GLOBAL) {
            Some(number) => self.emit(op::store(bytes, register, 0, By::Register(number))),
            None => {
                self.emit(op::load(bytes, false, result, register, 0));
                self.set(register, Kind::Nothing);
                self.set(result, Kind::Number);
                return;
            }
        }
        self.set(register, Kind::Memory((GLOBAL_BYTES - offset) as i16));
        if map == CONSTANT {
            self.set(register, Kind::Nothing);
        }
    }

    fn helper(&mut self) {
        match self.source.below(4) {
            0 => self.emit(op::call(HELPER_TIME)),
            1 => self.emit(op::call(HELPER_RANDOM)),
            2 => {
                for place in 1..4 {
                    let value = self.immediate();
                    self.emit(op::store(8, 10, -8 * (place + 1), By::Immediate(value)));
                    self.stack[place as usize] = true;
                }
                self.key(HASH);
                self.emit(op::alu(op::MOVE, true, 3, By::Register(10), 0));
                self.emit(op::alu(op::ADD, true, 3, By::Immediate(-32), 0));
                let flags = self.source.pick(&[0, 0, 1, 2]);
                self.emit(op::alu(op::MOVE, true, 4, By::Immediate(flags), 0));
                self.emit(op::call(HELPER_UPDATE));
            }
            _ => {
                self.key(HASH);
                self.emit(op::call(HELPER_DELETE));
            }
        }
        self.called();
    }

    fn record(&mut self) {
        self.slots.extend(op::wide(1, 5, RING, 0));
        self.emit(op::alu(op::MOVE, true, 2, By::Immediate(RECORD_BYTES), 0));
        self.emit(op::alu(op::MOVE, true, 3, By::Immediate(0), 0));
        self.emit(op::call(HELPER_RESERVE));
        self.called();
        let place = self.slots.len();
        if !self.careless() {
            self.emit(0);
        }
        let value = self.immediate();
        let offset = self.source.below(RECORD_BYTES as usize - 7) as i16;
        self.emit(op::store(8, 0, offset, By::Immediate(value)));
        self.emit(op::alu(op::MOVE, true, 1, By::Register(0), 0));
        self.emit(op::alu(op::MOVE, true, 2, By::Immediate(0), 0));
        if !self.careless() {
            let finish = self.source.pick(&[HELPER_SUBMIT, HELPER_DISCARD]);
            self.emit(op::call(finish));
        }
        self.called();
        if self.slots[place] == 0 {
            self.patch(place, op::jump(op::JUMP_EQUAL, true, 0, By::Immediate(0), 0));
        }
        self.emit(op::alu(op::MOVE, true, 0, By::Immediate(0), 0));
    }

    fn atomic(&mut self) {
        let Some(base) = self.find(|kind| matches!(kind, Kind::Memory(_))) else { return };
        let Some(source) = self.number() else { return };
        let wide = self.source.chance(60);
        let bytes = if wide { 8 } else { 4 };
        let slots = (self.room(base) / bytes).max(1);
        let offset = self.source.below(slots as usize) as i16 * bytes;
        let operation = self.source.pick(&[0, 1, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1]);
        if operation == 0xf1 && self.registers[0] != Kind::Number {
            return;
        }
        self.emit(op::atomic(wide, base, offset, source, operation));
    }

    /// A packet pointer moved by a number from the packet and compared with the end.
    fn packet_variable(&mut self) {
        if !matches!(self.registers[7], Kind::Packet(_)) || self.registers[8] != Kind::PacketEnd {
            return;
        }
        let Some(index) = self.number().filter(|index| !matches!(index, 4 | 5)) else { return };
        let mask = self.source.pick(&[0xf, 0x3f, 0xff, 0xfff]);
        if !self.careless() {
            self.emit(op::alu(op::AND, true, index, By::Immediate(mask), 0));
        }
        self.emit(op::alu(op::MOVE, true, 4, By::Register(7), 0));
        self.emit(op::alu(op::ADD, true, 4, By::Register(index), 0));
        self.emit(op::alu(op::MOVE, true, 5, By::Register(4), 0));
        let bytes = self.source.pick(&[1i16, 2, 4, 8]);
        self.emit(op::alu(op::ADD, true, 5, By::Immediate(bytes.into()), 0));
        self.emit(op::jump(op::JUMP_GREATER, true, 5, By::Register(8), 1));
        let number = self.source.pick(&[0, 2, 3]);
        let slip = i16::from(self.careless());
        self.emit(op::load(bytes as u8, false, number, 4, slip));
        if self.registers[usize::from(number)] != Kind::Number {
            self.set(number, Kind::Nothing);
        }
        self.set(4, Kind::Nothing);
        self.set(5, Kind::Nothing);
    }

    fn epilogue(&mut self) {
        if let Some(register) = self.number().filter(|_| self.source.chance(80)) {
            self.emit(op::alu(op::MOVE, true, 0, By::Register(register), 0));
        } else {
            self.emit(op::alu(op::MOVE, true, 0, By::Immediate(0), 0));
        }
        self.emit(op::EXIT);
    }

    /// Sometimes the program calls a function at its start, which this gives.
    fn function(&mut self) -> Option<Vec<u64>> {
        if !self.source.chance(15) {
            return None;
        }
        // The call goes to the end, just before the last move and the exit.
        let place = self.slots.len() - 2;
        self.slots.truncate(place);
        self.emit(op::alu(op::MOVE, true, 1, By::Register(10), 0));
        let below = -8 * (1 + self.source.below(4) as i32);
        self.emit(op::store(8, 10, below as i16, By::Immediate(5)));
        self.emit(op::alu(op::ADD, true, 1, By::Immediate(below), 0));
        let number = self.immediate();
        self.emit(op::alu(op::MOVE, true, 2, By::Immediate(number), 0));
        self.emit(op::call_function(2));
        self.emit(op::alu(op::MOVE, true, 0, By::Immediate(0), 0));
        self.emit(op::EXIT);
        let main = std::mem::take(&mut self.slots);
        self.registers = [Kind::Nothing; 10];
        self.registers[1] = Kind::Memory(8);
        self.registers[2] = Kind::Number;
        self.stack = [false; 8];
        self.packet = false;
        self.emit(op::alu(op::MOVE, true, 6, By::Register(1), 0));
        self.set(6, Kind::Memory(8));
        self.fresh_number(3);
        self.fresh_number(0);
        let count = 1 + self.source.below(12);
        self.statements(count);
        self.epilogue();
        Some(std::mem::replace(&mut self.slots, main))
    }
}
