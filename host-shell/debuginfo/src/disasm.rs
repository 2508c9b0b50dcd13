//! Instructions with names for the addresses in them.

use std::collections::HashMap;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, SymbolResolver,
    SymbolResult,
};

use crate::dwarf::lines::SourceLocation;
use crate::space::Space;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisasmLine {
    /// Address of its first byte.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Intel syntax, with symbols in place of addresses.
    pub text: String,
    /// Where it jumps, calls, or what it reads RIP-relatively.
    pub target: Option<u64>,
    /// Source position, where it differs from that of the line before.
    pub source: Option<SourceLocation>,
    /// Whether `rip` is here.
    pub current: bool,
}

/// What to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// The function that contains all of it.
    pub name: Option<String>,
}

/// Bytes decoded at a time; the text of more does not help anybody.
pub(crate) const DISASM_BYTES_MAX: u64 = 1 << 20;

/// Bytes shown of a symbol without a size.
const UNSIZED_BYTES: u64 = 128;

/// Addresses below this one are taken for numbers. Nothing is ever linked in the first 64 KiB.
const LOWEST_NAMED_ADDRESS: u64 = 0x1_0000;

/// Names for the addresses that occur in one piece of code. Collected before formatting, because the
/// formatter keeps its resolver.
struct Names(HashMap<u64, String>);

impl Names {
    fn collect(space: &Space, code: &[u8], address: u64) -> Self {
        let mut names = HashMap::new();
        let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        for instruction in decoder {
            let displacement = instruction.memory_displacement64();
            let immediate = instruction.try_immediate(instruction.op_count().saturating_sub(1)).unwrap_or(0);
            for candidate in [target_of(&instruction).unwrap_or(0), displacement, immediate] {
                // Small numbers are numbers, whatever a symbol table has at the start of memory.
                if candidate >= LOWEST_NAMED_ADDRESS
                    && let Some(name) = space.describe(candidate)
                {
                    names.insert(candidate, name);
                }
            }
        }
        Self(names)
    }
}

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        _instruction: &Instruction,
        _operand: u32,
        _instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        Some(SymbolResult::with_str(address, self.0.get(&address)?))
    }
}

impl Space {
    /// The range of code of the function that contains `address`, or some bytes from there on.
    #[must_use]
    pub fn code_range(&self, address: u64) -> CodeRange {
        let found = self.module_at(address).and_then(|module| module.symbol_at(address));
        match found {
            Some(found) if found.symbol.size > 0 => CodeRange {
                address: found.symbol.address,
                size: found.symbol.size.min(DISASM_BYTES_MAX),
                name: Some(found.symbol.demangled()),
            },
            found => {
                CodeRange { address, size: UNSIZED_BYTES, name: found.map(|found| found.symbol.demangled()) }
            }
        }
    }

    /// Decodes `code`, which lies at `address`. `rip` marks the current instruction; `with_source` adds
    /// source positions. Bytes that are no instruction appear one by one as `(bad)`.
    #[must_use]
    pub fn disassemble(
        &self,
        address: u64,
        code: &[u8],
        rip: Option<u64>,
        with_source: bool,
    ) -> Vec<DisasmLine> {
        let code = &code[..code.len().min(usize::try_from(DISASM_BYTES_MAX).unwrap_or(usize::MAX))];
        let names = Names::collect(self, code, address);
        let mut formatter = IntelFormatter::with_options(Some(Box::new(names)), None);
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_uppercase_hex(false);
        options.set_space_after_operand_separator(true);
        options.set_rip_relative_addresses(false);
        options.set_branch_leading_zeros(false);
        options.set_small_hex_numbers_in_decimal(true);
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let mut lines = Vec::new();
        let mut last_source: Option<SourceLocation> = None;
        while decoder.can_decode() {
            let start = decoder.position();
            let mut instruction = decoder.decode();
            if instruction.is_invalid() {
                // Resume behind one byte, so that garbage does not hide what follows.
                let next = start + 1;
                if decoder.set_position(next).is_err() {
                    break;
                }
                decoder.set_ip(address.wrapping_add(next as u64));
                instruction.set_len(1);
                instruction.set_ip(address.wrapping_add(start as u64));
            }
            let at = address.wrapping_add(start as u64);
            let mut text = String::new();
            if instruction.is_invalid() {
                text.push_str("(bad)");
            } else {
                formatter.format(&instruction, &mut text);
            }
            let source = with_source.then(|| self.module_at(at)?.source_location(at)).flatten();
            let changed = source.is_some() && source != last_source;
            if source.is_some() {
                last_source.clone_from(&source);
            }
            lines.push(DisasmLine {
                address: at,
                bytes: code[start..decoder.position().max(start + 1).min(code.len())].to_vec(),
                text,
                target: target_of(&instruction),
                source: source.filter(|_| changed),
                current: rip == Some(at),
            });
        }
        lines
    }
}

/// The address that an instruction refers to, if it is in the instruction itself.
fn target_of(instruction: &Instruction) -> Option<u64> {
    match instruction.flow_control() {
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
            Some(instruction.near_branch_target()).filter(|&target| target != 0)
        }
        _ if instruction.is_ip_rel_memory_operand() => Some(instruction.ip_rel_memory_address()),
        _ => None,
    }
}
