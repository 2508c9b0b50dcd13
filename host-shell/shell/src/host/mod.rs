//! The host: what it has, what it lacks, how to get it.

pub mod doctor;
pub use uio_prerequisites as packages;
