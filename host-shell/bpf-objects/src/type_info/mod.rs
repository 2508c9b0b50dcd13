//! Descriptions of types of keys and values, so that people can read and write them.
//!
//! A description is a flat table of nodes in which a node refers only to nodes before it. So it has no cycle, and
//! decoding one that was made to do harm needs no recursion. It travels as postcard bytes in
//! [`MapSpec::key_type`](uio_protocol::bpf::MapSpec::key_type).

mod build;
mod parse;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use build::{from_btf, from_variables};
pub use parse::ValueError;

use serde::{Deserialize, Serialize};

use crate::limits::{TYPE_DEPTH_MAX, TYPE_NODES_MAX};

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// The last one is the whole; the others come before what is made of them.
    nodes: Vec<Node>,
    /// Bytes of each node.
    sizes: Vec<u32>,
}

/// A type made of those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// An integer of 1, 2, 4, 8 or 16 bytes.
    Integer {
        /// Its name: `unsigned int`.
        name: String,
        /// Its size.
        bytes: u8,
        /// Whether it has a sign.
        signed: bool,
        /// What it looks like.
        style: IntegerStyle,
    },
    /// A floating point number, shown by its bytes.
    Float {
        /// Its name.
        name: String,
        /// Its size.
        bytes: u8,
    },
    /// An enumeration.
    Enumeration {
        /// Its name.
        name: String,
        /// Its size.
        bytes: u8,
        /// Whether values have a sign.
        signed: bool,
        /// Names and values.
        variants: Vec<(String, i64)>,
    },
    /// A pointer of 8 bytes.
    Pointer,
    /// Elements of one type.
    Array {
        /// Index of the element's node.
        element: u32,
        /// How many.
        count: u32,
    },
    /// A struct or union.
    Record {
        /// Its name, without `struct`.
        name: String,
        /// Its size.
        bytes: u32,
        /// Whether its members lie in one place.
        union: bool,
        /// Its members.
        members: Vec<Member>,
    },
    /// Bytes of which nothing is known.
    Bytes {
        /// How many.
        bytes: u32,
    },
}

/// What an integer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IntegerStyle {
    Number,
    Boolean,
    Character,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; empty for unnamed structs and unions.
    pub name: String,
    /// Where it starts, in bits.
    pub bit_offset: u32,
    /// Bits of a bit field; 0 for all of the type.
    pub bits: u8,
    /// Index of its type's node.
    pub node: u32,
}

/// Bytes are no description of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no description of a type: {0}")]
pub struct TypeInfoError(&'static str);

impl TypeInfo {
    /// `bytes` bytes of which nothing is known.
    #[must_use]
    pub fn opaque(bytes: u32) -> Self {
        Self { nodes: vec![Node::Bytes { bytes }], sizes: vec![bytes] }
    }

    /// Checks a table of nodes.
    ///
    /// # Errors
    ///
    /// [`TypeInfoError`] if it is empty or too large, a node refers to one that is not before it, types are nested too
    /// deep, or a member lies outside its record.
    pub fn from_nodes(nodes: Vec<Node>) -> Result<Self, TypeInfoError> {
        if nodes.is_empty() || nodes.len() > TYPE_NODES_MAX {
            return Err(TypeInfoError("number of nodes"));
        }
        let mut sizes: Vec<u32> = Vec::with_capacity(nodes.len());
        let mut depths: Vec<usize> = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let (size, depth) = match node {
                Node::Integer { bytes: bytes @ (1 | 2 | 4 | 8 | 16), .. }
                | Node::Enumeration { bytes: bytes @ (1 | 2 | 4 | 8), .. }
                | Node::Float { bytes, .. } => (u32::from(*bytes), 0),
                Node::Integer { .. } | Node::Enumeration { .. } => {
                    return Err(TypeInfoError("size of an integer"));
                }
                Node::Pointer => (8, 0),
                Node::Bytes { bytes } => (*bytes, 0),
                Node::Array { element, count } => {
                    let element = *element as usize;
                    let size = sizes.get(element).ok_or(TypeInfoError("element of an array"))?;
                    let size = size.checked_mul(*count).ok_or(TypeInfoError("size of an array"))?;
                    (size, depths[element] + 1)
                }
                Node::Record { bytes, members, .. } => {
                    let mut depth = 0;
                    for member in members {
                        let node = member.node as usize;
                        let size = *sizes.get(node).ok_or(TypeInfoError("type of a member"))?;
                        let bits = match member.bits {
                            0 if member.bit_offset % 8 != 0 => {
                                return Err(TypeInfoError("place of a member"));
                            }
                            0 => u64::from(size) * 8,
                            bits if bits > 64 => return Err(TypeInfoError("bits of a member")),
                            bits => u64::from(bits),
                        };
                        if u64::from(member.bit_offset) + bits > u64::from(*bytes) * 8 {
                            return Err(TypeInfoError("place of a member"));
                        }
                        depth = depth.max(depths[node] + 1);
                    }
                    (*bytes, depth)
                }
            };
            if depth > TYPE_DEPTH_MAX {
                return Err(TypeInfoError("depth"));
            }
            sizes.push(size);
            depths.push(depth);
        }
        Ok(Self { nodes, sizes })
    }

    /// Reads a description.
    ///
    /// # Errors
    ///
    /// [`TypeInfoError`], also for what [`Self::from_nodes`] refuses.
    pub fn decode(encoded: &[u8]) -> Result<Self, TypeInfoError> {
        let nodes = postcard::from_bytes(encoded).map_err(|_| TypeInfoError("encoding"))?;
        Self::from_nodes(nodes)
    }

    /// The bytes that [`Self::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a vector does not fail.
        postcard::to_allocvec(&self.nodes).unwrap_or_default()
    }

    /// Its nodes; the last one is the whole.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Size of a value.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.sizes.last().copied().unwrap_or(0)
    }

    fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    fn size(&self, node: usize) -> usize {
        self.sizes[node] as usize
    }
}
