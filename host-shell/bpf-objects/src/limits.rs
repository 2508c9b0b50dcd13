//! Limits of what is read. An object beyond them is a mistake, or made to exhaust the one who checks it.

/// Bytes of an object file. A firewall of 10,000 rules with debug information has one.
pub const OBJECT_BYTES_MAX: usize = 32 << 20;
/// Symbols. Compilers write one for each label of a branch as well.
pub const SYMBOLS_MAX: usize = 1 << 20;
/// Instruction slots of one program with its functions. Above the 100,000 that the verifier is built for.
pub const PROGRAM_SLOTS_MAX: usize = 1 << 18;
/// Instruction slots of all programs of an object: functions are copied into each program that calls them.
pub const OBJECT_SLOTS_MAX: usize = 1 << 20;
/// Programs of an object.
pub const PROGRAMS_MAX: usize = 256;
/// Functions of one program.
pub const FUNCTIONS_MAX: usize = 1024;
/// Maps of an object, sections of variables included.
pub const MAPS_MAX: usize = 256;
/// Bytes of a map's key, as in Linux for hashes.
pub const KEY_BYTES_MAX: u32 = 512;
/// Bytes of a map's value.
pub const VALUE_BYTES_MAX: u32 = 4 << 20;
/// Bytes of a name of a program or map; longer ones are refused.
pub const NAME_BYTES_MAX: usize = 256;
/// Bytes of any name in an object. Rust's v0 mangling of generic code passes 1,000 at times.
pub const STRING_BYTES_MAX: usize = 4096;
/// Bytes of a source line that are kept.
pub const LINE_BYTES_MAX: usize = 512;
/// BTF types of an object. The Linux kernel's own has some 150,000.
pub const BTF_TYPES_MAX: usize = 1 << 18;
/// Typedefs, qualifiers and arrays around a type before it counts as circular.
pub const BTF_CHAIN_MAX: usize = 64;
/// Nodes of one type's description.
pub const TYPE_NODES_MAX: usize = 1024;
/// Bytes of the names in one type's description, each member and variant counted as [`TYPE_ENTRY_BYTES`] more. What
/// goes beyond is described as bytes. Maps with their descriptions travel to the guest.
pub const TYPE_TEXT_BYTES_MAX: usize = 32 * 1024;
/// See [`TYPE_TEXT_BYTES_MAX`].
pub const TYPE_ENTRY_BYTES: usize = 8;
/// Depth of nested structs and arrays that a description shows; what is deeper is bytes.
pub const TYPE_DEPTH_MAX: usize = 16;
/// Line records of all programs of an object.
pub const LINES_MAX: usize = 1 << 21;
/// Memory of a `raw` program, bytes.
pub const RAW_BYTES_MAX: u32 = 1 << 20;
