//! eBPF programs in a Linux process: what the guest runs, measured beside rbpf, and watched instruction by instruction.
//!
//! - [`run`] binds a program to maps of its own and runs it: *contained* (any program at all: the interpreter with every
//!   access and every helper's arguments compared with what the run owns), or as the guest does, interpreted or compiled,
//!   which takes a program that passed `uio_verifier::check`.
//! - [`peer`] is rbpf behind the same inputs, maps and helpers.
//! - [`speed`] measures them in turns.
//! - [`oracle`] generates programs and compares every concrete state with what their proofs claim.
//!
//! [`conformance`] runs the public suite.
//!
//! The unsafe code of all this is here; its users have none.

pub mod conformance;
pub mod encode;
pub mod oracle;
pub mod peer;
pub mod run;
pub mod speed;
