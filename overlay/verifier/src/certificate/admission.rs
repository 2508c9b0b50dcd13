//! The guest's decision whether to take a package.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use uio_protocol::bpf::ObjectImage;

use super::UnixSeconds;
use super::bounds::{Bound, instructions, map_bytes};
use super::claims::Claims;
use super::digest::{Digest, KeyId, map_schema_digest, object_digest};
use super::error::{AdmissionError, TooMany};
use super::generations::GenerationStore;
use super::hook::HookKind;
use super::limits::{MAPS_MAX, PROGRAMS_MAX};
use super::package::Package;
use super::policy::{Policy, WithoutClock};
use super::signed::Certificate;
use crate::check::{CheckError, CheckReason, Checked, check};
use crate::proof::Proof;

/// Whether a generation below the floor is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// No.
    Refuse,
    /// Yes: an operator asked for it, for this one load.
    Allow,
}

/// What a package held, after everything but the proofs was found right.
///
/// The programs are not safe to run yet: [`Admitted::check`] finds out.
#[derive(Clone, Debug)]
pub struct Admitted<'bytes> {
    /// The object.
    pub object: ObjectImage,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Bytes of the proofs, one a program.
    pub proofs: Vec<&'bytes [u8]>,
    /// What was signed and by whom; `None` for a package without certificate.
    pub signed: Option<Signed>,
}

/// Claims with a signature that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What the signer says.
    pub claims: Claims,
    /// Whose key it was.
    pub key: KeyId,
}

impl Admitted<'_> {
    /// Whether a program of `kind` may be attached to the hook `name`. Without a certificate, anywhere: the policy
    /// does not ask for one then.
    #[must_use]
    pub fn permits(&self, kind: HookKind, name: &str) -> bool {
        self.signed.as_ref().is_none_or(|signed| signed.claims.permits(kind, name))
    }

    /// Checks every program with its proof, and that its stack is granted. What is known of the programs
    /// afterwards, in their order; they are safe to run.
    ///
    /// # Errors
    ///
    /// The first program that is not.
    pub fn check(&self) -> Result<Vec<Checked>, Unproven> {
        let programs = self.proofs.iter().enumerate();
        programs
            .map(|(program, proof)| {
                let unproven = |reason| Unproven { program: program as u32, reason };
                let proof = Proof::decode(proof).map_err(|error| {
                    unproven(UnprovenReason::Check(CheckError { slot: 0, reason: CheckReason::Proof(error) }))
                })?;
                let checked = check(&self.object, program, &proof)
                    .map_err(|error| unproven(UnprovenReason::Check(error)))?;
                self.grant_stack(u64::from(checked.stack_bytes))
                    .map_err(|error| unproven(UnprovenReason::Stack(error)))?;
                Ok(checked)
            })
            .collect()
    }

    /// Whether a stack of this many bytes is granted: the check of a proof finds out how deep it gets.
    ///
    /// # Errors
    ///
    /// [`AdmissionError::Bounds`].
    pub fn grant_stack(&self, bytes: u64) -> Result<(), AdmissionError> {
        match &self.signed {
            Some(signed) => within(Bound::StackBytes, u64::from(signed.claims.bounds.stack_bytes), bytes),
            None => Ok(()),
        }
    }
}

/// A program that was not proven safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// Its index in the object.
    pub program: u32,
    /// Why.
    pub reason: UnprovenReason,
}

/// Why a program was not proven safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnprovenReason {
    /// The proof does not show it.
    Check(CheckError),
    /// It is safe, but needs more stack than the certificate grants: [`AdmissionError::Bounds`].
    Stack(AdmissionError),
}

impl fmt::Display for Unproven {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            UnprovenReason::Check(error) => write!(out, "program {}: {error}", self.program),
            UnprovenReason::Stack(error) => write!(out, "program {}: {error}", self.program),
        }
    }
}

impl core::error::Error for Unproven {}

/// Decides whether `package` is taken: signature, binding to the object, engines, tenant and hooks, generation,
/// validity, and only then the object itself and its bounds. The first thing that is wrong is the answer.
///
/// `now` is `None` if the guest has no wall clock. The caller goes on with [`Admitted::check`] and, when
/// all is loaded, calls [`GenerationStore::record`] with the claims.
///
/// # Errors
///
/// Why it is not taken.
pub fn admit<'bytes>(
    package: &'bytes [u8],
    policy: &Policy,
    generations: &GenerationStore,
    now: Option<UnixSeconds>,
    rollback: Rollback,
) -> Result<Admitted<'bytes>, AdmissionError> {
    let package = Package::parse(package).map_err(AdmissionError::Package)?;
    let signed = match package.certificate() {
        Some(certificate) => Some(authenticate(certificate, policy)?),
        None if policy.require_signature => return Err(AdmissionError::Unsigned),
        None => None,
    };
    let digest = object_digest(package.object());
    if let Some(Signed { claims, .. }) = &signed {
        if claims.object != digest {
            return Err(AdmissionError::Object { signed: claims.object, actual: digest });
        }
        authorize(claims, policy)?;
        if rollback == Rollback::Refuse {
            refuse_rollback(claims, generations)?;
        }
        check_validity(claims, policy, now)?;
    }
    let object = decode(package.object())?;
    let proofs: Vec<&[u8]> = package.proofs().collect();
    if proofs.len() != object.programs.len() {
        return Err(AdmissionError::Proofs {
            programs: object.programs.len() as u32,
            proofs: proofs.len() as u32,
        });
    }
    if let Some(Signed { claims, .. }) = &signed {
        check_object(claims, &object)?;
    }
    Ok(Admitted { object, digest, proofs, signed })
}

fn authenticate(certificate: &[u8], policy: &Policy) -> Result<Signed, AdmissionError> {
    let certificate = Certificate::parse(certificate).map_err(AdmissionError::Certificate)?;
    let id = certificate.key();
    let Some(provider) = policy.key(id) else {
        return Err(AdmissionError::UnknownKey {
            key: id,
            known: policy.keys().iter().map(|key| key.id).collect(),
        });
    };
    match certificate.verify(&provider.key) {
        Ok(claims) => Ok(Signed { claims, key: id }),
        Err(None) => Err(AdmissionError::Signature { key: id }),
        Err(Some(problem)) => Err(AdmissionError::Claims(problem)),
    }
}

fn authorize(claims: &Claims, policy: &Policy) -> Result<(), AdmissionError> {
    let accepted = |name: &&String| claims.engines.iter().any(|engine| engine.name == **name);
    if let Some(name) = policy.engines().iter().find(|name| !accepted(name)) {
        return Err(AdmissionError::Engine { name: name.clone() });
    }
    match claims.hooks.iter().find(|hook| !policy.allows(&claims.tenant, hook)) {
        Some(hook) => Err(AdmissionError::Tenant { tenant: claims.tenant.clone(), hook: hook.clone() }),
        None => Ok(()),
    }
}

fn refuse_rollback(claims: &Claims, generations: &GenerationStore) -> Result<(), AdmissionError> {
    for hook in &claims.hooks {
        let floor = generations.floor(&claims.tenant, hook);
        if claims.generation < floor {
            return Err(AdmissionError::Rollback {
                tenant: claims.tenant.clone(),
                hook: hook.clone(),
                generation: claims.generation,
                floor,
            });
        }
    }
    Ok(())
}

fn check_validity(claims: &Claims, policy: &Policy, now: Option<UnixSeconds>) -> Result<(), AdmissionError> {
    let Claims { not_before, not_after, .. } = *claims;
    match (now, policy.without_clock) {
        (Some(now), _) if now < not_before => Err(AdmissionError::NotYetValid { not_before, now }),
        (Some(now), _) if now > not_after => Err(AdmissionError::Expired { not_after, now }),
        (None, WithoutClock::Refuse) => Err(AdmissionError::NoClock),
        (Some(_), _) | (None, WithoutClock::Accept) => Ok(()),
    }
}

fn decode(bytes: &[u8]) -> Result<ObjectImage, AdmissionError> {
    let (object, rest) =
        postcard::take_from_bytes::<ObjectImage>(bytes).map_err(|_| AdmissionError::Malformed)?;
    if !rest.is_empty() {
        return Err(AdmissionError::Malformed);
    }
    let counts = [
        (TooMany::Programs, object.programs.len(), PROGRAMS_MAX),
        (TooMany::Maps, object.maps.len(), MAPS_MAX),
    ];
    for (what, count, limit) in counts {
        if count > limit {
            return Err(AdmissionError::TooMany { what, count: count as u64, limit: limit as u64 });
        }
    }
    Ok(object)
}

fn check_object(claims: &Claims, object: &ObjectImage) -> Result<(), AdmissionError> {
    for program in &object.programs {
        let kind = HookKind::from(program.kind);
        if !claims.hooks.iter().any(|hook| hook.kind == kind) {
            return Err(AdmissionError::HookKind { program: program.name.clone(), kind });
        }
    }
    let actual = map_schema_digest(&object.maps);
    if claims.map_schema != actual {
        return Err(AdmissionError::MapSchema { signed: claims.map_schema, actual });
    }
    within(Bound::Instructions, u64::from(claims.bounds.instructions), instructions(object))?;
    within(Bound::MapBytes, claims.bounds.map_bytes, map_bytes(object))
}

fn within(bound: Bound, limit: u64, needed: u64) -> Result<(), AdmissionError> {
    if needed > limit { Err(AdmissionError::Bounds { bound, limit, needed }) } else { Ok(()) }
}
