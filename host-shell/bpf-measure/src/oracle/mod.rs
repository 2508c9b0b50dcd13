//! The soundness oracle.
//!
//! Programs are generated, or made from others by mutation, and analysed. Those that the verifier accepts run contained,
//! and at every instruction the run is compared with what the check held for true there; the result, the packet and the
//! maps are compared between all engines, rbpf among them where it is right. Then their proofs are made wrong: the check
//! refuses them, or the runs stay in bounds and true to what the wrong proof claims.

mod campaign;
mod generate;
mod inputs;
mod mutate;
mod snapshot;
mod source;
mod trial;
mod watch;

pub use campaign::{Bounds, campaign};
pub use generate::{maps, object};
pub use inputs::input;
pub use mutate::mutated;
pub use source::{Bytes, Seeded, Source};
pub use trial::{Counts, Effort, Finding, contain, replay, shrink, trial, trial_accepted};
