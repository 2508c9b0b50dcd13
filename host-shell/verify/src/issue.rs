//! Issuing certificates for what the engines accepted.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use uio_verifier::certificate::{
    BadClaims, BadPackage, Bounds, Claims, Hook, HookKind, KeyId, UnixSeconds, encode_package,
    map_schema_digest, object_digest, sign,
};

use crate::verification::Verification;

/// How much earlier than now a certificate starts, in seconds: guests' clocks may be behind the signer's.
const CLOCK_SKEW_S: u64 = 60;

/// What the signer decides; the rest follows from the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where it may be attached.
    pub hooks: Vec<Hook>,
    /// On whose behalf.
    pub tenant: String,
    /// How long from now on.
    pub valid: Duration,
    /// Generation; the time of signing if `None`, so that later ones are higher.
    pub generation: Option<u64>,
    /// Instructions that one run may execute.
    pub fuel: Option<u64>,
    /// Time that one run may take.
    pub run_time: Option<Duration>,
}

/// A certificate, and what it goes with.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What was signed.
    pub claims: Claims,
    /// By whom.
    pub key: KeyId,
    /// The certificate's bytes.
    pub certificate: Vec<u8>,
    /// Certificate, object and proofs: what a guest admits.
    pub package: Vec<u8>,
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// An engine rejected a program.
    #[error("not every engine accepts every program")]
    Rejected,
    /// uio was not among the engines, so there are no proofs.
    #[error("only what the engine uio accepted can be signed: it finds the proof that the guest checks")]
    Unproven,
    /// A program of a kind for which no hook is named.
    #[error("program `{program}` is for {kind} hooks, and none is named")]
    HookKind {
        /// The program.
        program: String,
        /// Its kind.
        kind: String,
    },
    /// The terms cannot be said in a certificate.
    #[error("{0}")]
    Claims(#[from] BadClaims),
    /// The package would be too large.
    #[error("{0}")]
    Package(#[from] BadPackage),
    /// The object's bytes are none; they come from outside.
    #[error("the verified object cannot be read back")]
    Object,
}

/// Signs a certificate for what `verification` accepted.
///
/// # Errors
///
/// Why it cannot be signed.
pub fn issue(
    verification: &Verification,
    terms: &Terms,
    key: &SigningKey,
    now: UnixSeconds,
) -> Result<Issued, IssueError> {
    if !verification.report.accepted {
        return Err(IssueError::Rejected);
    }
    let loadable = verification.loadable.as_ref().ok_or(IssueError::Unproven)?;
    let object: uio_protocol::bpf::ObjectImage =
        postcard::from_bytes(&loadable.object).map_err(|_| IssueError::Object)?;
    let mut hooks = terms.hooks.clone();
    hooks.sort_unstable();
    hooks.dedup();
    for program in &object.programs {
        let kind = HookKind::from(program.kind);
        if !hooks.iter().any(|hook| hook.kind == kind) {
            return Err(IssueError::HookKind { program: program.name.clone(), kind: kind.to_string() });
        }
    }
    let claims = Claims {
        object: object_digest(&loadable.object),
        map_schema: map_schema_digest(&object.maps),
        hooks,
        bounds: Bounds {
            stack_bytes: loadable.stack_bytes,
            instructions: u32::try_from(verification.report.instructions).unwrap_or(u32::MAX),
            map_bytes: verification.report.map_bytes,
            fuel: terms.fuel,
            run_ns: terms.run_time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        },
        tenant: terms.tenant.clone(),
        generation: terms.generation.unwrap_or(now),
        not_before: now.saturating_sub(CLOCK_SKEW_S),
        not_after: now.saturating_add(terms.valid.as_secs()),
        engines: verification.engines(),
    };
    let certificate = sign(&claims, key)?;
    let package = encode_package(Some(&certificate), &loadable.object, &loadable.proofs)?;
    Ok(Issued { claims, key: crate::key::id(key), certificate, package })
}

/// What was signed, as JSON.
#[must_use]
pub fn describe(claims: &Claims, key: KeyId) -> Value {
    json!({
        "key": key.to_string(),
        "object": claims.object.to_string(),
        "map_schema": claims.map_schema.to_string(),
        "hooks": claims.hooks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tenant": claims.tenant,
        "generation": claims.generation,
        "not_before": claims.not_before,
        "not_after": claims.not_after,
        "bounds": {
            "stack_bytes": claims.bounds.stack_bytes,
            "instructions": claims.bounds.instructions,
            "map_bytes": claims.bounds.map_bytes,
            "fuel": claims.bounds.fuel,
            "run_ns": claims.bounds.run_ns,
        },
        "engines": claims.engines.iter().map(|engine| json!({"name": engine.name, "version": engine.version}))
            .collect::<Vec<_>>(),
    })
}
