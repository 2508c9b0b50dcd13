//! What a person sees: units, tables, colours, errors, fault reports.

pub mod error;
pub mod style;
pub mod table;
pub mod units;
