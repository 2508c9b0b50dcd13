//! Which group of pages each section lies in, and where in it.

use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{ExtensionImage, SectionKind};

use crate::{PAGE_BYTES, reserved};

/// Largest size of one group in bytes, that of the window for loaded code: any two places of a group are then
/// within reach of a 32-bit displacement.
const GROUP_BYTES_MAX: u64 = 1 << 30;

/// Alignment of stubs and veneers, as compilers align functions.
pub(crate) const CODE_ALIGNMENT: u64 = 16;

/// Bytes of an entry of the global offset table.
pub(crate) const GOT_ENTRY_BYTES: u64 = 8;

/// Pages that an extension takes, by permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// Read, execute.
    pub text: u32,
    /// Read.
    pub read_only: u32,
    /// Read, write.
    pub data: u32,
}

/// Where the groups lie. Each is the start of a page; that of an empty group is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bases {
    /// Start of [`Pages::text`] pages.
    pub text: GuestAddress,
    /// Start of [`Pages::read_only`] pages.
    pub read_only: GuestAddress,
    /// Start of [`Pages::data`] pages.
    pub data: GuestAddress,
}

/// Pages of one permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Text,
    ReadOnly,
    Data,
}

/// Where a section lies in its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) group: Group,
    /// Offset of its first byte, below [`GROUP_BYTES_MAX`].
    pub(crate) offset: u32,
}

/// Where everything lies, in offsets from the starts of the groups. Sizes are in bytes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By section index.
    pub(crate) slots: Vec<Slot>,
    /// Text sections, without the stubs and veneers behind them.
    pub(crate) code_bytes: u64,
    pub(crate) stubs_offset: u64,
    pub(crate) veneers_offset: u64,
    pub(crate) text_bytes: u64,
    pub(crate) read_only_bytes: u64,
    /// Initialised part of the data group.
    pub(crate) data_bytes: u64,
    /// Whole data group.
    pub(crate) data_and_zeroed_bytes: u64,
}

/// A size that only grows, and never past [`GROUP_BYTES_MAX`].
struct Cursor(u64);

impl Cursor {
    /// Takes `bytes` at the next multiple of `alignment` (a power of two) and returns their offset.
    fn take(&mut self, bytes: u64, alignment: u64) -> Result<u32, LoadError> {
        let start = self.0.next_multiple_of(alignment);
        let end = start.saturating_add(bytes);
        if end > GROUP_BYTES_MAX {
            return Err(LoadError::NoRoom { bytes: end });
        }
        self.0 = end;
        u32::try_from(start).map_err(|_| LoadError::NoRoom { bytes: end })
    }
}

/// Lays out a validated image with room for `got_entries`, `stubs` slots of `stub_bytes` and
/// `veneers` of `veneer_bytes` each.
pub(crate) fn layout(
    image: &ExtensionImage,
    got_entries: u64,
    stubs: u64,
    stub_bytes: u64,
    veneers: u64,
    veneer_bytes: u64,
) -> Result<Layout, LoadError> {
    let mut slots = reserved(image.sections.len())?;
    let (mut text, mut read_only, mut data) = (Cursor(0), Cursor(0), Cursor(0));
    read_only.take(got_entries * GOT_ENTRY_BYTES, GOT_ENTRY_BYTES)?;
    for section in &image.sections {
        let (group, cursor) = match section.kind {
            SectionKind::Text => (Group::Text, &mut text),
            SectionKind::ReadOnly | SectionKind::Constructors | SectionKind::Destructors => {
                (Group::ReadOnly, &mut read_only)
            }
            SectionKind::Data => (Group::Data, &mut data),
            // Placed below, behind all initialised data.
            SectionKind::Zeroed => {
                slots.push(Slot { group: Group::Data, offset: 0 });
                continue;
            }
        };
        let offset = cursor.take(u64::from(section.size), u64::from(section.alignment))?;
        slots.push(Slot { group, offset });
    }
    let data_bytes = data.0;
    for (section, slot) in image.sections.iter().zip(&mut slots) {
        if section.kind == SectionKind::Zeroed {
            slot.offset = data.take(u64::from(section.size), u64::from(section.alignment))?;
        }
    }
    let code_bytes = text.0;
    let alignment_of = |count: u64| if count == 0 { 1 } else { CODE_ALIGNMENT };
    let stubs_offset = text.take(stubs * stub_bytes, alignment_of(stubs))?;
    let veneers_offset = text.take(veneers * veneer_bytes, alignment_of(veneers))?;
    Ok(Layout {
        slots,
        code_bytes,
        stubs_offset: u64::from(stubs_offset),
        veneers_offset: u64::from(veneers_offset),
        text_bytes: text.0,
        read_only_bytes: read_only.0,
        data_bytes,
        data_and_zeroed_bytes: data.0,
    })
}

impl Layout {
    pub(crate) fn pages(&self) -> Pages {
        // A group has at most 2^30 bytes, so at most 2^18 pages.
        let pages = |bytes: u64| u32::try_from(bytes.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX);
        Pages {
            text: pages(self.text_bytes),
            read_only: pages(self.read_only_bytes),
            data: pages(self.data_and_zeroed_bytes),
        }
    }
}

impl Bases {
    pub(crate) fn of(&self, group: Group) -> GuestAddress {
        match group {
            Group::Text => self.text,
            Group::ReadOnly => self.read_only,
            Group::Data => self.data,
        }
    }
}
