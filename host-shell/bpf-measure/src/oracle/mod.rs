//! The soundness oracle.

mod encode;
mod generate;
mod source;

pub use generate::object;
pub use source::{Bytes, Seeded, Source};
