//! The Rust program of the native tests, as an extension.
#![no_std]

pub mod rust_body;
