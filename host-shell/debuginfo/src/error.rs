//! Why an image could not be read.

use std::path::PathBuf;

/// Why an ELF file is of no use as an image or as a loaded module.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not an ELF file, or a header in it is damaged.
    #[error("not a valid ELF file: {0}")]
    Elf(String),
    /// An ELF file for another kind of machine.
    #[error("not a little-endian x86-64 ELF file (class {class}, data {data}, machine {machine})")]
    Machine {
        /// `e_ident[EI_CLASS]`: 2 is 64-bit.
        class: u8,
        /// `e_ident[EI_DATA]`: 1 is little-endian.
        data: u8,
        /// `e_machine`: 62 is x86-64.
        machine: u16,
    },
    /// A section's bytes lie outside the file.
    #[error("section {name} ({size} bytes at offset {offset:#x}) lies outside the file of {file_size} bytes")]
    SectionOutside {
        /// Its name.
        name: String,
        /// Offset in the file.
        offset: u64,
        /// Size in bytes.
        size: u64,
        /// Size of the file in bytes.
        file_size: u64,
    },
    /// `Image::place` was given something other than a relocatable object.
    #[error("not a relocatable object (ELF type {0}); only a .o file can be placed")]
    NotRelocatable(u16),
    /// A library panicked on the file: a bug of that library, contained here.
    #[error("the ELF or DWARF reader failed on this file: {0}")]
    Internal(String),
}

/// Why debug information could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DebugError {
    /// The file has no DWARF at all.
    #[error("the image has no debug information (build it with `debug = 2`, or with -g)")]
    Missing,
    /// A debug section is compressed.
    #[error("debug section {0} is compressed; link with --compress-debug-sections=none")]
    Compressed(String),
    /// The file was changed in place after the symbols were read from it.
    #[error("the image file changed since it was opened; open it again")]
    Changed,
    /// The file could not be read any more.
    #[error("cannot read the image file: {0}")]
    Io(String),
    /// The DWARF is damaged or uses something unknown.
    #[error("damaged debug information: {0}")]
    Dwarf(String),
}

impl From<gimli::Error> for DebugError {
    fn from(error: gimli::Error) -> Self {
        Self::Dwarf(error.to_string())
    }
}

/// Runs `body`; a panic in it becomes an [`ImageError::Internal`].
///
/// The libraries that read ELF and DWARF are not meant to panic, but they read files that anybody
/// may have damaged, and the shell must outlive them.
pub(crate) fn contained<T>(body: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "panic".to_owned());
        Err(ImageError::Internal(text))
    })
}
