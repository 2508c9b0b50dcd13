//! Encoding of the few x86-64 instructions that compiled programs consist of (Intel SDM, volume 2).

/// A general-purpose register, by its number in encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

impl Reg {
    pub(super) const RAX: Self = Self(0);
    pub(super) const RCX: Self = Self(1);
    pub(super) const RDX: Self = Self(2);
    pub(super) const RBX: Self = Self(3);
    pub(super) const RSP: Self = Self(4);
    pub(super) const RSI: Self = Self(6);
    pub(super) const RDI: Self = Self(7);
    pub(super) const R8: Self = Self(8);
    pub(super) const R9: Self = Self(9);
    pub(super) const R10: Self = Self(10);
    pub(super) const R11: Self = Self(11);
    pub(super) const R12: Self = Self(12);
    pub(super) const R14: Self = Self(14);
    pub(super) const R15: Self = Self(15);

    const fn low(self) -> u64 {
        (self.0 & 7) as u64
    }

    const fn high(self) -> u64 {
        (self.0 >> 3) as u64
    }
}

/// Memory at a register plus a displacement.
#[derive(Clone, Copy)]
pub(super) struct Address {
    pub(super) base: Reg,
    pub(super) displacement: i32,
}

pub(super) const fn at(base: Reg, displacement: i32) -> Address {
    Address { base, displacement }
}

/// The two-operand instructions of the first opcode row, by their number in `81 /n` and as the opcode `8n + 1`.
#[derive(Clone, Copy)]
pub(super) enum Basic {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

#[derive(Clone, Copy)]
pub(super) enum Shift {
    Left = 4,
    Right = 5,
    RightArithmetic = 7,
}

/// What `F7 /n` does.
#[derive(Clone, Copy)]
pub(super) enum Unary {
    Not = 2,
    Neg = 3,
    Div = 6,
    Idiv = 7,
}

/// Condition codes as in `70 + cc`.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    Below = 2,
    AboveOrEqual = 3,
    Equal = 4,
    NotEqual = 5,
    BelowOrEqual = 6,
    Above = 7,
    Sign = 8,
    Less = 12,
    GreaterOrEqual = 13,
    LessOrEqual = 14,
    Greater = 15,
}

impl Flag {
    pub(super) const fn inverse(self) -> u8 {
        self as u8 ^ 1
    }
}

/// An instruction with a memory operand, without operands.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// A prefix in front, or 0.
    pub(super) prefix: u8,
    pub(super) wide: bool,
    /// The register operand is its low byte.
    pub(super) byte: bool,
    /// The opcode follows `0F`.
    pub(super) escape: bool,
    pub(super) opcode: u8,
}

impl Form {
    pub(super) const fn new(wide: bool, opcode: u8) -> Self {
        Self { prefix: 0, wide, byte: false, escape: false, opcode }
    }

    pub(super) const fn escaped(wide: bool, opcode: u8) -> Self {
        Self { prefix: 0, wide, byte: false, escape: true, opcode }
    }

    pub(super) const fn prefixed(self, prefix: u8) -> Self {
        Self { prefix, ..self }
    }

    pub(super) const fn byte(self) -> Self {
        Self { byte: true, ..self }
    }
}

pub(super) const LOCK: u8 = 0xf0;
pub(super) const OPERAND_16: u8 = 0x66;

/// Bytes written at once: what is written last must have this much room.
const WORD: usize = 8;

/// Writes instructions one after the other.
pub(super) struct Assembler<'b> {
    code: &'b mut [u8],
    position: usize,
    failed: bool,
}

impl<'b> Assembler<'b> {
    pub(super) const fn new(code: &'b mut [u8]) -> Self {
        Self { code, position: 0, failed: false }
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// Makes what was written useless: something did not fit.
    pub(super) const fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether something did not fit.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Appends the low `count` bytes, at most 8.
    #[inline(always)]
    pub(super) fn put(&mut self, bytes: u64, count: usize) {
        match self.code.get_mut(self.position..self.position + WORD) {
            Some(room) => room.copy_from_slice(&bytes.to_le_bytes()),
            None => self.failed = true,
        }
        self.position += count;
    }

    /// Overwrites what was written at `position`.
    pub(super) fn patch(&mut self, position: usize, bytes: &[u8]) {
        match self.code.get_mut(position..position + bytes.len()) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.failed = true,
        }
    }

    /// `opcode` with two registers, of which `rm` is the destination of most.
    #[inline(always)]
    pub(super) fn rr(&mut self, wide: bool, opcode: u8, reg: Reg, rm: Reg) {
        let rex = rex(wide, reg, rm);
        let rest = u64::from(opcode) | (0xc0 | reg.low() << 3 | rm.low()) << 8;
        if rex == 0x40 {
            self.put(rest, 2);
        } else {
            self.put(rex | rest << 8, 3);
        }
    }

    /// `0F opcode` with two registers, of which `reg` is the destination of most.
    #[inline(always)]
    pub(super) fn escaped_rr(&mut self, wide: bool, force_rex: bool, opcode: u8, reg: Reg, rm: Reg) {
        let rex = rex(wide, reg, rm);
        let rest = 0x0f | u64::from(opcode) << 8 | (0xc0 | reg.low() << 3 | rm.low()) << 16;
        if rex == 0x40 && !force_rex {
            self.put(rest, 3);
        } else {
            self.put(rex | rest << 8, 4);
        }
    }

    pub(super) fn mov(&mut self, wide: bool, destination: Reg, source: Reg) {
        self.rr(wide, 0x89, source, destination);
    }

    pub(super) fn test(&mut self, wide: bool, left: Reg, right: Reg) {
        self.rr(wide, 0x85, right, left);
    }

    pub(super) fn basic(&mut self, op: Basic, wide: bool, destination: Reg, source: Reg) {
        self.rr(wide, (op as u8) << 3 | 1, source, destination);
    }

    /// `op destination, value`, the value sign-extended.
    #[inline(always)]
    pub(super) fn basic_imm(&mut self, op: Basic, wide: bool, destination: Reg, value: i32) {
        let short = value == i32::from(value as i8);
        self.rr(wide, if short { 0x83 } else { 0x81 }, Reg(op as u8), destination);
        self.put(value as u32 as u64, if short { 1 } else { 4 });
    }

    /// `test destination, value`, the value sign-extended.
    pub(super) fn test_imm(&mut self, wide: bool, destination: Reg, value: i32) {
        self.rr(wide, 0xf7, Reg(0), destination);
        self.put(value as u32 as u64, 4);
    }

    pub(super) fn imul(&mut self, wide: bool, destination: Reg, source: Reg) {
        self.escaped_rr(wide, false, 0xaf, destination, source);
    }

    /// `destination = source * value`.
    pub(super) fn imul_imm(&mut self, wide: bool, destination: Reg, source: Reg, value: i32) {
        let short = value == i32::from(value as i8);
        self.rr(wide, if short { 0x6b } else { 0x69 }, destination, source);
        self.put(value as u32 as u64, if short { 1 } else { 4 });
    }

    pub(super) fn unary(&mut self, op: Unary, wide: bool, operand: Reg) {
        self.rr(wide, 0xf7, Reg(op as u8), operand);
    }

    /// Sign-extends RAX into RDX.
    pub(super) fn sign_into_rdx(&mut self, wide: bool) {
        if wide { self.put(0x9948, 2) } else { self.put(0x99, 1) }
    }

    pub(super) fn shift_imm(&mut self, op: Shift, wide: bool, destination: Reg, count: u8) {
        self.rr(wide, 0xc1, Reg(op as u8), destination);
        self.put(u64::from(count), 1);
    }

    /// Shifts by CL.
    pub(super) fn shift_cl(&mut self, op: Shift, wide: bool, destination: Reg) {
        self.rr(wide, 0xd3, Reg(op as u8), destination);
    }

    /// `shlx`, `shrx` or `sarx destination, destination, count` (BMI2).
    pub(super) fn shift_bmi2(&mut self, op: Shift, wide: bool, destination: Reg, count: Reg) {
        let prefix = match op {
            Shift::Left => 1,
            Shift::Right => 3,
            Shift::RightArithmetic => 2,
        };
        let not_r = u64::from(destination.high() == 0) << 7;
        let not_b = u64::from(destination.high() == 0) << 5;
        let second = not_r | 1 << 6 | not_b | 2;
        let third = u64::from(wide) << 7 | u64::from(!count.0 & 15) << 3 | prefix;
        let modrm = 0xc0 | destination.low() << 3 | destination.low();
        self.put(0xc4 | second << 8 | third << 16 | 0xf7 << 24 | modrm << 32, 5);
    }

    /// Rotates the low 16 bits by 8.
    pub(super) fn swap_bytes_16(&mut self, destination: Reg) {
        self.put(0x66, 1);
        self.rr(false, 0xc1, Reg(0), destination);
        self.put(8, 1);
    }

    pub(super) fn bswap(&mut self, wide: bool, destination: Reg) {
        let rex = rex(wide, Reg(0), destination);
        let rest = 0x0f | (0xc8 | destination.low()) << 8;
        if rex == 0x40 { self.put(rest, 2) } else { self.put(rex | rest << 8, 3) }
    }

    /// Loads a number in the shortest way. Changes flags.
    pub(super) fn mov_imm(&mut self, destination: Reg, value: u64) {
        if value == 0 {
            self.basic(Basic::Xor, false, destination, destination);
        } else if let Ok(low) = u32::try_from(value) {
            self.mov_imm32(destination, low);
        } else if value as i32 as i64 as u64 == value {
            self.rr(true, 0xc7, Reg(0), destination);
            self.put(value & 0xffff_ffff, 4);
        } else {
            self.put(rex(true, Reg(0), destination) | (0xb8 | destination.low()) << 8, 2);
            self.put(value, 8);
        }
    }

    /// Loads a number, zero-extended, and leaves flags.
    #[inline(always)]
    pub(super) fn mov_imm32(&mut self, destination: Reg, value: u32) {
        let rex = rex(false, Reg(0), destination);
        let rest = 0xb8 | destination.low() | u64::from(value) << 8;
        if rex == 0x40 { self.put(rest, 5) } else { self.put(rex | rest << 8, 6) }
    }

    /// An instruction with a register and a memory operand; an immediate may follow.
    #[inline(always)]
    pub(super) fn memory(&mut self, form: Form, reg: Reg, address: Address) {
        let Address { base, displacement } = address;
        let mut bytes = 0_u64;
        let mut count = 0;
        let mut push = |byte: u64| {
            bytes |= byte << (count * 8);
            count += 1;
        };
        if form.prefix != 0 {
            push(u64::from(form.prefix));
        }
        let rex = rex(form.wide, reg, base);
        // Without the prefix, byte registers 4 to 7 are AH to BH.
        if rex != 0x40 || (form.byte && reg.0 >= 4) {
            push(rex);
        }
        if form.escape {
            push(0x0f);
        }
        push(u64::from(form.opcode));
        // Base 5 without a displacement means something else.
        let (mode, displacement_bytes) = if displacement == 0 && base.low() != 5 {
            (0, 0)
        } else if displacement == i32::from(displacement as i8) {
            (0x40, 1)
        } else {
            (0x80, 4)
        };
        push(mode | reg.low() << 3 | base.low());
        // Base 4 means that a byte with base and index follows.
        if base.low() == 4 {
            push(0x24);
        }
        self.put(bytes, count);
        if displacement_bytes != 0 {
            self.put(displacement as u32 as u64, displacement_bytes);
        }
    }

    pub(super) fn lea(&mut self, destination: Reg, address: Address) {
        self.memory(Form::new(true, 0x8d), destination, address);
    }

    /// `destination = base + (index << scale)`; the base is none of RBP and R13.
    pub(super) fn lea_scaled(&mut self, destination: Reg, base: Reg, index: Reg, scale: u8) {
        let rex = rex(true, destination, base) | index.high() << 1;
        let sib = u64::from(scale) << 6 | index.low() << 3 | base.low();
        self.put(rex | 0x8d << 8 | (destination.low() << 3 | 4) << 16 | sib << 24, 4);
    }

    pub(super) fn load64(&mut self, destination: Reg, address: Address) {
        self.memory(Form::new(true, 0x8b), destination, address);
    }

    pub(super) fn store64(&mut self, address: Address, source: Reg) {
        self.memory(Form::new(true, 0x89), source, address);
    }

    pub(super) fn push(&mut self, source: Reg) {
        if source.high() == 0 {
            self.put(0x50 | source.low(), 1);
        } else {
            self.put(0x5041 | source.low() << 8, 2);
        }
    }

    pub(super) fn pop(&mut self, destination: Reg) {
        if destination.high() == 0 {
            self.put(0x58 | destination.low(), 1);
        } else {
            self.put(0x5841 | destination.low() << 8, 2);
        }
    }

    pub(super) fn ret(&mut self) {
        self.put(0xc3, 1);
    }

    pub(super) fn call_reg(&mut self, target: Reg) {
        self.rr(false, 0xff, Reg(2), target);
    }

    pub(super) fn jump_reg(&mut self, target: Reg) {
        self.rr(false, 0xff, Reg(4), target);
    }

    /// A jump over the next few instructions: `70 + cc` with a distance that [`Assembler::land`] fills in.
    pub(super) fn skip(&mut self, condition: u8) -> usize {
        self.put(u64::from(0x70 | condition), 2);
        self.position
    }

    /// A jump back over a few instructions, to `target`.
    pub(super) fn skip_back(&mut self, condition: u8, target: usize) {
        let after = self.position as i64 + 2;
        match i8::try_from(target as i64 - after) {
            Ok(distance) => self.put(u64::from(0x70 | condition) | u64::from(distance as u8) << 8, 2),
            Err(_) => self.failed = true,
        }
    }

    /// As [`Assembler::skip`], always.
    pub(super) fn skip_always(&mut self) -> usize {
        self.put(0xeb, 2);
        self.position
    }

    /// Where the jump goes whose end is `from`: here.
    pub(super) fn land(&mut self, from: usize) {
        let distance = self.position - from;
        // All skips are inside one operation's code, which is shorter; if not, the code is useless.
        match i8::try_from(distance) {
            Ok(distance) => self.patch(from - 1, &distance.to_le_bytes()),
            Err(_) => self.failed = true,
        }
    }
}

const fn rex(wide: bool, reg: Reg, rm: Reg) -> u64 {
    0x40 | (wide as u64) << 3 | reg.high() << 2 | rm.high()
}
