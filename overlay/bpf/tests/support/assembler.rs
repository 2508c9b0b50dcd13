//! The assembly language of the public conformance suite, to slots.

use std::collections::HashMap;

/// Assembles a program; the error names the line.
pub(crate) fn assemble(text: &str) -> Result<Vec<u64>, String> {
    let mut labels = HashMap::new();
    let mut lines = Vec::new();
    let mut slot = 0;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if let Some(label) = line.strip_suffix(':') {
            labels.insert(label.to_owned(), slot);
        } else if !line.is_empty() {
            lines.push((slot, line));
            slot += if line.starts_with("lddw") { 2 } else { 1 };
        }
    }
    // The suite's programs may name their end without defining it.
    if let Some((last, _)) = lines.iter().rfind(|(_, line)| *line == "exit") {
        labels.entry("exit".to_owned()).or_insert(*last);
    }
    let mut slots = Vec::new();
    for (slot, line) in lines {
        let instruction = Line::new(line, slot, &labels);
        slots.extend(instruction.assemble().ok_or_else(|| format!("cannot assemble `{line}`"))?);
    }
    Ok(slots)
}

struct Line<'a> {
    mnemonic: &'a str,
    operands: Vec<&'a str>,
    slot: i64,
    labels: &'a HashMap<String, i64>,
}

fn encode(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    } as i64;
    Some(if negative { value.wrapping_neg() } else { value })
}

fn register(text: &str) -> Option<u8> {
    text.strip_prefix("%r")?.parse().ok().filter(|number| *number <= 10)
}

fn immediate(text: &str) -> Option<i32> {
    number(text).map(|value| value as i32)
}

/// `[%r1+2]`
fn memory(text: &str) -> Option<(u8, i16)> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let split = inner.find(['+', '-']).unwrap_or(inner.len());
    let (base, offset) = inner.split_at(split);
    let offset = if offset.is_empty() { 0 } else { i16::try_from(number(offset)?).ok()? };
    Some((register(base)?, offset))
}

/// `name32` and `name`: whether the operation is on low halves.
fn halves(mnemonic: &str) -> (&str, bool) {
    mnemonic.strip_suffix("32").map_or((mnemonic, false), |name| (name, true))
}

impl<'a> Line<'a> {
    fn new(line: &'a str, slot: i64, labels: &'a HashMap<String, i64>) -> Self {
        let (mnemonic, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let operands = rest.split(',').map(str::trim).filter(|operand| !operand.is_empty()).collect();
        Self { mnemonic, operands, slot, labels }
    }

    fn operand(&self, index: usize) -> Option<&'a str> {
        self.operands.get(index).copied()
    }

    fn distance(&self, target: &str) -> Option<i64> {
        match self.labels.get(target) {
            Some(label) => Some(label - self.slot - 1),
            None => number(target),
        }
    }

    fn assemble(&self) -> Option<Vec<u64>> {
        if self.mnemonic == "lddw" {
            let value = number(self.operand(1)?)?;
            let destination = register(self.operand(0)?)?;
            return Some(vec![
                encode(0x18, destination, 0, 0, value as i32),
                encode(0, 0, 0, 0, (value >> 32) as i32),
            ]);
        }
        let one = self
            .special()
            .or_else(|| self.load())
            .or_else(|| self.store())
            .or_else(|| self.jump())
            .or_else(|| self.arithmetic())?;
        Some(vec![one])
    }

    fn special(&self) -> Option<u64> {
        Some(match self.mnemonic {
            "exit" => encode(0x95, 0, 0, 0, 0),
            "ja" => encode(0x05, 0, 0, i16::try_from(self.distance(self.operand(0)?)?).ok()?, 0),
            "ja32" => encode(0x06, 0, 0, 0, i32::try_from(self.distance(self.operand(0)?)?).ok()?),
            "call" => {
                let callee = self.operand(0)?;
                if let Some(label) = callee.strip_prefix("local ") {
                    encode(0x85, 0, 1, 0, i32::try_from(self.distance(label.trim())?).ok()?)
                } else if let Some(register) = register(callee) {
                    encode(0x8d, register, 0, 0, 0)
                } else {
                    encode(0x85, 0, 0, 0, immediate(callee)?)
                }
            }
            "lock" => return self.atomic(),
            _ => return self.conversion(),
        })
    }

    fn conversion(&self) -> Option<u64> {
        let split = self.mnemonic.find(|character: char| character.is_ascii_digit())?;
        let (name, bits) = self.mnemonic.split_at(split);
        let destination = register(self.operand(0)?)?;
        if name == "movsx" {
            let (offset, opcode) = match bits {
                "832" => (8, 0xbc),
                "1632" => (16, 0xbc),
                "864" => (8, 0xbf),
                "1664" => (16, 0xbf),
                "3264" => (32, 0xbf),
                _ => return None,
            };
            return Some(encode(opcode, destination, register(self.operand(1)?)?, offset, 0));
        }
        let opcode = match name {
            "le" => 0xd4,
            "be" => 0xdc,
            "bswap" | "swap" => 0xd7,
            _ => return None,
        };
        Some(encode(opcode, destination, 0, 0, bits.parse().ok()?))
    }

    fn atomic(&self) -> Option<u64> {
        // `lock fetch add32 [%r10-8], %r1`
        let mut words = self.operand(0)?.split_whitespace().collect::<Vec<_>>();
        let place = words.pop()?;
        let fetch = words.first() == Some(&"fetch");
        let (name, is_half) = halves(words.last()?);
        let op = match name {
            "add" => 0x00,
            "or" => 0x40,
            "and" => 0x50,
            "xor" => 0xa0,
            "xchg" => 0xe1,
            "cmpxchg" => 0xf1,
            _ => return None,
        };
        let (base, offset) = memory(place)?;
        let opcode = if is_half { 0xc3 } else { 0xdb };
        Some(encode(opcode, base, register(self.operand(1)?)?, offset, op | i32::from(fetch)))
    }

    fn load(&self) -> Option<u64> {
        let opcode = match self.mnemonic.strip_prefix("ldx")? {
            "w" => 0x61,
            "h" => 0x69,
            "b" => 0x71,
            "dw" => 0x79,
            "sw" => 0x81,
            "sh" => 0x89,
            "sb" => 0x91,
            _ => return None,
        };
        let (base, offset) = memory(self.operand(1)?)?;
        Some(encode(opcode, register(self.operand(0)?)?, base, offset, 0))
    }

    fn store(&self) -> Option<u64> {
        let rest = self.mnemonic.strip_prefix("st")?;
        let (size, from_register) = rest.strip_prefix('x').map_or((rest, false), |size| (size, true));
        let opcode = match size {
            "w" => 0x62,
            "h" => 0x6a,
            "b" => 0x72,
            "dw" => 0x7a,
            _ => return None,
        } | u8::from(from_register);
        let (base, offset) = memory(self.operand(0)?)?;
        let value = self.operand(1)?;
        Some(if from_register {
            encode(opcode, base, register(value)?, offset, 0)
        } else {
            encode(opcode, base, 0, offset, immediate(value)?)
        })
    }

    fn jump(&self) -> Option<u64> {
        let (name, is_half) = halves(self.mnemonic);
        let condition = match name {
            "jeq" => 0x10,
            "jgt" => 0x20,
            "jge" => 0x30,
            "jset" => 0x40,
            "jne" => 0x50,
            "jsgt" => 0x60,
            "jsge" => 0x70,
            "jlt" => 0xa0,
            "jle" => 0xb0,
            "jslt" => 0xc0,
            "jsle" => 0xd0,
            _ => return None,
        };
        let class = if is_half { 6 } else { 5 };
        let left = register(self.operand(0)?)?;
        let offset = i16::try_from(self.distance(self.operand(2)?)?).ok()?;
        let right = self.operand(1)?;
        Some(match register(right) {
            Some(right) => encode(condition | class | 8, left, right, offset, 0),
            None => encode(condition | class, left, 0, offset, immediate(right)?),
        })
    }

    fn arithmetic(&self) -> Option<u64> {
        let (name, is_half) = halves(self.mnemonic);
        let class = if is_half { 4 } else { 7 };
        let destination = register(self.operand(0)?)?;
        let (op, offset) = match name {
            "add" => (0x00, 0),
            "sub" => (0x10, 0),
            "mul" => (0x20, 0),
            "div" => (0x30, 0),
            "sdiv" => (0x30, 1),
            "or" => (0x40, 0),
            "and" => (0x50, 0),
            "lsh" => (0x60, 0),
            "rsh" => (0x70, 0),
            "neg" => return Some(encode(0x80 | class, destination, 0, 0, 0)),
            "mod" => (0x90, 0),
            "smod" => (0x90, 1),
            "xor" => (0xa0, 0),
            "mov" => (0xb0, 0),
            "arsh" => (0xc0, 0),
            _ => return None,
        };
        let right = self.operand(1)?;
        Some(match register(right) {
            Some(right) => encode(op | class | 8, destination, right, offset, 0),
            None => encode(op | class, destination, 0, offset, immediate(right)?),
        })
    }
}
