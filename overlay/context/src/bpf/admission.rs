//! The guest's policy for loads, and which generations it has seen.

use alloc::format;
use alloc::string::ToString;

use uio_protocol::error::RpcError;
use uio_protocol::inspect::LogLevel;
use uio_protocol::programs::{ProgramError, SignedInfo};
use uio_verifier::certificate::{
    AdmissionError, Admitted, GenerationStore, GenerationsFull, POLICY_PATH, Policy, Rollback, admit,
};

use crate::platform::Platform;

/// Policy and generations. The policy is the boot archive's: nothing that a shell writes changes it.
pub(crate) struct Admission {
    pub(crate) policy: Policy,
    generations: GenerationStore,
}

impl Admission {
    /// Reads the image's policy. Without a file everything is admitted; with one that cannot be read, nothing.
    pub(crate) fn read(platform: &dyn Platform) -> Self {
        let policy = match platform.boot_file(POLICY_PATH) {
            Ok(None) => Policy::open(),
            Ok(Some(bytes)) => {
                Policy::parse(&bytes).unwrap_or_else(|error| closed(platform, &error.to_string()))
            }
            Err(error) => closed(platform, &format!("{error:?}")),
        };
        let generations = GenerationStore::new(&policy);
        Self { policy, generations }
    }

    /// Takes a package apart, if the policy admits it.
    pub(crate) fn admit<'bytes>(
        &self,
        package: &'bytes [u8],
        rollback: bool,
        now_s: Option<u64>,
    ) -> Result<Admitted<'bytes>, RpcError> {
        let rollback = if rollback { Rollback::Allow } else { Rollback::Refuse };
        admit(package, &self.policy, &self.generations, now_s, rollback).map_err(|error| refused(&error))
    }

    /// Takes note of a load that succeeded: earlier generations are refused from now on.
    pub(crate) fn record(&mut self, admitted: &Admitted<'_>) -> Result<(), RpcError> {
        let Some(signed) = &admitted.signed else { return Ok(()) };
        self.generations.record(&signed.claims).map_err(|_: GenerationsFull| {
            let reason = "no room to remember its generation".to_string();
            RpcError::Program(ProgramError::NotAdmitted { reason, rollback: false })
        })
    }
}

/// What a certificate said, for people.
pub(crate) fn signed_info(admitted: &Admitted<'_>) -> Option<SignedInfo> {
    let signed = admitted.signed.as_ref()?;
    Some(SignedInfo {
        tenant: signed.claims.tenant.clone(),
        generation: signed.claims.generation,
        key_id: signed.key.0.to_vec(),
        expires_s: signed.claims.not_after,
    })
}

/// The error of a package that is refused.
pub(crate) fn refused(error: &AdmissionError) -> RpcError {
    RpcError::Program(match error {
        AdmissionError::Package(_) | AdmissionError::Malformed => {
            ProgramError::BadObject { reason: error.to_string() }
        }
        error => ProgramError::NotAdmitted {
            reason: error.to_string(),
            rollback: matches!(error, AdmissionError::Rollback { .. }),
        },
    })
}

fn closed(platform: &dyn Platform, reason: &str) -> Policy {
    let text = format!("{POLICY_PATH}: {reason}; no program is admitted");
    platform.log_line(LogLevel::Error, &text);
    Policy::closed()
}
