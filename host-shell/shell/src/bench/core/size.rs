//! Which crate the bytes of an image come from.
//!
//! Images are linked with fat link-time optimization, so symbols alone mislead: one function holds code of several crates.
//! Debug information knows better. Each byte of code belongs to the innermost function that it was inlined
//! from. Where that is generic code of `core` or `alloc`, it belongs to whoever asked for it: the function around it,
//! or for a function of its own the type in its name, or else the crate that instantiated it.

mod attribution;
mod group;

use std::collections::HashMap;
use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::sym::STT_OBJECT;
use uio_debuginfo::demangle;

use crate::bench::error::BenchError;
pub(super) use group::Group;

/// Bytes of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Breakdown {
    groups: HashMap<Group, u64>,
    /// Memory that the loader fills or clears.
    pub(super) loaded: u64,
    /// `.text`.
    pub(super) code: u64,
    /// `.rodata`.
    pub(super) constants: u64,
}

impl Breakdown {
    pub(super) fn bytes(&self, group: Group) -> u64 {
        self.groups.get(&group).copied().unwrap_or(0)
    }

    fn add(&mut self, group: Group, bytes: u64) {
        *self.groups.entry(group).or_default() += bytes;
    }
}

/// Reads an image.
pub(super) fn breakdown(path: &Path) -> Result<Breakdown, BenchError> {
    let bytes = std::fs::read(path).map_err(BenchError::io(path.display().to_string()))?;
    let malformed = |found: String| BenchError::Malformed { what: "the image", found };
    let elf = Elf::parse(&bytes).map_err(|error| malformed(error.to_string()))?;
    let mut sizes = Breakdown::default();
    for header in elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD) {
        sizes.loaded += header.p_memsz;
    }
    let mut text = 0..0;
    for section in &elf.section_headers {
        match elf.shdr_strtab.get_at(section.sh_name) {
            Some(".text") => {
                sizes.code = section.sh_size;
                text = section.sh_addr..section.sh_addr + section.sh_size;
            }
            Some(".rodata") => sizes.constants = section.sh_size,
            _ => {}
        }
    }
    let painted =
        attribution::attribute(&elf, &bytes, text.clone()).map_err(|error| malformed(error.to_string()))?;
    for group in painted.iter().flatten() {
        sizes.add(*group, 1);
    }
    for symbol in elf.syms.iter().filter(|symbol| symbol.st_size > 0) {
        let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
        let group = || Group::of_symbol(&demangle(name)).unwrap_or(Group::Other);
        if symbol.st_type() == STT_OBJECT {
            sizes.add(group(), symbol.st_size);
        } else if text.contains(&symbol.st_value)
            && painted[(symbol.st_value - text.start) as usize].is_none()
        {
            // Assembly has no debug information.
            sizes.add(group(), symbol.st_size);
        }
    }
    Ok(sizes)
}
