//! Where the parts of an object went: what the host needs to relocate the object's DWARF and
//! `.eh_frame`, which are not sent.

use uio_protocol::GuestAddress;
use uio_protocol::image::Definition;

use crate::ObjectError;
use crate::elf::Object;
use crate::symbols::{self, Placement};

/// Where the parts of an object went. Indices are those of the ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectLayout {
    /// All sections of the object.
    pub sections: Vec<InputSection>,
    /// All symbols of the object: where they are defined, or `None` for undefined ones and those of
    /// sections that are not sent.
    pub symbols: Vec<Option<Definition>>,
}

/// A section of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSection {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where its first byte is, or `None` if it is not sent. (The pointers inside `.ctors*` and
    /// `.dtors*` are sent last first.)
    pub place: Option<InputPlace>,
}

/// Where an input section begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputPlace {
    /// Index into the image's sections.
    pub section: u16,
    /// Offset in bytes.
    pub offset: u32,
}

impl ObjectLayout {
    /// Address of the first byte of the object's section `index`, once the guest has said where the
    /// image's sections start.
    #[must_use]
    pub fn section_address(&self, index: usize, starts: &[GuestAddress]) -> Option<GuestAddress> {
        let place = self.sections.get(index)?.place?;
        starts.get(usize::from(place.section))?.checked_add(u64::from(place.offset))
    }

    /// Address of the object's symbol `index`; `None` for those that the object does not define.
    #[must_use]
    pub fn symbol_address(&self, index: usize, starts: &[GuestAddress]) -> Option<GuestAddress> {
        match (*self.symbols.get(index)?)? {
            Definition::Absolute(value) => Some(GuestAddress(value)),
            Definition::Section { section, offset } => {
                starts.get(usize::from(section))?.checked_add(u64::from(offset))
            }
            Definition::Undefined { .. } => None,
        }
    }
}

pub(crate) fn layout(
    object: &Object<'_>,
    placement: &Placement<'_, '_>,
) -> Result<ObjectLayout, ObjectError> {
    let sections = object
        .sections
        .iter()
        .zip(placement.piece_of_section)
        .map(|(section, piece)| InputSection {
            name: section.name.to_string(),
            size: section.size,
            place: piece
                .map(|piece| placement.positions[piece])
                .map(|position| InputPlace { section: position.section, offset: position.offset }),
        })
        .collect();
    let symbols = (0..object.symbols.len())
        .map(|index| symbols::place(object, placement, index))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ObjectLayout { sections, symbols })
}
