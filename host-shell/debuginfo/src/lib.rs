//! What the shell knows about a guest from the ELF file that it runs.
//!
//! The guest carries no names, types or line numbers. The host has the file, and this crate answers
//! from it: symbols and source positions ([`Image`]), typed values and their assignment, call frames
//! and instructions ([`Space`]). Guest memory is read through [`ReadMemory`] only, so that a running
//! guest, a dump and the file itself are the same to it.
#![forbid(unsafe_code)]

mod call;
mod complete;
mod disasm;
mod dwarf;
mod elf;
mod error;
pub mod expr;
mod image;
mod memory;
mod names;
mod print;
mod relocate;
mod space;
mod symbols;
mod types;
mod unwind;
mod value;

pub use call::Call;
pub use complete::Completion;
pub use disasm::{CodeRange, DisasmLine};
pub use dwarf::functions::{Parameter, Signature};
pub use dwarf::lines::{SourceFrame, SourceLocation};
pub use error::{DebugError, ImageError};
pub use expr::error::{ExprError, Problem, Span};
pub use image::Image;
pub use memory::{FileMemory, MemoryError, ReadMemory};
pub use names::{demangle, glob_matches, near};
pub use print::{Assignment, Printed};
pub use relocate::{InputSection, Placement};
pub use space::{NamedFrame, Space, Variable};
pub use symbols::{Symbol, SymbolKind, SymbolOffset};
pub use types::{Field, Kind, ModuleId, Type, TypeRef, Variant, Variants};
pub use unwind::{FRAMES_MAX, FoundBy, Frame, Stack, StackEnd};
pub use value::datum::Datum;
pub use value::render::PrintLimits;
