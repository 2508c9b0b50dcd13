//! Descriptions from BTF.

use std::collections::HashMap;

use super::{IntegerStyle, Member, Node, TypeInfo};
use crate::btf::{Btf, Id, Type, error};
use crate::error::BpfObjectError;
use crate::limits::{TYPE_DEPTH_MAX, TYPE_ENTRY_BYTES, TYPE_NODES_MAX, TYPE_TEXT_BYTES_MAX};

/// Describes type `id`. What is too deep or too large is described as bytes.
pub(crate) fn from_btf(btf: &Btf<'_>, id: Id) -> Result<TypeInfo, BpfObjectError> {
    let mut builder = Builder { btf, nodes: Vec::new(), known: HashMap::new(), text_bytes: 0 };
    builder.add(id, TYPE_DEPTH_MAX)?;
    finish(builder.nodes)
}

/// Describes a section of variables: name, offset and type of each.
pub(crate) fn from_variables(
    btf: &Btf<'_>,
    section: &str,
    bytes: u32,
    variables: &[(&str, u32, Id)],
) -> Result<TypeInfo, BpfObjectError> {
    let mut builder = Builder { btf, nodes: Vec::new(), known: HashMap::new(), text_bytes: 0 };
    let mut members = Vec::new();
    for (name, offset, id) in variables {
        if builder.is_full() {
            break;
        }
        let Some(bit_offset) = offset.checked_mul(8) else { continue };
        let node = builder.add(*id, TYPE_DEPTH_MAX - 1)?;
        members.push(Member { name: builder.name(name), bit_offset, bits: 0, node });
    }
    builder.nodes.push(Node::Record { name: section.to_string(), bytes, union: false, members });
    finish(builder.nodes)
}

fn finish(nodes: Vec<Node>) -> Result<TypeInfo, BpfObjectError> {
    TypeInfo::from_nodes(nodes).map_err(|reason| error(reason.to_string()))
}

struct Builder<'b, 'a> {
    btf: &'b Btf<'a>,
    nodes: Vec<Node>,
    /// Nodes of types with the depth that was left below them.
    known: HashMap<(Id, usize), u32>,
    text_bytes: usize,
}

impl Builder<'_, '_> {
    fn is_full(&self) -> bool {
        // One is kept for each record around, which comes last.
        self.nodes.len() + TYPE_DEPTH_MAX + 1 > TYPE_NODES_MAX || self.text_bytes > TYPE_TEXT_BYTES_MAX
    }

    /// Names take room.
    fn name(&mut self, name: &str) -> String {
        self.text_bytes += name.len() + TYPE_ENTRY_BYTES;
        if self.text_bytes > TYPE_TEXT_BYTES_MAX { String::new() } else { name.to_string() }
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// Recursion ends with `depth`, and the table with its limit.
    fn add(&mut self, id: Id, depth: usize) -> Result<u32, BpfObjectError> {
        let (id, found) = self.btf.resolve(id)?;
        if let Some(node) = self.known.get(&(id, depth)) {
            return Ok(*node);
        }
        let node = match found {
            Type::Integer { name, bytes: bytes @ (1 | 2 | 4 | 8 | 16), signed, boolean } => {
                let style = match *name {
                    _ if *boolean => IntegerStyle::Boolean,
                    "char" => IntegerStyle::Character,
                    _ => IntegerStyle::Number,
                };
                Node::Integer { name: self.name(name), bytes: *bytes as u8, signed: *signed, style }
            }
            Type::Float { name, bytes } if *bytes <= 16 => {
                Node::Float { name: self.name(name), bytes: *bytes as u8 }
            }
            Type::Enumeration { name, bytes: bytes @ (1 | 2 | 4 | 8), signed, variants } => {
                let name = self.name(name);
                let mut described = Vec::new();
                for (name, value) in variants {
                    if self.is_full() {
                        break;
                    }
                    described.push((self.name(name), *value));
                }
                Node::Enumeration { name, bytes: *bytes as u8, signed: *signed, variants: described }
            }
            Type::Pointer { .. } => Node::Pointer,
            Type::Array { element, count } if depth > 0 && !self.is_full() => {
                Node::Array { element: self.add(*element, depth - 1)?, count: *count }
            }
            Type::Record { name, bytes, union, members } if depth > 0 && !self.is_full() => {
                let mut described = Vec::new();
                for member in members {
                    if self.is_full() {
                        break;
                    }
                    // A flexible array has no size of its own.
                    let node = self.add(member.target, depth - 1)?;
                    described.push(Member {
                        name: self.name(member.name),
                        bit_offset: member.bit_offset,
                        bits: member.bits,
                        node,
                    });
                }
                Node::Record { name: self.name(name), bytes: *bytes, union: *union, members: described }
            }
            _ => Node::Bytes { bytes: self.btf.size(id)? },
        };
        let node = self.push(node);
        self.known.insert((id, depth), node);
        Ok(node)
    }
}
