//! What a person sees: units, tables, colours, errors, fault reports.

pub mod bpf;
pub mod error;
pub mod fault;
pub mod frames;
pub mod style;
pub mod table;
pub mod units;
