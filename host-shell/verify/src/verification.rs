//! Verifying an object: every engine judges every program.

use serde::{Deserialize, Serialize};
use uio_protocol::bpf::ObjectImage;
use uio_verifier::certificate::{
    EngineVersion, HookKind, instructions, map_bytes, map_schema_digest, object_digest,
};

use crate::engine::{EngineName, Engines, Options, judge};
use crate::report::{ProgramReport, Report};
use crate::subject::Subject;

/// What to verify with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Engines that have to accept.
    pub engines: Engines,
    /// What they may spend.
    pub options: Options,
}

/// A report, and what is to be loaded if all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// What was found.
    pub report: Report,
    /// The object to sign and load, with its proofs. Absent unless uio accepted every program.
    pub loadable: Option<Loadable>,
}

/// An object that uio accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loadable {
    /// Its bytes: postcard of an [`ObjectImage`] with native context accesses.
    #[serde(with = "crate::base64")]
    pub object: Vec<u8>,
    /// Its proofs, one a program.
    #[serde(with = "crate::base64::list")]
    pub proofs: Vec<Vec<u8>>,
    /// Most stack of any of its programs.
    pub stack_bytes: u32,
}

/// Lets the engines judge `subject`.
///
/// uio goes first: what it accepts is rewritten to native context accesses, and the others judge that, since it is
/// what will be loaded.
#[must_use]
pub fn verify(mut subject: Subject, request: &Request) -> Verification {
    let count = subject.object.programs.len();
    let mut proofs = Vec::new();
    let mut stack_bytes = 0;
    let mut programs = Vec::with_capacity(count);
    for program in 0..count {
        let mut judgements = Vec::new();
        if request.engines.contains(EngineName::Uio) {
            let (judgement, acceptance) = judge(EngineName::Uio, &subject, program, &request.options);
            judgements.push(judgement);
            if let Some(acceptance) = acceptance {
                if let Some(native) = acceptance.program {
                    subject.object.programs[program] = native;
                    subject.set_native(program);
                }
                proofs.extend(acceptance.proof);
                stack_bytes = acceptance.stack_bytes.map_or(stack_bytes, |bytes| bytes.max(stack_bytes));
            }
        }
        for engine in request.engines.names().iter().filter(|engine| **engine != EngineName::Uio) {
            judgements.push(judge(*engine, &subject, program, &request.options).0);
        }
        let accepting = judgements.iter().filter(|judgement| judgement.accepted).count();
        let image = &subject.object.programs[program];
        programs.push(ProgramReport {
            name: image.name.clone(),
            kind: HookKind::from(image.kind).name().to_owned(),
            target: image.target.clone(),
            instructions: image.slots.len() as u64,
            accepted: accepting == judgements.len(),
            disagreement: 0 < accepting && accepting < judgements.len(),
            judgements,
        });
    }
    let loadable = (proofs.len() == count && count > 0).then(|| Loadable {
        object: encode(&subject.object),
        proofs,
        stack_bytes,
    });
    let report = Report {
        name: subject.object.name.clone(),
        accepted: count > 0 && programs.iter().all(|program| program.accepted),
        digest: loadable.as_ref().map(|loadable| object_digest(&loadable.object).to_string()),
        map_schema: map_schema_digest(&subject.object.maps).to_string(),
        instructions: instructions(&subject.object),
        map_bytes: map_bytes(&subject.object),
        programs,
    };
    Verification { report, loadable }
}

impl Verification {
    /// The engines that accepted every program, as a certificate names them.
    #[must_use]
    pub fn engines(&self) -> Vec<EngineVersion> {
        let judgements = || self.report.programs.iter().flat_map(|program| &program.judgements);
        let mut engines: Vec<_> = judgements()
            .filter(|candidate| {
                judgements().filter(|other| other.engine == candidate.engine).all(|other| other.accepted)
            })
            .map(|judgement| EngineVersion {
                name: judgement.engine.name().to_owned(),
                version: judgement.version.clone(),
            })
            .collect();
        engines.sort_unstable();
        engines.dedup();
        engines
    }
}

fn encode(object: &ObjectImage) -> Vec<u8> {
    // Only a serializer that runs out of space fails, and this one allocates.
    postcard::to_allocvec(object).unwrap_or_default()
}
