//! The shell of uio: starts guests, attaches to them, looks inside and loads code into them.
//!
//! The binary is a thin layer over this library, so that tests and benchmarks drive the same code:
//! [`keeper`] starts and owns guests, [`client`] talks to one, [`commands`] are what a person types
//! at the prompt ([`repl`]).
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod client;
pub mod commands;
pub mod demo;
pub mod host;
pub mod instance;
pub mod keeper;
pub mod machine;
pub mod render;
pub mod repl;
pub mod text;

/// The scripted guest of the integration tests.
#[cfg(test)]
#[path = "../tests/guest/mod.rs"]
#[expect(dead_code, reason = "the integration tests use all of it")]
mod scripted_guest;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks whatever a panicking thread may have left: every guarded value in this crate stays
/// consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
