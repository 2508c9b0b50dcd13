//! Flat programs: instructions and nothing else, as uIO's `bpf_exec` and conformance suites have them.

use uio_bpf::instruction::decode;
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};

use crate::error::{BpfObjectError, limit, malformed};
use crate::limits::{PROGRAM_SLOTS_MAX, RAW_BYTES_MAX};
use crate::slot::{CALL, CALL_FUNCTION, IMMEDIATE_LOAD, LOAD_FUNCTION, immediate, opcode, source};

/// Whether `bytes` are an ELF file; else they may be a flat program.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(goblin::elf::header::ELFMAG)
}

/// The flat program `bytes` as an image called `name`, with `memory_bytes` bytes behind R1.
///
/// # Errors
///
/// [`BpfObjectError`] if it is no program, or too large.
pub fn parse_flat(bytes: &[u8], name: &str, memory_bytes: u32) -> Result<ObjectImage, BpfObjectError> {
    let (slots, rest) = bytes.as_chunks();
    if !rest.is_empty() || slots.is_empty() {
        return Err(malformed(format!("{} bytes are no instructions of 8 bytes each", bytes.len())));
    }
    from_slots(slots.iter().map(|slot| u64::from_le_bytes(*slot)).collect(), name, memory_bytes)
}

/// As [`parse_flat`], of slots.
///
/// # Errors
///
/// As [`parse_flat`].
pub fn from_slots(slots: Vec<u64>, name: &str, memory_bytes: u32) -> Result<ObjectImage, BpfObjectError> {
    limit("instructions in a program", slots.len(), PROGRAM_SLOTS_MAX)?;
    limit("bytes of memory", memory_bytes as usize, RAW_BYTES_MAX as usize)?;
    decode(&slots).map_err(|error| BpfObjectError::Instruction {
        function: name.to_string(),
        slot: error.slot,
        reason: error.reason,
    })?;
    // Functions start where something is called.
    let mut functions = vec![0];
    let mut slot = 0;
    while let Some(raw) = slots.get(slot) {
        let (opcode, source) = (opcode(*raw), source(*raw));
        if (opcode, source) == (CALL, CALL_FUNCTION) || (opcode, source) == (IMMEDIATE_LOAD, LOAD_FUNCTION) {
            // `decode` made sure that the target is a slot.
            functions.push((slot as i64 + 1 + i64::from(immediate(*raw))) as u32);
        }
        slot += if opcode == IMMEDIATE_LOAD { 2 } else { 1 };
    }
    functions.sort_unstable();
    functions.dedup();
    let program = ProgramImage {
        name: name.to_string(),
        kind: ProgramKind::Raw { memory_bytes },
        target: String::new(),
        slots,
        functions,
    };
    Ok(ObjectImage { name: name.to_string(), maps: Vec::new(), programs: vec![program] })
}
