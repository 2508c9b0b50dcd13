//! A native extension in typed form: what the host makes from a relocatable ELF object and what the
//! guest's linker places.
//!
//! The host merges sections of the same kind, allocates COMMON symbols and drops what does not run
//! (debug information, notes, unwind tables). It resolves nothing: undefined symbols travel by name,
//! with a hint where the host found the name in the guest's symbol table.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;

/// A whole extension, serialized by postcard into an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionImage {
    /// Name of the extension: the file's stem.
    pub name: String,
    /// What to place, in the order in which to place it.
    pub sections: Vec<Section>,
    /// Defined and undefined symbols; relocations refer to them by index.
    pub symbols: Vec<Symbol>,
    /// What to patch once all sections have addresses.
    pub relocations: Vec<Relocation>,
}

/// How a section is mapped. No kind is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SectionKind {
    /// Code: read, execute.
    Text,
    /// Constants: read. Includes `.data.rel.ro*`, which only the linker writes.
    ReadOnly,
    /// Initialised data: read, write.
    Data,
    /// Zeroed data: read, write, no bytes in the image.
    Zeroed,
    /// Addresses of functions to call before the entry, in order. Mapped as [`Self::ReadOnly`].
    Constructors,
    /// Addresses of functions to call at unload, last first. Mapped as [`Self::ReadOnly`].
    Destructors,
}

/// One section to place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Name in the object, for messages.
    pub name: String,
    /// How it is mapped.
    pub kind: SectionKind,
    /// Alignment of its first byte: a power of two, at most a page.
    pub alignment: u32,
    /// Size in memory, in bytes.
    pub size: u32,
    /// Contents: `size` bytes, or none for [`SectionKind::Zeroed`].
    pub bytes: Vec<u8>,
}

/// A symbol of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// Linkage name. Empty for section symbols.
    pub name: String,
    /// Where it is, or that it is elsewhere.
    pub definition: Definition,
    /// Who sees it.
    pub binding: Binding,
    /// Whether it names code (ELF `STT_FUNC`).
    pub function: bool,
    /// Size in bytes, zero if the object does not say.
    pub size: u32,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Definition {
    /// In section `section` of this image, `offset` bytes from its start.
    Section {
        /// Index into [`ExtensionImage::sections`].
        section: u16,
        /// Offset in bytes; may equal the section's size (end symbols).
        offset: u32,
    },
    /// A constant.
    Absolute(u64),
    /// Somewhere else. The guest looks among its own exports, then among the exports of the loaded
    /// extensions, and last takes the hint.
    Undefined {
        /// Address of a symbol of this name in the guest's image, from the symbol table that the
        /// host read; valid only for the build-id that the load request names.
        hint: Option<GuestAddress>,
    },
}

/// Visibility of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// Only this image sees it.
    Local,
    /// Other extensions may link to it.
    Global,
    /// As global, but an undefined one resolves to zero if nobody defines it.
    Weak,
}

/// A place to patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// Section that is patched, index into [`ExtensionImage::sections`].
    pub section: u16,
    /// Offset of the patched field in that section, in bytes.
    pub offset: u32,
    /// What is computed and how wide the field is.
    pub kind: RelocationKind,
    /// Index into [`ExtensionImage::symbols`].
    pub symbol: u32,
    /// Constant term.
    pub addend: i64,
}

/// Relocations of the x86-64 System V ABI (version 1.0, table 4.9) that occur in relocatable objects without
/// thread-local storage. S symbol, A addend, P place, G offset in the GOT, GOT its address, L veneer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RelocationKind {
    /// `R_X86_64_64`: S + A, 64 bits.
    Abs64,
    /// `R_X86_64_32`: S + A, 32 bits, zero-extended.
    Abs32,
    /// `R_X86_64_32S`: S + A, 32 bits, sign-extended.
    Abs32Signed,
    /// `R_X86_64_16`: S + A, 16 bits.
    Abs16,
    /// `R_X86_64_8`: S + A, 8 bits.
    Abs8,
    /// `R_X86_64_PC64`: S + A − P.
    Pc64,
    /// `R_X86_64_PC32`: S + A − P, 32 bits.
    Pc32,
    /// `R_X86_64_PC16`: S + A − P, 16 bits.
    Pc16,
    /// `R_X86_64_PC8`: S + A − P, 8 bits.
    Pc8,
    /// `R_X86_64_PLT32`: L + A − P, 32 bits; a veneer where S is out of reach.
    Plt32,
    /// `R_X86_64_GOTPCREL`: G + GOT + A − P, 32 bits.
    GotPcRel,
    /// `R_X86_64_GOTPCRELX`: as [`Self::GotPcRel`], the instruction may be relaxed.
    GotPcRelX,
    /// `R_X86_64_REX_GOTPCRELX`: as [`Self::GotPcRelX`] with a REX prefix.
    RexGotPcRelX,
    /// `R_X86_64_GOTOFF64`: S + A − GOT.
    GotOff64,
    /// `R_X86_64_GOTPC32`: GOT + A − P, 32 bits.
    GotPc32,
    /// `R_X86_64_GOTPC64`: GOT + A − P.
    GotPc64,
    /// `R_X86_64_GOT32`: G + A, 32 bits.
    Got32,
    /// `R_X86_64_GOT64`: G + A.
    Got64,
    /// `R_X86_64_GOTPCREL64`: G + GOT + A − P.
    GotPcRel64,
    /// `R_X86_64_PLTOFF64`: L + A − GOT.
    PltOff64,
    /// `R_X86_64_SIZE32`: size of the symbol + A, 32 bits.
    Size32,
    /// `R_X86_64_SIZE64`: size of the symbol + A.
    Size64,
}

impl RelocationKind {
    /// Width of the patched field in bytes.
    #[must_use]
    pub const fn width_bytes(self) -> u8 {
        match self {
            Self::Abs8 | Self::Pc8 => 1,
            Self::Abs16 | Self::Pc16 => 2,
            Self::Abs32
            | Self::Abs32Signed
            | Self::Pc32
            | Self::Plt32
            | Self::GotPcRel
            | Self::GotPcRelX
            | Self::RexGotPcRelX
            | Self::GotPc32
            | Self::Got32
            | Self::Size32 => 4,
            Self::Abs64
            | Self::Pc64
            | Self::GotOff64
            | Self::GotPc64
            | Self::Got64
            | Self::GotPcRel64
            | Self::PltOff64
            | Self::Size64 => 8,
        }
    }
}
