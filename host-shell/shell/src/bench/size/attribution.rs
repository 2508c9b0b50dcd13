//! Walks the debug information: which crate each piece of code was written in.

use std::collections::HashMap;

use gimli::{
    AttributeValue, DebuggingInformationEntry, DebugInfoOffset, Dwarf, EndianSlice, LittleEndian, Range, Reader as _,
    SectionId, Unit, UnitOffset, UnitSectionOffset,
};
use goblin::elf::Elf;

use super::Group;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;
