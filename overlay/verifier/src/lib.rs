//! Proof-carrying eBPF: the host's analysis finds out why a program is safe and writes it down; the guest's check
//! walks program and proof once and believes nothing else.
//!
//! [`check`] is what the guest runs. [`analysis`] (cargo feature `analysis`) is the host's half: it finds the
//! [`Proof`] or says why there is none. Both use the same transfer functions and the same inclusion test, which are
//! the whole trusted base.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "analysis")]
pub mod analysis;
pub mod certificate;
mod check;
#[cfg(feature = "oracle")]
mod claims;
#[cfg(feature = "oracle")]
mod distort;
pub mod domain;
mod facts;
mod program;
mod proof;
mod reason;
mod stack;
mod state;
mod transfer;
mod value;

#[cfg(all(test, feature = "analysis"))]
mod cost_tests;
#[cfg(all(test, feature = "analysis"))]
mod oracle_tests;

pub use check::{CheckError, CheckReason, Checked, Statistics, check};
#[cfg(feature = "oracle")]
pub use claims::{Claims, Concrete};
#[cfg(feature = "oracle")]
pub use distort::distort;
pub use program::MAX_SLOTS;
pub use proof::{Proof, ProofError};
pub use reason::Reason;
pub use state::MAX_PACKET_BYTES;
