//! Verification of eBPF objects outside of the guest: engines that judge them, keys that sign them, and a service that
//! does both for others.
//!
//! [`verify`] lets independent engines judge an object; [`issue`] signs a certificate for what they accepted;
//! [`service`] offers both over HTTP, each job in a process of its own ([`worker`]) with limits on time and memory.
//! The guest trusts none of this: it checks the proof that comes along, and the signature says only who vouches.
#![forbid(unsafe_code)]

mod base64;
pub mod client;
pub mod duration;
pub mod engine;
mod http;
mod issue;
pub mod key;
mod object;
mod report;
pub mod service;
mod subject;
mod verification;
pub mod worker;

pub use engine::{Engine, EngineName, Engines, Options};
pub use issue::{IssueError, Issued, Terms, describe, issue};
pub use object::{Unreadable, read_object};
pub use report::{Judgement, Place, ProgramReport, Rejected, Report};
pub use subject::Subject;
pub use verification::{Loadable, Request, Verification, verify};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks whatever a panicking thread may have left: every guarded value in this crate stays
/// consistent between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
