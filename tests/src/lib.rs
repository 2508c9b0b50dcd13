//! Whole-system tests: what they share.
//!
//! Each test boots guests of its own ([`guest::Guest`]) and drives the real `uio-shell` on them: one command line at a
//! time ([`process`]), through pipes ([`session::Session`]) or at the prompt ([`terminal::Terminal`]). Everything that is
//! needed is built here ([`artifacts`]); nothing outlives the test that started it.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod console;
pub mod counter;
pub mod golden;
pub mod guest;
pub mod process;
pub mod session;
pub mod slots;
pub mod terminal;
