//! Sets of numbers: known bits and intervals of both widths and signs.

mod bits;
#[cfg(test)]
pub(crate) mod concrete;
mod form;
mod scalar;
mod view;

pub use bits::Bits;
pub use scalar::Scalar;
pub(crate) use scalar::{arithmetic, refine};
