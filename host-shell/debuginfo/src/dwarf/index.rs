//! One pass over all entries: global variables, functions and types, by name and by address.

use std::collections::HashMap;
use std::sync::OnceLock;

use gimli::{AttributeValue, DwAt, DwTag};

use super::{DebugInfo, Slice, static_address};
use crate::error::DebugError;
use crate::names::NameIndex;

/// A variable with static storage.
#[derive(Clone, Debug)]
pub(crate) struct VariableEntry {
    pub(crate) name: String,
    /// Offset of its entry.
    pub(crate) offset: usize,
    /// Its address by its location; `None` if the entry has none, as when the optimizer changed it.
    pub(crate) address: Option<u64>,
    /// It has a location, but not a plain address: [`DebugInfo::pieces`] tells where it is.
    pub(crate) split: bool,
    /// Name in the symbol table, where that can give the address.
    pub(crate) linkage_name: Option<String>,
}

/// A function that has code of its own.
#[derive(Clone, Debug)]
pub(crate) struct FunctionEntry {
    pub(crate) address: u64,
    pub(crate) offset: usize,
}

/// What the scan found.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) variables: Vec<VariableEntry>,
    pub(crate) variable_names: NameIndex,
    /// Sorted by address.
    pub(crate) functions: Vec<FunctionEntry>,
    /// Entry offset and qualified name, sorted by offset.
    pub(crate) types: Vec<(usize, String)>,
    /// Entry offsets of the types that are only declared, sorted.
    declared: Vec<usize>,
    type_names: OnceLock<NameIndex>,
}

impl Index {
    /// Names of the types that are defined; ids are positions in `types`.
    pub(crate) fn type_names(&self) -> &NameIndex {
        self.type_names.get_or_init(|| {
            let defined = (0u32..)
                .zip(&self.types)
                .filter(|(_, (offset, _))| self.declared.binary_search(offset).is_err())
                .map(|(id, (_, name))| (name.clone(), id));
            NameIndex::build(defined)
        })
    }

    pub(crate) fn build(info: &DebugInfo) -> Result<Self, DebugError> {
        let dwarf = info.borrowed();
        let mut scan = Scan::default();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let unit = dwarf.unit(header)?;
            scan.unit(&dwarf, &unit)?;
        }
        Ok(scan.finish())
    }

    /// The qualified name of the type whose entry is at `offset`.
    pub(crate) fn type_name(&self, offset: usize) -> Option<&str> {
        let at = self.types.binary_search_by_key(&offset, |&(offset, _)| offset).ok()?;
        Some(&self.types[at].1)
    }

    /// The entry of the function that starts at `address`.
    pub(crate) fn function_at(&self, address: u64) -> Option<&FunctionEntry> {
        let at = self.functions.binary_search_by_key(&address, |entry| entry.address).ok()?;
        Some(&self.functions[at])
    }
}

#[derive(Default)]
struct Scan {
    index: Index,
    /// Offsets of types that are only declared; not offered by name.
    declared: Vec<usize>,
    /// Locations given by a later entry that refers back: declaration offset → address.
    completions: HashMap<usize, u64>,
}

/// The attributes of one entry that the scan cares about.
struct Entry<'a> {
    name: Option<AttributeValue<Slice<'a>>>,
    linkage_name: Option<AttributeValue<Slice<'a>>>,
    location: Option<AttributeValue<Slice<'a>>>,
    low_pc: Option<AttributeValue<Slice<'a>>>,
    ranges: Option<AttributeValue<Slice<'a>>>,
    specification: Option<AttributeValue<Slice<'a>>>,
    declaration: bool,
    constant: bool,
}

/// Tags whose children have the entry's name in front of theirs.
fn is_scope(tag: DwTag) -> bool {
    is_aggregate(tag) || matches!(tag, gimli::DW_TAG_namespace | gimli::DW_TAG_subprogram)
}

fn is_aggregate(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_enumeration_type
    )
}

fn is_type(tag: DwTag) -> bool {
    is_aggregate(tag) || matches!(tag, gimli::DW_TAG_base_type | gimli::DW_TAG_typedef)
}

impl Scan {
    fn unit<'a>(
        &mut self,
        dwarf: &gimli::Dwarf<Slice<'a>>,
        unit: &gimli::Unit<Slice<'a>>,
    ) -> Result<(), DebugError> {
        let Some(base) = unit.header.debug_info_offset() else { return Ok(()) };
        let mut path = String::new();
        // (depth of the scope's entry, length of the path before it, whether it is a function)
        let mut scopes: Vec<(isize, usize, bool)> = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let offset = base.0 + entries.next_offset().0;
            let depth = entries.next_depth();
            while let Some(&(scope_depth, length, _)) = scopes.last() {
                if scope_depth < depth {
                    break;
                }
                path.truncate(length);
                scopes.pop();
            }
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            let tag = abbreviation.tag();
            let variable = tag == gimli::DW_TAG_variable;
            if !variable && !is_scope(tag) && !is_type(tag) {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let entry = Entry::read(&mut entries, abbreviation.attributes())?;
            let in_function = scopes.iter().any(|&(_, _, function)| function);
            if variable {
                self.variable(dwarf, unit, offset, &entry, &path, in_function);
                continue;
            }
            if tag == gimli::DW_TAG_subprogram
                && let Some(address) = entry.entry_address(dwarf, unit)
            {
                self.index.functions.push(FunctionEntry { address, offset });
            }
            let name = entry.name.and_then(|value| DebugInfo::text(dwarf, unit, value));
            if let (true, Some(name)) = (is_type(tag), name.as_deref()) {
                let full = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
                self.index.types.push((offset, full));
                if entry.declaration {
                    self.declared.push(offset);
                }
            }
            if is_scope(tag) && abbreviation.has_children() {
                scopes.push((depth, path.len(), tag == gimli::DW_TAG_subprogram));
                if let Some(name) = name {
                    if !path.is_empty() {
                        path.push_str("::");
                    }
                    path.push_str(&name);
                }
            }
        }
        Ok(())
    }

    fn variable<'a>(
        &mut self,
        dwarf: &gimli::Dwarf<Slice<'a>>,
        unit: &gimli::Unit<Slice<'a>>,
        offset: usize,
        entry: &Entry<'a>,
        path: &str,
        in_function: bool,
    ) {
        let address = match &entry.location {
            Some(AttributeValue::Exprloc(expression)) => {
                static_address(dwarf, unit, gimli::Expression(expression.0))
            }
            _ => None,
        };
        if let (Some(value), Some(address)) = (&entry.specification, address) {
            if let Some(declaration) = DebugInfo::reference(unit, value) {
                self.completions.insert(declaration, address);
            }
            return;
        }
        let linkage_name = entry.linkage_name.and_then(|value| DebugInfo::text(dwarf, unit, value));
        // Locals have locations as well, but those need registers.
        let split =
            address.is_none() && !in_function && matches!(entry.location, Some(AttributeValue::Exprloc(_)));
        // Inside of a function only what has static storage is of interest here.
        let local = in_function && address.is_none() && linkage_name.is_none();
        if local || entry.constant {
            return;
        }
        let Some(name) = entry.name.and_then(|value| DebugInfo::text(dwarf, unit, value)) else { return };
        let linkage_name = linkage_name.or_else(|| path.is_empty().then(|| name.clone()));
        let name = if path.is_empty() { name } else { format!("{path}::{name}") };
        self.index.variables.push(VariableEntry { name, offset, address, split, linkage_name });
    }

    fn finish(self) -> Index {
        let mut index = self.index;
        for variable in &mut index.variables {
            if variable.address.is_none() {
                variable.address = self.completions.get(&variable.offset).copied();
            }
        }
        let names = index.variables.iter().map(|variable| variable.name.clone());
        index.variable_names = NameIndex::build(names.zip(0..));
        index.functions.sort_by_key(|function| function.address);
        index.types.sort_by_key(|&(offset, _)| offset);
        let mut declared = self.declared;
        declared.sort_unstable();
        index.declared = declared;
        index
    }
}

impl<'a> Entry<'a> {
    fn read(
        entries: &mut gimli::EntriesRaw<'_, Slice<'a>>,
        attributes: &[gimli::AttributeSpecification],
    ) -> Result<Self, DebugError> {
        let mut entry = Self {
            name: None,
            linkage_name: None,
            location: None,
            low_pc: None,
            ranges: None,
            specification: None,
            declaration: false,
            constant: false,
        };
        for &attribute in attributes {
            let attribute = entries.read_attribute(attribute)?;
            let value = || Some(attribute.value());
            let name: DwAt = attribute.name();
            match name {
                gimli::DW_AT_name => entry.name = value(),
                gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => entry.linkage_name = value(),
                gimli::DW_AT_location => entry.location = value(),
                gimli::DW_AT_low_pc => entry.low_pc = value(),
                gimli::DW_AT_ranges => entry.ranges = value(),
                gimli::DW_AT_specification => entry.specification = value(),
                gimli::DW_AT_declaration => entry.declaration = true,
                gimli::DW_AT_const_value => entry.constant = true,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Where the code of a function starts.
    fn entry_address(&self, dwarf: &gimli::Dwarf<Slice<'a>>, unit: &gimli::Unit<Slice<'a>>) -> Option<u64> {
        if let Some(value) = self.low_pc {
            return dwarf.attr_address(unit, value).ok()?;
        }
        let mut ranges = dwarf.attr_ranges(unit, self.ranges?).ok()??;
        ranges.next().ok()?.map(|range| range.begin)
    }
}
