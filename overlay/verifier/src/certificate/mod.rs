//! Who may load what, at which hook, until when: certificates, packages and the guest's policy for them.
//!
//! Safety does not come from here: the guest checks every program against its proof, whoever signed it. So a
//! certificate does not cover the proof, and a stolen key lets nobody run an unsafe program.
//!
//! [`admit`] is the guest's one entry. It reads a package ([`Package`]) front to back in an order in which nothing
//! is interpreted before it is known to be the signer's: signature, binding to the object's bytes, tenant and hooks,
//! generation, validity, and only then the object and its bounds. `docs/certificate.md` has the byte layouts
//! and test vectors.

mod admission;
mod bounds;
mod claims;
mod digest;
mod error;
mod generations;
mod hook;
pub mod limits;
mod package;
mod policy;
mod signed;

pub use admission::{Admitted, Rollback, Signed, Unproven, UnprovenReason, admit};
pub use bounds::{Bound, Bounds, instructions, map_bytes};
pub use claims::{Claims, EngineVersion};
pub use digest::{Digest, KeyId, map_schema_digest, object_digest};
pub use error::{AdmissionError, BadCertificate, BadClaims, BadPackage, PolicyError, PolicyProblem, TooMany};
pub use generations::{GenerationStore, GenerationsFull};
pub use hook::{BadHook, Hook, HookKind};
pub use package::{Package, encode_package};
pub use policy::{Allowance, HookPattern, POLICY_PATH, Policy, ProviderKey, WithoutClock};
pub use signed::{Certificate, sign};

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
pub type UnixSeconds = u64;
