//! What a certificate says.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::bounds::Bounds;
use super::digest::Digest;
use super::error::BadClaims;
use super::hook::{Hook, HookKind, is_name};
use super::limits::{
    CERTIFICATE_BYTES_MAX, ENGINE_TEXT_BYTES_MAX, ENGINES_MAX, HOOK_NAME_BYTES_MAX, HOOKS_MAX,
    TENANT_BYTES_MAX,
};

/// What the signer vouches for. Its postcard bytes are the body of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Digest of the object's bytes.
    pub object: Digest,
    /// Digest of its maps' schemas.
    pub map_schema: Digest,
    /// Where its programs may be attached: at least one, ascending, none twice.
    pub hooks: Vec<Hook>,
    /// What it may use.
    pub bounds: Bounds,
    /// On whose behalf.
    pub tenant: String,
    /// Version for this tenant and these hooks: a guest does not go back below the highest that it admitted.
    pub generation: u64,
    /// First second in which it is valid.
    pub not_before: UnixSeconds,
    /// Last second in which it is valid.
    pub not_after: UnixSeconds,
    /// What accepted the object: at least one, ascending by name, none twice.
    pub engines: Vec<EngineVersion>,
}

/// A verification engine that accepted the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EngineVersion {
    /// `uio` or `prevail`.
    pub name: String,
    /// Its version: `0.2.6`.
    pub version: String,
}

impl Claims {
    /// Body bytes.
    ///
    /// # Errors
    ///
    /// The rule that the claims break; what this refuses, [`Self::decode`] would.
    pub fn encode(&self) -> Result<Vec<u8>, BadClaims> {
        self.validate()?;
        let bytes = postcard::to_allocvec(self).map_err(|_| BadClaims::Malformed)?;
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(BadClaims::TooLong { bytes: bytes.len() as u64 });
        }
        Ok(bytes)
    }

    /// Reads body bytes that a signature covers. Accepts only what [`Self::encode`] gives, byte for byte.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadClaims> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(BadClaims::TooLong { bytes: bytes.len() as u64 });
        }
        let claims: Self = postcard::from_bytes(bytes).map_err(|_| BadClaims::Malformed)?;
        // postcard also reads numbers with padding and ignores bytes behind the end.
        if claims.encode()? != bytes {
            return Err(BadClaims::NotCanonical);
        }
        Ok(claims)
    }

    /// Whether a program of `kind` may be attached to the hook `name`.
    #[must_use]
    pub fn permits(&self, kind: HookKind, name: &str) -> bool {
        self.hooks.iter().any(|hook| hook.kind == kind && hook.name == name)
    }

    fn validate(&self) -> Result<(), BadClaims> {
        if !is_name(&self.tenant, TENANT_BYTES_MAX) {
            return Err(BadClaims::Tenant(self.tenant.clone()));
        }
        if !(1..=HOOKS_MAX).contains(&self.hooks.len()) {
            return Err(BadClaims::HookCount(self.hooks.len() as u64));
        }
        if let Some(hook) = self.hooks.iter().find(|hook| !is_name(&hook.name, HOOK_NAME_BYTES_MAX)) {
            return Err(BadClaims::HookName(hook.name.clone()));
        }
        if !self.hooks.is_sorted_by(|before, after| before < after) {
            return Err(BadClaims::HookOrder);
        }
        if !(1..=ENGINES_MAX).contains(&self.engines.len()) {
            return Err(BadClaims::EngineCount(self.engines.len() as u64));
        }
        let texts = self.engines.iter().flat_map(|engine| [&engine.name, &engine.version]);
        if let Some(text) = texts.into_iter().find(|text| !is_name(text, ENGINE_TEXT_BYTES_MAX)) {
            return Err(BadClaims::EngineText(text.clone()));
        }
        if !self.engines.is_sorted_by(|before, after| before.name < after.name) {
            return Err(BadClaims::EngineOrder);
        }
        if self.not_before > self.not_after {
            return Err(BadClaims::Validity { not_before: self.not_before, not_after: self.not_after });
        }
        Ok(())
    }
}
