//! BTF, the type information of eBPF objects.
//!
//! Source: Linux, Documentation/bpf/btf.rst.

pub(crate) mod ext;
pub(crate) mod reader;

use crate::error::{BpfObjectError, limit};
use crate::limits::{BTF_CHAIN_MAX, BTF_TYPES_MAX};
use reader::{Reader, Strings};

/// First two bytes of both sections.
pub(crate) const MAGIC: u16 = 0xeb9f;
/// The only version that there is.
pub(crate) const VERSION: u8 = 1;

/// Number of a type in its object. 0 is `void`.
pub(crate) type Id = u32;

/// All types of an object.
pub(crate) struct Btf<'a> {
    /// By number minus one.
    types: Vec<Type<'a>>,
    pub(crate) strings: Strings<'a>,
}

/// A type, or another entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type<'a> {
    Void,
    Integer {
        name: &'a str,
        bytes: u32,
        signed: bool,
        boolean: bool,
    },
    Pointer {
        target: Id,
    },
    Array {
        element: Id,
        count: u32,
    },
    Record {
        name: &'a str,
        bytes: u32,
        union: bool,
        members: Vec<Member<'a>>,
    },
    Enumeration {
        name: &'a str,
        bytes: u32,
        signed: bool,
        variants: Vec<(&'a str, i64)>,
    },
    Forward {
        name: &'a str,
    },
    /// `typedef`; qualifiers have no name.
    Alias {
        target: Id,
    },
    Function {
        name: &'a str,
    },
    Prototype,
    Variable {
        name: &'a str,
        target: Id,
    },
    Section {
        name: &'a str,
        variables: Vec<Id>,
    },
    Float {
        name: &'a str,
        bytes: u32,
    },
    Tag,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) target: Id,
    pub(crate) bit_offset: u32,
    /// Bits of a bit field; 0 for whole types.
    pub(crate) bits: u8,
}

pub(crate) fn error(reason: String) -> BpfObjectError {
    BpfObjectError::Btf { section: ".BTF", reason }
}

impl<'a> Btf<'a> {
    /// Reads the section `.BTF`.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, BpfObjectError> {
        let mut header = Reader::new(bytes, ".BTF");
        let (magic, version, _flags) = (header.u16()?, header.u8()?, header.u8()?);
        if magic != MAGIC || version != VERSION {
            return Err(error(format!("magic number {magic:#x}, version {version}")));
        }
        let header_bytes = header.u32()?;
        let [type_offset, type_bytes, string_offset, string_bytes] =
            [header.u32()?, header.u32()?, header.u32()?, header.u32()?];
        let types = header.part(header_bytes, type_offset, type_bytes)?;
        let strings = Strings(header.part(header_bytes, string_offset, string_bytes)?);
        let mut reader = Reader::new(types, ".BTF");
        let mut types = Vec::new();
        while !reader.is_empty() {
            types.push(read_type(&mut reader, strings)?);
            limit("BTF types", types.len(), BTF_TYPES_MAX)?;
        }
        Ok(Self { types, strings })
    }

    /// Type number `id`.
    pub(crate) fn get(&self, id: Id) -> Result<&Type<'a>, BpfObjectError> {
        match id {
            0 => Ok(&Type::Void),
            _ => self
                .types
                .get(id as usize - 1)
                .ok_or_else(|| error(format!("type {id} of {}", self.types.len()))),
        }
    }

    /// Type `id` behind its typedefs and qualifiers, and its number.
    pub(crate) fn resolve(&self, mut id: Id) -> Result<(Id, &Type<'a>), BpfObjectError> {
        for _ in 0..BTF_CHAIN_MAX {
            match self.get(id)? {
                Type::Alias { target } => id = *target,
                found => return Ok((id, found)),
            }
        }
        Err(error(format!("type {id} is more than {BTF_CHAIN_MAX} typedefs deep")))
    }

    /// Bytes of type `id`.
    pub(crate) fn size(&self, mut id: Id) -> Result<u32, BpfObjectError> {
        let mut times: u32 = 1;
        for _ in 0..BTF_CHAIN_MAX {
            let bytes = match self.resolve(id)?.1 {
                Type::Integer { bytes, .. }
                | Type::Record { bytes, .. }
                | Type::Enumeration { bytes, .. }
                | Type::Float { bytes, .. } => *bytes,
                Type::Pointer { .. } => 8,
                Type::Array { element, count } => {
                    times = times
                        .checked_mul(*count)
                        .ok_or_else(|| error(format!("array type {id} of {count} elements is too large")))?;
                    id = *element;
                    continue;
                }
                _ => return Err(error(format!("type {id} has no size"))),
            };
            return times.checked_mul(bytes).ok_or_else(|| error(format!("array type {id} is too large")));
        }
        Err(error(format!("type {id} has more than {BTF_CHAIN_MAX} dimensions")))
    }

    /// The variables of the section called `name`: name and type.
    pub(crate) fn section(&self, name: &str) -> Result<Vec<(&'a str, Id)>, BpfObjectError> {
        let mut found = Vec::new();
        for entry in &self.types {
            let Type::Section { name: section, variables } = entry else { continue };
            if *section != name {
                continue;
            }
            for variable in variables {
                match self.get(*variable)? {
                    Type::Variable { name, target } => found.push((*name, *target)),
                    // A function of a code section.
                    Type::Function { .. } => {}
                    other => return Err(error(format!("{name} holds {other:?}, not a variable"))),
                }
            }
        }
        Ok(found)
    }
}

fn read_type<'a>(reader: &mut Reader<'a>, strings: Strings<'a>) -> Result<Type<'a>, BpfObjectError> {
    let name = reader.u32()?;
    let info = reader.u32()?;
    // A size, or the number of another type.
    let extra = reader.u32()?;
    let name = strings.get(name)?;
    let (kind, count, flag) = (info >> 24 & 31, info as u16, info >> 31 != 0);
    Ok(match kind {
        1 => {
            let encoding = reader.u32()? >> 24 & 15;
            Type::Integer { name, bytes: extra, signed: encoding & 1 != 0, boolean: encoding & 4 != 0 }
        }
        2 => Type::Pointer { target: extra },
        3 => {
            let element = reader.u32()?;
            let _index = reader.u32()?;
            Type::Array { element, count: reader.u32()? }
        }
        4 | 5 => {
            let mut members = Vec::new();
            for _ in 0..count {
                let (name, target, offset) = (strings.get(reader.u32()?)?, reader.u32()?, reader.u32()?);
                members.push(if flag {
                    Member { name, target, bit_offset: offset & 0xff_ffff, bits: (offset >> 24) as u8 }
                } else {
                    Member { name, target, bit_offset: offset, bits: 0 }
                });
            }
            Type::Record { name, bytes: extra, union: kind == 5, members }
        }
        6 => {
            let mut variants = Vec::new();
            for _ in 0..count {
                let (name, value) = (strings.get(reader.u32()?)?, reader.u32()?);
                variants.push((name, if flag { i64::from(value as i32) } else { i64::from(value) }));
            }
            // Older compilers set no flag and mean signed.
            Type::Enumeration { name, bytes: extra, signed: flag, variants }
        }
        7 => Type::Forward { name },
        // typedef, volatile, const, restrict, type tag.
        8..=11 | 18 => Type::Alias { target: extra },
        12 => Type::Function { name },
        13 => {
            for _ in 0..count {
                let _parameter = (reader.u32()?, reader.u32()?);
            }
            Type::Prototype
        }
        14 => {
            let _linkage = reader.u32()?;
            Type::Variable { name, target: extra }
        }
        15 => {
            let mut variables = Vec::new();
            for _ in 0..count {
                variables.push(reader.u32()?);
                // The assembler leaves these to relocations.
                let _offset_and_size = (reader.u32()?, reader.u32()?);
            }
            Type::Section { name, variables }
        }
        16 => Type::Float { name, bytes: extra },
        17 => {
            let _component = reader.u32()?;
            Type::Tag
        }
        19 => {
            let mut variants = Vec::new();
            for _ in 0..count {
                let (name, low, high) = (strings.get(reader.u32()?)?, reader.u32()?, reader.u32()?);
                variants.push((name, (u64::from(high) << 32 | u64::from(low)) as i64));
            }
            Type::Enumeration { name, bytes: extra, signed: flag, variants }
        }
        _ => return Err(error(format!("type of kind {kind}"))),
    })
}
