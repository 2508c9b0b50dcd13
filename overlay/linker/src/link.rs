//! Produces the bytes of an extension for given addresses.

use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::{LoadError, Place};
use uio_protocol::image::{Definition, Relocation, RelocationKind, SectionKind};
use uio_protocol::inspect::Placed;

use crate::layout::{Bases, GOT_ENTRY_BYTES, Group};
use crate::plan::{Binds, NO_SLOT, Plan, display_name, in_text};
use crate::relax::relax;
use crate::relocate::{Terms, fits_displacement, is_branch, value, write};
use crate::resolve::{STUB_BYTES_MAX, Use};
use crate::validate::POINTER_BYTES;
use crate::{PAGE_BYTES, bad_image, filled, reserved};

/// Bytes of a veneer with its alignment: `movabs r11, target; jmp r11` takes 13.
pub(crate) const VENEER_SLOT_BYTES: usize = 16;

/// What fills text where nothing is placed: `int3`.
const TEXT_FILLER: u8 = 0xcc;

/// An extension ready to be copied to the addresses that it was linked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Whole pages, to be mapped read-execute at [`Bases::text`].
    pub text: Vec<u8>,
    /// To be mapped read-only at [`Bases::read_only`]; the rest of the last page is zero.
    pub read_only: Vec<u8>,
    /// Initialised data, to be mapped read-write at [`Bases::data`].
    pub data: Vec<u8>,
    /// Zeroed bytes that follow [`Self::data`].
    pub zeroed_bytes: u64,
    /// Global symbols that the image defines, sorted by name.
    pub exports: Vec<Export>,
    /// Where each section lies, in the order of the image.
    pub placed: Vec<Placed>,
    /// Functions to call before the entry, in order. All lie in this text.
    pub constructors: Vec<GuestAddress>,
    /// Functions to call at unload, in this order. All lie in this text.
    pub destructors: Vec<GuestAddress>,
    /// Exports of other extensions that this one refers to.
    pub uses: Vec<Use>,
    bases: Bases,
    /// End of the last text section; stubs and veneers follow.
    code_end: GuestAddress,
    text_sections: Vec<(u64, u64, usize)>,
}

/// A global symbol that an extension defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: GuestAddress,
    /// Size in bytes, zero if the object does not say.
    pub size: u32,
    /// Whether it names code.
    pub function: bool,
}

impl Linked {
    /// Where these bytes belong.
    #[must_use]
    pub fn bases(&self) -> Bases {
        self.bases
    }

    /// The global symbol `name` that this extension defines.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<&Export> {
        let found = self.exports.binary_search_by(|export| export.name.as_str().cmp(name));
        found.ok().map(|position| &self.exports[position])
    }

    /// Address of the function `name`, if this extension defines it in its own code.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<GuestAddress> {
        let address = self.export(name)?.address;
        (address >= self.bases.text && address < self.code_end).then_some(address)
    }

    /// Section and offset of byte `offset` of [`Self::text`], for messages.
    #[must_use]
    pub fn text_place(&self, offset: usize) -> Place {
        let offset = offset as u64;
        let found = self.text_sections.iter().find(|(start, end, _)| (*start..*end).contains(&offset));
        match found {
            Some((start, _, section)) => Place {
                section: self.placed[*section].name.clone(),
                offset: u32::try_from(offset - start).unwrap_or(u32::MAX),
            },
            None => Place {
                section: "stubs and veneers".into(),
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
            },
        }
    }
}

/// Links `plan` for `bases`: the answer holds all bytes, and nothing outside of it was written.
///
/// # Errors
///
/// - [`LoadError::Overflow`] if a relocated value does not fit its field.
/// - [`LoadError::BadImage`] if a constructor or destructor lies outside the extension's text, a base is not
///   the start of a page, or a group wraps around the end of the address space.
/// - [`LoadError::NoRoom`] if the heap is exhausted.
pub fn link(plan: &Plan<'_>, bases: Bases) -> Result<Linked, LoadError> {
    let Plan { image, layout, .. } = plan;
    let pages = layout.pages();
    for (base, pages) in
        [(bases.text, pages.text), (bases.read_only, pages.read_only), (bases.data, pages.data)]
    {
        let last = (u64::from(pages) * PAGE_BYTES).saturating_sub(1);
        if pages > 0 && (!base.0.is_multiple_of(PAGE_BYTES) || base.checked_add(last).is_none()) {
            return Err(bad_image(format_args!("{pages} pages cannot begin at {base}")));
        }
    }
    let mut linker = Linker {
        bases,
        text: filled(pages.text as usize * PAGE_BYTES as usize, TEXT_FILLER)?,
        read_only: filled(usize_of(layout.read_only_bytes), 0)?,
        data: filled(usize_of(layout.data_bytes), 0)?,
        values: reserved(image.symbols.len())?,
        plan,
    };
    linker.copy_sections();
    linker.compute_values();
    linker.write_got_stubs_and_veneers();
    for relocation in &image.relocations {
        linker.apply(relocation)?;
    }
    linker.finish()
}

/// A link under way.
struct Linker<'plan, 'image> {
    plan: &'plan Plan<'image>,
    bases: Bases,
    text: Vec<u8>,
    read_only: Vec<u8>,
    data: Vec<u8>,
    /// S of every symbol; 0 for those that nothing uses.
    values: Vec<u64>,
}

impl Linker<'_, '_> {
    fn section_address(&self, section: u16) -> u64 {
        let slot = self.plan.layout.slots[usize::from(section)];
        self.bases.of(slot.group).0.wrapping_add(u64::from(slot.offset))
    }

    fn definition_address(&self, definition: Definition) -> Option<u64> {
        match definition {
            Definition::Section { section, offset } => {
                Some(self.section_address(section).wrapping_add(u64::from(offset)))
            }
            Definition::Absolute(value) => Some(value),
            Definition::Undefined { .. } => None,
        }
    }

    /// The bytes of a section in its group's buffer. Empty for zeroed sections.
    fn section_bytes(&mut self, section: u16) -> &mut [u8] {
        let index = usize::from(section);
        let slot = self.plan.layout.slots[index];
        let start = slot.offset as usize;
        let end = start + self.plan.image.sections[index].bytes.len();
        let group = match slot.group {
            Group::Text => &mut self.text,
            Group::ReadOnly => &mut self.read_only,
            Group::Data => &mut self.data,
        };
        // A zeroed section may begin behind the buffer, and has no bytes.
        group.get_mut(start..end).unwrap_or_default()
    }

    fn copy_sections(&mut self) {
        let sections = &self.plan.image.sections;
        for (index, section) in (0u16..).zip(sections) {
            let bytes = self.section_bytes(index);
            if !bytes.is_empty() {
                bytes.copy_from_slice(&section.bytes);
            }
        }
    }

    fn compute_values(&mut self) {
        for bind in &self.plan.binds {
            let value = match *bind {
                Binds::Unused => 0,
                Binds::Own { section, offset } => {
                    self.section_address(section).wrapping_add(u64::from(offset))
                }
                Binds::Fixed(value) => value,
                Binds::Stub(index) => self
                    .bases
                    .text
                    .0
                    .wrapping_add(self.plan.layout.stubs_offset)
                    .wrapping_add(u64::from(index) * STUB_BYTES_MAX as u64),
                Binds::Got => self.bases.read_only.0,
            };
            self.values.push(value);
        }
    }

    fn write_got_stubs_and_veneers(&mut self) {
        for (slot, value) in self.plan.got_slots.iter().zip(&self.values) {
            if *slot != NO_SLOT {
                put(&mut self.read_only, *slot as usize * GOT_ENTRY_BYTES as usize, &value.to_le_bytes());
            }
        }
        let stubs = usize_of(self.plan.layout.stubs_offset);
        for (index, stub) in self.plan.stubs.iter().enumerate() {
            put(&mut self.text, stubs + index * STUB_BYTES_MAX, stub.as_slice());
        }
        let veneers = usize_of(self.plan.layout.veneers_offset);
        for (slot, value) in self.plan.veneer_slots.iter().zip(&self.values) {
            if *slot != NO_SLOT {
                put(&mut self.text, veneers + *slot as usize * VENEER_SLOT_BYTES, &veneer(*value));
            }
        }
    }

    fn apply(&mut self, relocation: &Relocation) -> Result<(), LoadError> {
        let (plan, image) = (self.plan, self.plan.image);
        let symbol = relocation.symbol as usize;
        let place = self.section_address(relocation.section).wrapping_add(u64::from(relocation.offset));
        let mut terms = Terms {
            symbol: self.values[symbol],
            addend: relocation.addend,
            place,
            got: self.bases.read_only.0,
            got_entry: self
                .bases
                .read_only
                .0
                .wrapping_add(u64::from(plan.got_slots[symbol]).wrapping_mul(GOT_ENTRY_BYTES)),
            size: image.symbols[symbol].size,
        };
        let field = relocation.offset as usize;
        let may_relax = matches!(relocation.kind, RelocationKind::GotPcRelX | RelocationKind::RexGotPcRelX)
            && in_text(image, relocation.section);
        if may_relax
            && relax(self.section_bytes(relocation.section), field, terms.symbol, place, relocation.addend)
        {
            return Ok(());
        }
        let mut result = value(relocation.kind, &terms);
        if plan.veneer_slots[symbol] != NO_SLOT && !fits_displacement(result) && is_branch(image, relocation)
        {
            let offset = u64::from(plan.veneer_slots[symbol]) * VENEER_SLOT_BYTES as u64;
            terms.symbol = self.bases.text.0.wrapping_add(plan.layout.veneers_offset).wrapping_add(offset);
            result = value(relocation.kind, &terms);
        }
        let width = usize::from(relocation.kind.width_bytes());
        let bytes = self.section_bytes(relocation.section).get_mut(field..field + width).unwrap_or_default();
        if write(relocation.kind, result, bytes) {
            return Ok(());
        }
        Err(LoadError::Overflow {
            place: Place {
                section: image.sections[usize::from(relocation.section)].name.clone(),
                offset: relocation.offset,
            },
            kind: relocation.kind,
            symbol: display_name(image, symbol),
            value: result.cast_signed(),
        })
    }

    /// The pointers of all sections of `kind`, which must point into this text.
    fn calls(&mut self, kind: SectionKind) -> Result<Vec<GuestAddress>, LoadError> {
        let (image, layout) = (self.plan.image, &self.plan.layout);
        let text = self.bases.text.0..self.bases.text.0.saturating_add(layout.text_bytes);
        let mut calls = Vec::new();
        for (index, section) in (0u16..).zip(&image.sections).filter(|(_, section)| section.kind == kind) {
            let bytes = self.section_bytes(index);
            for (position, pointer) in bytes.as_chunks::<POINTER_BYTES>().0.iter().enumerate() {
                let address = u64::from_le_bytes(*pointer);
                if !text.contains(&address) {
                    return Err(bad_image(format_args!(
                        "entry {position} of {} is {address:#x}, outside the extension's code",
                        section.name
                    )));
                }
                calls.push(GuestAddress(address));
            }
        }
        Ok(calls)
    }

    fn finish(mut self) -> Result<Linked, LoadError> {
        let constructors = self.calls(SectionKind::Constructors)?;
        let mut destructors = self.calls(SectionKind::Destructors)?;
        destructors.reverse();
        let (image, layout) = (self.plan.image, &self.plan.layout);
        let mut exports = reserved(self.plan.exports.len())?;
        for index in &self.plan.exports {
            let symbol = &image.symbols[*index as usize];
            if let Some(address) = self.definition_address(symbol.definition) {
                exports.push(Export {
                    name: symbol.name.clone(),
                    address: GuestAddress(address),
                    size: symbol.size,
                    function: symbol.function,
                });
            }
        }
        let placed = (0u16..)
            .zip(&image.sections)
            .map(|(index, section)| Placed {
                name: section.name.clone(),
                start: GuestAddress(self.section_address(index)),
                size: section.size,
            })
            .collect();
        let text_sections = image
            .sections
            .iter()
            .zip(&layout.slots)
            .enumerate()
            .filter(|(_, (section, _))| section.kind == SectionKind::Text)
            .map(|(index, (section, slot))| {
                (u64::from(slot.offset), u64::from(slot.offset) + u64::from(section.size), index)
            })
            .collect();
        Ok(Linked {
            zeroed_bytes: layout.data_and_zeroed_bytes - layout.data_bytes,
            exports,
            placed,
            constructors,
            destructors,
            uses: self.plan.uses.clone(),
            bases: self.bases,
            code_end: GuestAddress(self.bases.text.0.saturating_add(layout.code_bytes)),
            text_sections,
            text: self.text,
            read_only: self.read_only,
            data: self.data,
        })
    }
}

/// `movabs r11, target; jmp r11`. The ABI lets a call's linkage change `r11`.
fn veneer(target: u64) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h] = target.to_le_bytes();
    [0x49, 0xbb, a, b, c, d, e, f, g, h, 0x41, 0xff, 0xe3]
}

/// Copies `bytes` to `offset`. The layout has room for everything that is put.
fn put(buffer: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(target) = buffer.get_mut(offset..offset + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

/// Sizes of groups are below 2^30.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
