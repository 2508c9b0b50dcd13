//! eBPF objects of compilers to typed images.
//!
//! [`parse`] does on the host what a loader does: it finds programs by their sections, copies the functions that a
//! program calls behind it, and turns symbols into numbers of maps, helpers and functions. Line information and names
//! stay here as [`SourceInfo`]. [`linux_context`] turns accesses of Linux's contexts into ones of ours, and
//! [`TypeInfo`] shows and reads keys and values of maps.
//!
//! Sources: System V gABI chapter 4; RFC 9669; LLVM, "BPF relocations" in Linux's Documentation/bpf/llvm_reloc.rst;
//! Documentation/bpf/btf.rst.
#![forbid(unsafe_code)]

mod btf;
mod elf;
mod error;
mod flat;
mod functions;
pub mod limits;
mod link;
pub mod linux_context;
mod maps;
mod section;
mod slot;
mod source;
pub mod type_info;

use std::collections::{BTreeSet, HashMap};

use uio_bpf::instruction::decode;
use uio_protocol::bpf::{ObjectImage, ProgramImage};

use btf::Btf;
use btf::ext::Ext;
use elf::Object;
use error::limit;
use functions::Function;
use limits::{LINES_MAX, NAME_BYTES_MAX, PROGRAMS_MAX};
use link::{Linked, Linker};
use maps::Maps;
use section::ProgramSection;
use source::LineRecord;

pub use error::BpfObjectError;
pub use flat::{from_slots, is_elf, parse_flat};
pub use maps::{Variable, key_type, value_type};
pub use section::ContextLayout;
pub use source::{ProgramSource, SourceInfo, SourceLine};
pub use type_info::{TypeInfo, ValueError};

/// An object in the form that is checked and sent, and what the host keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedObject {
    /// What is verified, signed and sent, once [`linux_context`] has rewritten it.
    pub image: ObjectImage,
    /// Where it comes from.
    pub source: SourceInfo,
}

/// Parses the object `bytes` into an image called `name`.
///
/// # Errors
///
/// [`BpfObjectError`] if the object is malformed, is no relocatable eBPF object, holds no program, or needs what
/// programs do not have here: other kinds of programs and maps, undefined symbols, CO-RE.
pub fn parse(bytes: &[u8], name: &str) -> Result<ParsedObject, BpfObjectError> {
    let object = Object::read(bytes)?;
    let btf = object.section(".BTF").map(|section| Btf::read(section.bytes)).transpose()?;
    let ext = match (&btf, object.section(".BTF.ext")) {
        (Some(btf), Some(section)) => Ext::read(section.bytes, btf)?,
        _ => Ext::default(),
    };
    let functions = functions::find(&object)?;
    let mut maps = Maps::read(&object, btf.as_ref())?;

    let entries = entries(&object, &functions)?;
    let mut linker = Linker {
        object: &object,
        btf: btf.as_ref(),
        functions: &functions,
        maps: &mut maps,
        missing: BTreeSet::new(),
        total_slots: 0,
    };
    let mut linked = Vec::new();
    for (entry, section) in entries {
        linked.push((linker.link(entry)?, section));
    }
    if !linker.missing.is_empty() {
        return Err(BpfObjectError::MissingSymbols { symbols: linker.missing.into_iter().collect() });
    }

    let mut lines = Lines {
        ext: &ext,
        btf: btf.as_ref(),
        source: SourceInfo::default(),
        strings: HashMap::new(),
        count: 0,
    };
    let mut programs = Vec::new();
    for (linked, section) in linked {
        let members: Vec<&Function<'_>> =
            linked.functions.iter().map(|(index, _)| &functions[*index]).collect();
        check(&linked, &members)?;
        lines.add(&object, &linked, &members, section.layout)?;
        programs.push(ProgramImage {
            name: members[0].name.to_string(),
            kind: section.kind,
            target: section.target,
            slots: linked.slots,
            functions: linked.functions.iter().map(|(_, start)| *start).collect(),
        });
    }
    let mut source = lines.source;
    source.variables = maps.variables;
    Ok(ParsedObject { image: ObjectImage { name: name.to_string(), maps: maps.specs, programs }, source })
}

/// The functions that are programs.
fn entries(
    object: &Object<'_>,
    functions: &[Function<'_>],
) -> Result<Vec<(usize, ProgramSection)>, BpfObjectError> {
    let mut entries = Vec::new();
    for (index, function) in functions.iter().enumerate() {
        let name = object.sections[function.section].name;
        if section::is_text(name) {
            continue;
        }
        let section = section::program(name)?;
        if function.exported {
            limit("bytes in a program's name", function.name.len(), NAME_BYTES_MAX)?;
            limit("bytes in a section's name", name.len(), NAME_BYTES_MAX)?;
            entries.push((index, section));
            limit("programs", entries.len(), PROGRAMS_MAX)?;
        }
    }
    if entries.is_empty() { Err(BpfObjectError::NoPrograms) } else { Ok(entries) }
}

/// Says early, and with the function's name, what decoding would say later.
fn check(linked: &Linked, members: &[&Function<'_>]) -> Result<(), BpfObjectError> {
    decode(&linked.slots).map(drop).map_err(|error| {
        let index = linked.functions.partition_point(|(_, start)| *start <= error.slot) - 1;
        BpfObjectError::Instruction {
            function: members[index].name.to_string(),
            slot: error.slot - linked.functions[index].1,
            reason: error.reason,
        }
    })
}

/// Collects the source of programs, each string once.
struct Lines<'o, 'a> {
    ext: &'o Ext<'a>,
    btf: Option<&'o Btf<'a>>,
    source: SourceInfo,
    /// Offset of a string and whether it is a file's name, to its index.
    strings: HashMap<(u32, bool), u32>,
    count: usize,
}

impl Lines<'_, '_> {
    fn add(
        &mut self,
        object: &Object<'_>,
        linked: &Linked,
        members: &[&Function<'_>],
        layout: ContextLayout,
    ) -> Result<(), BpfObjectError> {
        let mut lines = Vec::new();
        for ((_, base), function) in linked.functions.iter().zip(members) {
            let Some(btf) = self.btf else { break };
            let section = object.sections[function.section].name;
            let (start, end) = function.bytes();
            // Sections are smaller than the file, which is limited.
            let (start, end) = (start as u32, end as u32);
            if let Some(type_name) = self.ext.core(btf, section, start, end) {
                return Err(BpfObjectError::CoRe {
                    section: section.to_string(),
                    function: function.name.to_string(),
                    type_name,
                });
            }
            let found = self.ext.lines(section, start, end);
            self.count += found.len();
            limit("line records", self.count, LINES_MAX)?;
            // Line 0 marks instructions that the compiler put together from several lines: they count to the one before,
            // and at a function's start to its first line.
            let mut slot = Some(*base);
            for line in found.iter().filter(|line| line.line > 0) {
                lines.push(LineRecord {
                    slot: slot.take().unwrap_or(base + (line.offset - start) / functions::SLOT_BYTES as u32),
                    file: self.string(btf, line.file, true)?,
                    text: self.string(btf, line.text, false)?,
                    line: line.line,
                    column: line.column,
                });
            }
        }
        self.source.programs.push(ProgramSource {
            section: object.sections[members[0].section].name.to_string(),
            layout,
            functions: members.iter().map(|function| function.name.to_string()).collect(),
            lines,
        });
        Ok(())
    }

    fn string(&mut self, btf: &Btf<'_>, offset: u32, file: bool) -> Result<u32, BpfObjectError> {
        if let Some(index) = self.strings.get(&(offset, file)) {
            return Ok(*index);
        }
        let text = btf.strings.line(offset)?;
        let list = if file { &mut self.source.files } else { &mut self.source.texts };
        list.push(text);
        let index = list.len() as u32 - 1;
        self.strings.insert((offset, file), index);
        Ok(index)
    }
}
