//! Programs from bytes: any bytes give a program that is valid, ends, stays inside its memory and stack, and leaves all its
//! registers in its memory, so that engines can be compared.

/// Bytes of memory that a program is run on: data, then room for the registers at its end.
pub(crate) const MEMORY_BYTES: usize = DATA_BYTES + 8 * 10;
const DATA_BYTES: usize = 64;
/// Bytes of stack that are initialised and used.
const STACK_BYTES: usize = 64;
/// Operations in the entry function's body, at most.
const BODY_MAX: usize = 60;

/// What may be in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Everything.
    Full,
    /// What rbpf 0.4.1 computes right: no atomics, no version 4, no calls; nor what it gets wrong: remainders of low halves
    /// by zero, negative 64-bit numbers, unsigned comparisons of whole registers with negative constants.
    Rbpf,
}

/// Registers that programs compute with; R8 counts loops, R9 points to memory.
const COMPUTED: u8 = 8;
const COUNTER: u8 = 8;
const MEMORY: u8 = 9;
const FRAME: u8 = 10;

struct Source<'a> {
    bytes: &'a [u8],
}

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    fn flip(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// Numbers at which arithmetic changes its mind, and any others.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.word(),
            1 => self.byte() as i8 as u64,
            2 => 1_u64.rotate_left(u32::from(self.byte())).wrapping_sub(u64::from(self.byte() & 1)),
            _ => self.pick(&[
                0,
                1,
                u64::MAX,
                i64::MIN as u64,
                i64::MAX as u64,
                i32::MIN as u64,
                i32::MIN as u32 as u64,
                i32::MAX as u64,
                u64::from(u32::MAX),
            ]),
        }
    }

    fn immediate(&mut self) -> i32 {
        self.number() as i32
    }
}

fn encode(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

struct Generator<'a> {
    source: Source<'a>,
    dialect: Dialect,
    slots: Vec<u64>,
    /// Slots of calls of the function behind the entry, to be pointed there.
    calls: Vec<usize>,
}

/// A program for any `bytes`.
pub(crate) fn program(bytes: &[u8], dialect: Dialect) -> Vec<u64> {
    let mut generator = Generator { source: Source { bytes }, dialect, slots: Vec::new(), calls: Vec::new() };
    generator.entry();
    generator.slots
}

impl Generator<'_> {
    fn emit(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.slots.push(encode(opcode, destination, source, offset, immediate));
    }

    fn load_number(&mut self, register: u8) {
        let value = self.source.number();
        self.emit(0x18, register, 0, 0, value as i32);
        self.emit(0, 0, 0, 0, (value >> 32) as i32);
    }

    fn entry(&mut self) {
        self.emit(0xbf, MEMORY, 1, 0, 0);
        for offset in (0..STACK_BYTES).step_by(8) {
            let value = self.source.immediate();
            self.emit(0x7a, FRAME, 0, -(STACK_BYTES as i16) + offset as i16, value);
        }
        for register in 0..COMPUTED {
            self.load_number(register);
        }
        self.emit(0xb7, COUNTER, 0, 0, 0);
        let operations = self.source.below(BODY_MAX);
        self.block(operations, true);
        // R1 to R5 hold anything after calls; every call sets them again.
        for register in 0..=COUNTER {
            self.emit(0x7b, MEMORY, register, (DATA_BYTES + 8 * usize::from(register)) as i16, 0);
        }
        self.emit(0x95, 0, 0, 0, 0);
        if !self.calls.is_empty() {
            self.function();
        }
    }

    /// A function of its arguments with a stack of its own.
    fn function(&mut self) {
        let start = self.slots.len();
        for &call in &self.calls {
            let distance = (start - call - 1) as u64;
            self.slots[call] |= distance << 32;
        }
        for offset in (0..STACK_BYTES).step_by(8) {
            self.emit(0x7b, FRAME, 1, -(STACK_BYTES as i16) + offset as i16, 0);
        }
        for register in [0, 2, 3, 4, 5, 6, 7] {
            self.emit(0xbf, register, 1 + register % 2, 0, 0);
        }
        for _ in 0..self.source.below(8) {
            self.arithmetic();
        }
        // Its caller's pointer is not for it, and the caller's counter not to be kept by it.
        let spilled = -8;
        self.emit(0x7b, FRAME, 0, spilled, 0);
        self.emit(0xb7, MEMORY, 0, 0, 1);
        self.emit(0xb7, COUNTER, 0, 0, 2);
        self.emit(0xbf, 6, 0, 0, 0);
        self.emit(0x79, 0, FRAME, spilled, 0);
        // Callbacks end the loop by anything but 0.
        let mask = self.source.pick(&[-1, 1, 0]);
        self.emit(0x57, 0, 0, 0, mask);
        self.emit(0x95, 0, 0, 0, 0);
    }

    /// `count` operations, with jumps forward among them, and loops if `outermost`.
    fn block(&mut self, count: usize, outermost: bool) {
        let mut starts = Vec::new();
        let mut jumps = Vec::new();
        for index in 0..count {
            starts.push(self.slots.len());
            match self.source.below(16) {
                0..=6 => self.arithmetic(),
                7 | 8 => self.access(),
                9 | 10 => {
                    // Near, or so far that the jump is a long one.
                    let reach = self.source.pick(&[6, 6, 6, BODY_MAX]);
                    let distance = 1 + self.source.below(reach);
                    jumps.push((self.slots.len(), (index + distance).min(count)));
                    self.jump();
                }
                11 => {
                    let register = self.source.below(COMPUTED.into()) as u8;
                    self.load_number(register);
                }
                12 if outermost => self.counted_loop(),
                13 if self.dialect == Dialect::Full => self.atomic(),
                14 if self.dialect == Dialect::Full => self.call(),
                15 => self.through_pointer(),
                _ => self.arithmetic(),
            }
        }
        starts.push(self.slots.len());
        for (slot, index) in jumps {
            let distance = (starts[index] - slot - 1) as u64;
            // The long jump keeps its distance in the immediate.
            let shift = if self.slots[slot] as u8 == 0x06 { 32 } else { 16 };
            self.slots[slot] |= distance << shift;
        }
    }

    fn counted_loop(&mut self) {
        let rounds = 1 + self.source.below(5) as i32;
        self.emit(0xb7, COUNTER, 0, 0, rounds);
        let start = self.slots.len();
        let operations = self.source.below(8);
        self.block(operations, false);
        self.emit(0x17, COUNTER, 0, 0, 1);
        let distance = start as i64 - self.slots.len() as i64 - 1;
        self.emit(0x55, COUNTER, 0, distance as i16, 0);
    }

    fn arithmetic(&mut self) {
        let destination = self.source.below(COMPUTED.into()) as u8;
        let source = self.source.below(COMPUTED.into()) as u8;
        let class = self.source.pick(&[4, 7]);
        let full = self.dialect == Dialect::Full;
        match self.source.below(18) {
            14 => self.emit(0x80 | if full { class } else { 4 }, destination, 0, 0, 0),
            15 if full => {
                let bits =
                    if class == 7 { self.source.pick(&[8, 16, 32]) } else { self.source.pick(&[8, 16]) };
                self.emit(0xb8 | class, destination, source, bits, 0);
            }
            16 => {
                let opcode = if full { self.source.pick(&[0xd4, 0xdc, 0xd7]) } else { 0xdc };
                let bits = self.source.pick(&[16, 32, 64]);
                self.emit(opcode, destination, 0, 0, bits);
            }
            17 if self.source.flip() => {
                // A copy with something added.
                self.emit(0xbf, destination, source, 0, 0);
                if self.source.flip() {
                    let added = self.source.below(COMPUTED.into()) as u8;
                    self.emit(0x0f, destination, added, 0, 0);
                } else {
                    let value = self.source.immediate();
                    self.emit(0x07, destination, 0, 0, value);
                }
            }
            17 => {
                // Pairs that compilers make of extensions from 32 bits.
                let second = self.source.pick(&[0x77, 0xc7]);
                self.emit(0x67, destination, 0, 0, 32);
                self.emit(second, destination, 0, 0, 32);
            }
            index => {
                // Move comes up twice.
                let op = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 3, 9, 11, 11, 11, 11][index];
                let signed = full && matches!(op, 3 | 9) && self.source.flip();
                let offset = i16::from(signed);
                let op = if op == 9 && class == 4 && !full { 3 } else { op };
                if self.source.flip() {
                    self.emit(op << 4 | 8 | class, destination, source, offset, 0);
                } else {
                    let mut value = self.source.immediate();
                    if matches!(op, 6 | 7 | 12) {
                        value &= if class == 7 { 63 } else { 31 };
                    }
                    // rbpf refuses division by a constant zero.
                    if matches!(op, 3 | 9) && value == 0 && !full {
                        value = 1;
                    }
                    self.emit(op << 4 | class, destination, 0, offset, value);
                }
            }
        }
    }

    fn jump(&mut self) {
        let full = self.dialect == Dialect::Full;
        if self.source.below(8) == 0 {
            let opcode = if full { self.source.pick(&[0x05, 0x06]) } else { 0x05 };
            return self.emit(opcode, 0, 0, 0, 0);
        }
        let condition = self.source.pick(&[1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13]) << 4;
        let class = self.source.pick(&[5, 6]);
        let left = self.source.below(COMPUTED.into()) as u8;
        if self.source.flip() {
            let right = self.source.below(COMPUTED.into()) as u8;
            self.emit(condition | 8 | class, left, right, 0, 0);
        } else {
            let mut value = self.source.immediate();
            if !full {
                value &= i32::MAX;
            }
            self.emit(condition | class, left, 0, 0, value);
        }
    }

    /// Base, and an offset at which `bytes` may be accessed.
    fn place(&mut self, bytes: usize) -> (u8, i16) {
        if self.source.flip() {
            (MEMORY, self.source.below(DATA_BYTES - bytes + 1) as i16)
        } else {
            let offset = self.source.below(STACK_BYTES - bytes + 1) as i16;
            (FRAME, offset - STACK_BYTES as i16)
        }
    }

    fn access(&mut self) {
        let (size, bytes) = self.source.pick(&[(0x00, 4), (0x08, 2), (0x10, 1), (0x18, 8)]);
        let register = self.source.below(COMPUTED.into()) as u8;
        let (base, offset) = self.place(bytes);
        match self.source.below(4) {
            0 => {
                let value = self.source.immediate();
                self.emit(0x62 | size, base, 0, offset, value);
            }
            1 => self.emit(0x63 | size, base, register, offset, 0),
            2 if size != 0x18 && self.dialect == Dialect::Full => {
                self.emit(0x81 | size, register, base, offset, 0);
            }
            _ => self.emit(0x61 | size, register, base, offset, 0),
        }
    }

    fn atomic(&mut self) {
        let (opcode, bytes) = self.source.pick(&[(0xc3, 4), (0xdb, 8)]);
        let register = self.source.below(COMPUTED.into()) as u8;
        let (base, offset) = self.place(bytes);
        let op = self.source.pick(&[0, 1, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1]);
        self.emit(opcode, base, register, offset, op);
    }

    /// An access by a pointer to the stack in a register, which holds a number again afterwards.
    fn through_pointer(&mut self) {
        let pointer = self.source.below(COMPUTED.into()) as u8;
        let other = (pointer + 1) % COMPUTED;
        self.emit(0xbf, pointer, FRAME, 0, 0);
        self.emit(0x07, pointer, 0, 0, -(STACK_BYTES as i32));
        let offset = self.source.below(STACK_BYTES - 7) as i16;
        if self.source.flip() {
            self.emit(0x79, other, pointer, offset, 0);
        } else {
            self.emit(0x7b, pointer, other, offset, 0);
        }
        self.load_number(pointer);
    }

    /// A call, of a helper or of the function; arguments hold numbers again afterwards.
    fn call(&mut self) {
        const ROUNDS: i32 = 3;
        match self.source.below(4) {
            0 => self.emit(0x85, 0, 0, 0, 7),
            1 => {
                self.calls.push(self.slots.len());
                self.emit(0x85, 0, 1, 0, 0);
            }
            2 => {
                // Function values differ from no engine to another, but look like addresses.
                self.calls.push(self.slots.len());
                self.emit(0x18, 6, 4, 0, 0);
                self.emit(0, 0, 0, 0, 0);
                self.emit(0x8d, 6, 0, 0, 0);
            }
            _ => {
                let rounds = self.source.below(ROUNDS as usize) as i32;
                let flags = i32::from(self.source.below(8) == 0);
                self.emit(0xb7, 1, 0, 0, rounds);
                self.calls.push(self.slots.len());
                self.emit(0x18, 2, 4, 0, 0);
                self.emit(0, 0, 0, 0, 0);
                self.emit(0xb7, 4, 0, 0, flags);
                self.emit(0x85, 0, 0, 0, 181);
            }
        }
        for register in 1..=5 {
            self.load_number(register);
        }
    }
}
