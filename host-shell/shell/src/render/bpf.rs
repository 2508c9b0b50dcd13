//! eBPF instructions in the notation of `bpftool prog dump xlated`.

use uio_bpf::helper::prototype;
use uio_bpf::instruction::{
    Alu, Atomic, ByteOrder, Callee, Condition, Immediate64, Operand, Operation, Register, Size, Width,
};

/// The instruction as text. `maps` names the maps of its object.
#[must_use]
pub fn instruction(operation: Operation, maps: &[String]) -> String {
    match operation {
        Operation::Alu { op, width, destination, source } => alu(op, width, destination, source),
        Operation::Negate { width, destination } => {
            let register = named(destination, width);
            format!("{register} = -{register}")
        }
        Operation::MoveSigned { width, bits, destination, source } => {
            format!("{} = (s{bits}){}", named(destination, width), named(source, width))
        }
        Operation::Swap { order, bits, destination } => {
            let name = match order {
                ByteOrder::ToLittle => "le",
                ByteOrder::ToBig => "be",
                ByteOrder::Swap => "bswap",
            };
            format!("{0} = {name}{bits} {0}", r(destination))
        }
        Operation::LoadImmediate { destination, value } => {
            let value = match value {
                Immediate64::Value(value) => format!("{value:#x} ll"),
                Immediate64::Map(map) => format!("map[{}]", map_name(maps, map)),
                Immediate64::MapValue { map, offset } => format!("map[{}][0]+{offset}", map_name(maps, map)),
                Immediate64::Function(slot) => format!("function {slot}"),
            };
            format!("{} = {value}", r(destination))
        }
        Operation::Load { size, signed, destination, base, offset } => {
            let sign = if signed { 's' } else { 'u' };
            format!("{} = *({sign}{} *)({}{offset:+})", r(destination), bits(size), r(base))
        }
        Operation::Store { size, base, offset, source } => {
            format!("*(u{} *)({}{offset:+}) = {}", bits(size), r(base), operand(source, Width::W64))
        }
        Operation::Atomic { op, width, base, offset, source } => atomic(op, width, base, offset, source),
        Operation::Jump { target } => format!("goto {target}"),
        Operation::JumpIf { condition, width, left, right, target } => {
            let (signed, sign) = match condition {
                Condition::Equal => ("", "=="),
                Condition::NotEqual => ("", "!="),
                Condition::Greater => ("", ">"),
                Condition::GreaterOrEqual => ("", ">="),
                Condition::Less => ("", "<"),
                Condition::LessOrEqual => ("", "<="),
                Condition::BitsSet => ("", "&"),
                Condition::SignedGreater => ("s", ">"),
                Condition::SignedGreaterOrEqual => ("s", ">="),
                Condition::SignedLess => ("s", "<"),
                Condition::SignedLessOrEqual => ("s", "<="),
            };
            format!("if {} {signed}{sign} {} goto {target}", named(left, width), operand(right, width))
        }
        Operation::Call(Callee::Helper(number)) => match prototype(number) {
            Some(helper) => format!("call {}#{number}", helper.name),
            None => format!("call helper#{number}"),
        },
        Operation::Call(Callee::Function(slot)) => format!("call {slot}"),
        Operation::Call(Callee::Register(register)) => format!("callx {}", r(register)),
        Operation::Exit => "exit".into(),
    }
}

fn alu(op: Alu, width: Width, destination: Register, source: Operand) -> String {
    let sign = match op {
        Alu::Add => "+=",
        Alu::Subtract => "-=",
        Alu::Multiply => "*=",
        Alu::Divide => "/=",
        Alu::SignedDivide => "s/=",
        Alu::Modulo => "%=",
        Alu::SignedModulo => "s%=",
        Alu::Or => "|=",
        Alu::And => "&=",
        Alu::Xor => "^=",
        Alu::ShiftLeft => "<<=",
        Alu::ShiftRight => ">>=",
        Alu::ShiftRightArithmetic => "s>>=",
        Alu::Move => "=",
    };
    format!("{} {sign} {}", named(destination, width), operand(source, width))
}

fn atomic(op: Atomic, width: Width, base: Register, offset: i16, source: Register) -> String {
    let bits = if width == Width::W32 { 32 } else { 64 };
    let place = format!("(u{bits} *)({}{offset:+})", r(base));
    let source = named(source, width);
    let fetched = |name: &str| format!("{source} = atomic_fetch_{name}({place}, {source})");
    match op {
        Atomic::Add { fetch: false } => format!("lock *{place} += {source}"),
        Atomic::Or { fetch: false } => format!("lock *{place} |= {source}"),
        Atomic::And { fetch: false } => format!("lock *{place} &= {source}"),
        Atomic::Xor { fetch: false } => format!("lock *{place} ^= {source}"),
        Atomic::Add { fetch: true } => fetched("add"),
        Atomic::Or { fetch: true } => fetched("or"),
        Atomic::And { fetch: true } => fetched("and"),
        Atomic::Xor { fetch: true } => fetched("xor"),
        Atomic::Exchange => format!("{source} = xchg({place}, {source})"),
        Atomic::CompareExchange => {
            let result = named(Register::R0, width);
            format!("{result} = cmpxchg({place}, {result}, {source})")
        }
    }
}

fn operand(operand: Operand, width: Width) -> String {
    match operand {
        Operand::Register(register) => named(register, width),
        Operand::Immediate(value) if (-1024..1024).contains(&value) => value.to_string(),
        Operand::Immediate(value) => format!("{value:#x}"),
    }
}

fn r(register: Register) -> String {
    named(register, Width::W64)
}

/// `r3`, or `w3` for its low half.
fn named(register: Register, width: Width) -> String {
    format!("{}{}", if width == Width::W32 { 'w' } else { 'r' }, register.index())
}

fn bits(size: Size) -> u32 {
    u32::from(size.bytes()) * 8
}

fn map_name(maps: &[String], index: u32) -> String {
    maps.get(index as usize).cloned().unwrap_or_else(|| index.to_string())
}

#[cfg(test)]
mod tests {
    use uio_bpf::instruction::decode;

    use super::*;

    #[test]
    fn instructions_read_as_in_bpftool() {
        // mov r0, 2; mov32 w1, -1; ldxw r2, [r1+4]; stdw [r10-8], 5; jeq r2, 3, +1; lddw map 0; call 1; exit
        let slots = [
            0x0000_0002_0000_00b7,
            0xffff_ffff_0000_01b4,
            0x0000_0000_0004_1261,
            0x0000_0005_fff8_0a7a,
            0x0000_0003_0001_0215,
            0x0000_0000_0000_00bf,
            0x0000_0000_0000_5118,
            0x0000_0000_0000_0000,
            0x0000_0001_0000_0085,
            0x0000_0000_0000_0095,
        ];
        let decoded = decode(&slots).unwrap();
        let maps = ["counts".to_owned()];
        let text: Vec<String> = decoded.iter().map(|(_, operation)| instruction(operation, &maps)).collect();
        assert_eq!(
            text,
            [
                "r0 = 2",
                "w1 = -1",
                "r2 = *(u32 *)(r1+4)",
                "*(u64 *)(r10-8) = 5",
                "if r2 == 3 goto 6",
                "r0 = r0",
                "r1 = map[counts]",
                "call map_lookup_elem#1",
                "exit",
            ]
        );
    }
}
