//! The guest's policy for loads, and which generations it has seen.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::error::{FileError, RpcError};
use uio_protocol::inspect::LogLevel;
use uio_protocol::programs::{ProgramError, SignedInfo};
use uio_verifier::certificate::limits::POLICY_BYTES_MAX;
use uio_verifier::certificate::{
    AdmissionError, Admitted, GenerationStore, GenerationsFull, POLICY_PATH, Policy, Rollback, admit,
};

use crate::platform::Platform;

/// Policy and generations. The policy is read once: later changes of its file change nothing.
pub(crate) struct Admission {
    pub(crate) policy: Policy,
    generations: GenerationStore,
}

impl Admission {
    /// Reads the image's policy. Without a file everything is admitted; with one that cannot be read, nothing.
    pub(crate) fn read(platform: &dyn Platform) -> Self {
        let policy = match read_file(platform) {
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
            RpcError::Program(ProgramError::NotAdmitted { reason })
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
        error => ProgramError::NotAdmitted { reason: error.to_string() },
    })
}

fn closed(platform: &dyn Platform, reason: &str) -> Policy {
    let text = format!("{POLICY_PATH}: {reason}; no program is admitted");
    platform.log_line(LogLevel::Error, &text);
    Policy::closed()
}

/// The policy file's bytes; `None` if there is no such file.
fn read_file(platform: &dyn Platform) -> Result<Option<Vec<u8>>, FileError> {
    // One more than there may be, so that a longer file is noticed.
    let mut bytes = vec![0; POLICY_BYTES_MAX + 1];
    let mut filled = 0;
    loop {
        match platform.read_file(POLICY_PATH, filled as u64, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(FileError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        }
        if filled == bytes.len() {
            break;
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}
