//! Checks that an image is consistent, so that the rest of the linker can index without asking.

use uio_protocol::error::LoadError;
use uio_protocol::image::{Binding, Definition, ExtensionImage, Section, SectionKind};
use uio_protocol::limits::{
    RELOCATIONS_MAX, SECTIONS_MAX, SYMBOL_NAME_BYTES_MAX, SYMBOLS_MAX, UPLOAD_BYTES_MAX,
};

use crate::{PAGE_BYTES, bad_image};

/// A pointer in a list of constructors, in bytes.
pub(crate) const POINTER_BYTES: usize = 8;

/// Checks everything about `image` that needs neither addresses nor other images.
pub(crate) fn validate(image: &ExtensionImage) -> Result<(), LoadError> {
    if image.name.is_empty() {
        return Err(bad_image(format_args!("the image has no name")));
    }
    limit("bytes of the image's name", image.name.len(), SYMBOL_NAME_BYTES_MAX)?;
    limit("sections", image.sections.len(), SECTIONS_MAX)?;
    limit("symbols", image.symbols.len(), SYMBOLS_MAX)?;
    limit("relocations", image.relocations.len(), RELOCATIONS_MAX)?;
    let mut content_bytes = 0usize;
    for (index, section) in image.sections.iter().enumerate() {
        validate_section(index, section)?;
        content_bytes = content_bytes.saturating_add(section.bytes.len());
    }
    limit("bytes of all sections", content_bytes, UPLOAD_BYTES_MAX)?;
    for (index, symbol) in image.symbols.iter().enumerate() {
        limit("bytes of a symbol's name", symbol.name.len(), SYMBOL_NAME_BYTES_MAX)?;
        let name = &symbol.name;
        match symbol.definition {
            Definition::Section { section, offset } => {
                let size = image.sections.get(usize::from(section)).map(|section| section.size);
                if size.is_none_or(|size| offset > size) {
                    return Err(bad_image(format_args!(
                        "symbol {index} `{name}` lies at {offset:#x} of section {section}"
                    )));
                }
            }
            Definition::Undefined { .. } if name.is_empty() || symbol.binding == Binding::Local => {
                return Err(bad_image(format_args!(
                    "symbol {index} `{name}` is undefined, and local or without a name"
                )));
            }
            Definition::Absolute(_) | Definition::Undefined { .. } => {}
        }
        if name.is_empty() && symbol.binding != Binding::Local {
            return Err(bad_image(format_args!("symbol {index} is global and has no name")));
        }
    }
    for (index, relocation) in image.relocations.iter().enumerate() {
        let end = u64::from(relocation.offset) + u64::from(relocation.kind.width_bytes());
        let section = image.sections.get(usize::from(relocation.section));
        if section.is_none_or(|section| end > section.bytes.len() as u64) {
            return Err(bad_image(format_args!(
                "relocation {index} patches {:#x} of section {}",
                relocation.offset, relocation.section
            )));
        }
        if relocation.symbol as usize >= image.symbols.len() {
            return Err(bad_image(format_args!("relocation {index} names symbol {}", relocation.symbol)));
        }
    }
    Ok(())
}

fn validate_section(index: usize, section: &Section) -> Result<(), LoadError> {
    let name = &section.name;
    limit("bytes of a section's name", name.len(), SYMBOL_NAME_BYTES_MAX)?;
    if !section.alignment.is_power_of_two() || u64::from(section.alignment) > PAGE_BYTES {
        return Err(bad_image(format_args!("section {index} `{name}` has alignment {}", section.alignment)));
    }
    let expected = if section.kind == SectionKind::Zeroed { 0 } else { section.size as usize };
    if section.bytes.len() != expected {
        return Err(bad_image(format_args!(
            "section {index} `{name}` has {} bytes of contents for a size of {}",
            section.bytes.len(),
            section.size
        )));
    }
    let calls = matches!(section.kind, SectionKind::Constructors | SectionKind::Destructors);
    if calls && !section.bytes.len().is_multiple_of(POINTER_BYTES) {
        return Err(bad_image(format_args!(
            "section {index} `{name}` of {} bytes is no list of pointers",
            section.size
        )));
    }
    Ok(())
}

fn limit(what: &str, count: usize, limit: usize) -> Result<(), LoadError> {
    if count > limit {
        return Err(bad_image(format_args!("{count} {what}, the limit is {limit}")));
    }
    Ok(())
}
