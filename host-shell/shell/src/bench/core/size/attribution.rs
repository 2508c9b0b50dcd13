//! Walks the debug information: which crate each byte of code was written in.

use std::collections::HashMap;
use std::ops::Range;

use gimli::{AttributeValue, DwAt, Dwarf, EndianSlice, LittleEndian, Unit};
use goblin::elf::Elf;

use super::Group;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;

/// References from a function's entry to its declaration are followed this far: code → abstract function →
/// declaration takes two.
const REFERENCES_MAX: usize = 4;

/// What a function's entry says about where it comes from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// By the crate that it was written in; `None` if that is one that everybody uses.
    group: Option<Group>,
    /// By the types in its name if they are all of one crate, as in `drop_in_place<uio_linker::plan::Plan>`.
    by_types: Option<Group>,
    /// Another entry that knows more.
    refers_to: Option<usize>,
}

/// The group of each byte of `text`, `None` where no function with debug information has its code.
pub(super) fn attribute(elf: &Elf<'_>, bytes: &[u8], text: Range<u64>) -> gimli::Result<Vec<Option<Group>>> {
    let load = |id: gimli::SectionId| -> gimli::Result<Slice<'_>> {
        let mut sections = elf.section_headers.iter();
        let section = sections.find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(id.name()));
        let contents = section.and_then(|section| bytes.get(section.file_range()?)).unwrap_or_default();
        Ok(EndianSlice::new(contents, LittleEndian))
    };
    let dwarf = Dwarf::load(load)?;
    let mut units = Vec::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        units.push(dwarf.unit(header)?);
    }
    let mut origins = HashMap::new();
    for unit in &units {
        find_origins(&dwarf, unit, &mut origins)?;
    }
    let mut painted = vec![None; usize::try_from(text.end - text.start).unwrap_or(0)];
    for unit in &units {
        paint(&dwarf, unit, &origins, &text, &mut painted)?;
    }
    Ok(painted)
}

/// Notes where each function of a unit comes from.
fn find_origins<'a>(
    dwarf: &Dwarf<Slice<'a>>,
    unit: &Unit<Slice<'a>>,
    origins: &mut HashMap<usize, Origin>,
) -> gimli::Result<()> {
    let Some(base) = unit.header.debug_info_offset() else { return Ok(()) };
    let mut root = None;
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs()? {
        // The outermost namespace is the crate.
        if entry.depth() == 1 {
            root = match entry.tag() {
                gimli::DW_TAG_namespace => text_of(dwarf, unit, entry, gimli::DW_AT_name)?,
                _ => None,
            };
        }
        if entry.tag() != gimli::DW_TAG_subprogram {
            continue;
        }
        let group = root.as_deref().and_then(Group::of_crate);
        let by_types = text_of(dwarf, unit, entry, gimli::DW_AT_name)?.as_deref().and_then(Group::of_types);
        let refers_to = reference(entry, gimli::DW_AT_specification, base.0)
            .or_else(|| reference(entry, gimli::DW_AT_abstract_origin, base.0));
        origins.insert(base.0 + entry.offset().0, Origin { group, by_types, refers_to });
    }
    Ok(())
}

/// Writes the group of each function with code of its own over its bytes, then those of the functions inlined into it.
fn paint<'a>(
    dwarf: &Dwarf<Slice<'a>>,
    unit: &Unit<Slice<'a>>,
    origins: &HashMap<usize, Origin>,
    text: &Range<u64>,
    painted: &mut [Option<Group>],
) -> gimli::Result<()> {
    let Some(base) = unit.header.debug_info_offset() else { return Ok(()) };
    let name = unit.name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let instantiated_by = crate_of_unit(&name).and_then(Group::of_crate).unwrap_or(Group::Other);
    // Functions around the current entry, with their depth in the tree.
    let mut around: Vec<(isize, Group)> = Vec::new();
    let mut entries = unit.entries();
    // Parents come before their children, so what is inlined is written over what it is inlined into.
    while let Some(entry) = entries.next_dfs()? {
        while around.last().is_some_and(|(depth, _)| *depth >= entry.depth()) {
            around.pop();
        }
        let at = match entry.tag() {
            gimli::DW_TAG_subprogram => Some(base.0 + entry.offset().0),
            gimli::DW_TAG_inlined_subroutine => reference(entry, gimli::DW_AT_abstract_origin, base.0),
            _ => continue,
        };
        let group = at.and_then(|at| known_group(origins, at, |origin| origin.group));
        let group = match around.last() {
            Some((_, outer)) => group.unwrap_or(*outer),
            None => group
                .or_else(|| at.and_then(|at| known_group(origins, at, |origin| origin.by_types)))
                .unwrap_or(instantiated_by),
        };
        around.push((entry.depth(), group));
        let mut ranges = dwarf.die_ranges(unit, entry)?;
        while let Some(range) = ranges.next()? {
            // Functions that the linker left out stay in the debug information, at address zero.
            if range.begin < text.start || range.end > text.end || range.begin > range.end {
                continue;
            }
            let piece = (range.begin - text.start) as usize..(range.end - text.start) as usize;
            painted[piece].fill(Some(group));
        }
    }
    Ok(())
}

/// What the entry at `at`, or one that it refers to, knows.
fn known_group(
    origins: &HashMap<usize, Origin>,
    at: usize,
    knows: impl Fn(&Origin) -> Option<Group>,
) -> Option<Group> {
    let mut next = Some(at);
    for _ in 0..REFERENCES_MAX {
        let origin = origins.get(&next?)?;
        if let Some(group) = knows(origin) {
            return Some(group);
        }
        next = origin.refers_to;
    }
    None
}

fn text_of<'a>(
    dwarf: &Dwarf<Slice<'a>>,
    unit: &Unit<Slice<'a>>,
    entry: &Entry<'a>,
    attribute: DwAt,
) -> gimli::Result<Option<String>> {
    let Some(value) = entry.attr_value(attribute) else { return Ok(None) };
    Ok(Some(dwarf.attr_string(unit, value)?.to_string_lossy().into_owned()))
}

/// The entry that an attribute refers to, by its offset in `.debug_info`.
fn reference(entry: &Entry<'_>, attribute: DwAt, unit_base: usize) -> Option<usize> {
    match entry.attr_value(attribute)? {
        AttributeValue::UnitRef(offset) => Some(unit_base + offset.0),
        AttributeValue::DebugInfoRef(offset) => Some(offset.0),
        _ => None,
    }
}

/// rustc names units `path/to/lib.rs/@/crate_name.hash-cgu.0`.
fn crate_of_unit(name: &str) -> Option<&str> {
    let (_, unit) = name.rsplit_once("/@/")?;
    unit.split(['.', '-']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_name_their_crates() {
        assert_eq!(crate_of_unit("overlay/linker/src/lib.rs/@/uio_linker.1f2e-cgu.0"), Some("uio_linker"));
        assert_eq!(crate_of_unit("memcpy.c"), None);
    }

    #[test]
    fn references_are_followed_but_not_for_ever() {
        let origin = |group, refers_to| Origin { group, by_types: None, refers_to };
        let origins = HashMap::from([
            (1, origin(None, Some(2))),
            (2, origin(Some(Group::Linker), None)),
            (3, origin(None, Some(3))),
        ]);
        let known = |at| known_group(&origins, at, |origin| origin.group);
        assert_eq!(known(1), Some(Group::Linker));
        assert_eq!(known(3), None);
        assert_eq!(known(4), None);
    }
}
