//! What may follow in an unfinished expression.

use std::collections::BTreeSet;

use crate::expr::parse::parse;
use crate::memory::{MemoryError, ReadMemory};
use crate::space::Space;
use crate::types::Kind;
use crate::value::{Place, Reader, Value};

/// Candidates offered at a time.
pub(crate) const CANDIDATES_MAX: usize = 200;

/// Wrappers looked through for fields.
const WRAPPER_DEPTH_MAX: usize = 16;

/// What can complete the end of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Byte at which the part that the candidates replace starts.
    pub start: usize,
    /// Sorted.
    pub candidates: Vec<String>,
}

/// Memory that is never asked: completion works on types.
struct NoMemory;

impl ReadMemory for NoMemory {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        Err(MemoryError { address, size: buffer.len(), reason: "no memory here".to_owned() })
    }
}

impl Space {
    /// Completes an expression that ends where the cursor is: fields after a dot, types after `as`,
    /// variables and functions elsewhere. Reads no memory.
    #[must_use]
    pub fn complete(&self, text: &str) -> Completion {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let path = |c: char| word(c) || c == ':';
        let start = text.trim_end_matches(path).len();
        let prefix = &text[start..];
        let before = &text[..start];
        if let Some(base) = before.strip_suffix('.').or_else(|| before.strip_suffix("->")) {
            return Completion { start, candidates: self.complete_field(base, prefix) };
        }
        if before.trim_end().ends_with(" as") {
            return Completion { start, candidates: self.complete_type(prefix) };
        }
        if let Some(register) = prefix.strip_prefix('$') {
            let candidates = REGISTERS
                .iter()
                .filter(|name| name.starts_with(register))
                .map(|name| format!("${name}"))
                .collect();
            return Completion { start, candidates };
        }
        let mut found = BTreeSet::new();
        for module in self.modules() {
            if let Ok(index) = module.debug().and_then(|debug| debug.index()) {
                found.extend(index.variable_names.complete(prefix, CANDIDATES_MAX));
            }
            found.extend(module.complete_symbol(prefix, CANDIDATES_MAX));
        }
        Completion { start, candidates: found.into_iter().take(CANDIDATES_MAX).collect() }
    }

    fn complete_field(&self, base: &str, prefix: &str) -> Vec<String> {
        let mut memory = NoMemory;
        let mut reader = Reader { space: self, memory: &mut memory, registers: None, types_only: true };
        // What stands before the base (an operator, an open bracket) is not part of it: the longest
        // tail that parses and has a value is.
        let starts = base.char_indices().map(|(at, _)| at);
        for start in starts.take(crate::expr::EXPRESSION_BYTES_MAX) {
            let Ok(node) = parse(&base[start..]) else { continue };
            let Ok(value) = reader.evaluate(&node) else { continue };
            let mut names = field_names(&mut reader, &value);
            names.retain(|name| name.starts_with(prefix));
            names.truncate(CANDIDATES_MAX);
            return names;
        }
        Vec::new()
    }

    fn complete_type(&self, prefix: &str) -> Vec<String> {
        const PRIMITIVES: [&str; 14] = [
            "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "u128", "u16", "u32", "u64",
            "u8",
        ];
        let mut found: BTreeSet<String> =
            PRIMITIVES.iter().filter(|name| name.starts_with(prefix)).map(ToString::to_string).collect();
        if !prefix.is_empty() {
            for module in self.modules() {
                if let Ok(index) = module.debug().and_then(|debug| debug.index()) {
                    found.extend(index.type_names().complete(prefix, CANDIDATES_MAX));
                }
            }
        }
        found.into_iter().take(CANDIDATES_MAX).collect()
    }
}

const REGISTERS: [&str; 18] = [
    "r10", "r11", "r12", "r13", "r14", "r15", "r8", "r9", "rax", "rbp", "rbx", "rcx", "rdi", "rdx", "rflags",
    "rip", "rsi", "rsp",
];

/// The names that can follow a dot, in declaration order.
pub(crate) fn field_names(reader: &mut Reader<'_>, value: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let mut current = value.clone();
    for _ in 0..WRAPPER_DEPTH_MAX {
        let Ok(peeled) = reader.peel(&current) else { break };
        let Ok(resolved) = reader.resolve(&peeled.type_ref) else { break };
        match &resolved.kind {
            Kind::Struct { fields, variants, .. } => {
                names.extend(fields.iter().map(|field| field.source_name().to_owned()));
                if let Some(variants) = variants {
                    names.extend(variants.variants.iter().map(|variant| variant.name.clone()));
                }
                break;
            }
            Kind::Pointer { target, .. } => {
                // Only the type of the target matters, so where it is does not.
                current = Value { type_ref: target.clone(), place: Place::Memory(0) };
            }
            _ => break,
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
