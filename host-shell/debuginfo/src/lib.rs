//! What the shell knows about a guest from the ELF file that it runs.
//!
//! The guest carries no names, types or line numbers. The host has the file, and this crate answers
//! from it: symbols and source positions ([`Image`]), typed values and their assignment, call frames
//! and instructions ([`Space`]). Guest memory is read through [`ReadMemory`] only, so that a running
//! guest, a dump and the file itself are the same to it.
#![forbid(unsafe_code)]

mod dwarf;
mod elf;
mod error;
mod image;
mod memory;
mod names;
mod relocate;
mod space;
mod symbols;
mod types;
mod unwind;

pub use dwarf::functions::{Parameter, Signature};
pub use dwarf::lines::{SourceFrame, SourceLocation};
pub use error::{DebugError, ImageError};
pub use image::Image;
pub use memory::{FileMemory, MemoryError, ReadMemory};
pub use names::{demangle, glob_matches, near};
pub use relocate::{InputSection, Placement};
pub use space::{NamedFrame, Space, Variable};
pub use symbols::{Symbol, SymbolKind, SymbolOffset};
pub use types::{Field, Kind, ModuleId, Type, TypeRef, Variant, Variants};
pub use unwind::{FRAMES_MAX, FoundBy, Frame, Stack, StackEnd};
