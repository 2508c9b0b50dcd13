//! Images made by hand, and a resolver with a table.

use std::cell::Cell;
use std::collections::BTreeMap;

use uio_linker::{Bases, Linked, Resolver, Target, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{
    Binding, Definition, ExtensionImage, Relocation, RelocationKind, Section, SectionKind, Symbol,
};

/// Where the tests place extensions: the window of a guest.
pub(crate) const BASES: Bases = Bases {
    text: GuestAddress(0xffff_ffff_c000_0000),
    read_only: GuestAddress(0xffff_ffff_c010_0000),
    data: GuestAddress(0xffff_ffff_c020_0000),
};

pub(crate) const UNDEFINED: Definition = Definition::Undefined { hint: None };

pub(crate) fn image() -> ExtensionImage {
    ExtensionImage { name: "test".into(), sections: Vec::new(), symbols: Vec::new(), relocations: Vec::new() }
}

/// Adds a section and returns its index.
pub(crate) fn section(image: &mut ExtensionImage, kind: SectionKind, alignment: u32, bytes: &[u8]) -> u16 {
    let index = image.sections.len();
    image.sections.push(Section {
        name: format!(".s{index}"),
        kind,
        alignment,
        size: u32::try_from(bytes.len()).unwrap(),
        bytes: bytes.to_vec(),
    });
    u16::try_from(index).unwrap()
}

/// Adds a zeroed section and returns its index.
pub(crate) fn zeroed(image: &mut ExtensionImage, alignment: u32, size: u32) -> u16 {
    let index = section(image, SectionKind::Zeroed, alignment, &[]);
    image.sections[usize::from(index)].size = size;
    index
}

/// Adds a symbol and returns its index.
pub(crate) fn symbol(
    image: &mut ExtensionImage,
    name: &str,
    definition: Definition,
    binding: Binding,
) -> u32 {
    let index = image.symbols.len();
    image.symbols.push(Symbol { name: name.into(), definition, binding, function: true, size: 0x30 });
    u32::try_from(index).unwrap()
}

/// Adds a relocation.
pub(crate) fn relocate(
    image: &mut ExtensionImage,
    (section, offset): (u16, u32),
    kind: RelocationKind,
    symbol: u32,
    addend: i64,
) {
    image.relocations.push(Relocation { section, offset, kind, symbol, addend });
}

/// Resolves from a table, and counts how often it was asked.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) targets: BTreeMap<String, Target>,
    pub(crate) asked: Cell<u32>,
}

impl Table {
    pub(crate) fn new(targets: &[(&str, Target)]) -> Self {
        let targets = targets.iter().map(|(name, target)| ((*name).into(), *target)).collect();
        Self { targets, asked: Cell::new(0) }
    }
}

impl Resolver for Table {
    fn resolve(&self, name: &str, hint: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        self.asked.set(self.asked.get() + 1);
        if let Some(address) = hint
            && address.0 == 0
        {
            return Err(LoadError::BadHint { name: name.into(), address });
        }
        Ok(self.targets.get(name).copied().or(hint.map(Target::Address)))
    }

    fn candidates(&self, visit: &mut dyn FnMut(&str)) {
        self.targets.keys().for_each(|name| visit(name));
    }
}

/// Plans and links at [`BASES`].
pub(crate) fn linked(image: &ExtensionImage, resolver: &dyn Resolver) -> Result<Linked, LoadError> {
    link(&plan(image, resolver)?, BASES)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}
