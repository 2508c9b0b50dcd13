//! Our own engine: finds the proof that the guest will check.

use uio_verifier::analysis::{self, Analysis, analyse};

use super::{Acceptance, Engine, EngineName, Options};
use crate::report::Rejected;
use crate::subject::Subject;

/// The engine of `uio-verifier`.
#[derive(Clone, Copy, Debug)]
pub struct Uio;

impl Engine for Uio {
    fn name(&self) -> EngineName {
        EngineName::Uio
    }

    fn version(&self) -> &'static str {
        // All crates of the workspace have one version.
        env!("CARGO_PKG_VERSION")
    }

    fn judge(
        &self,
        subject: &Subject,
        program: usize,
        options: &Options,
    ) -> Result<Acceptance, Box<Rejected>> {
        let analysis_options = analysis::Options {
            context: subject.layout(program),
            max_steps: options.max_steps,
            fuel: options.fuel,
            keep_states: options.keep_states,
            ..analysis::Options::default()
        };
        match analyse(&subject.object, program, &analysis_options) {
            Ok(Analysis { program, proof, checked, states, .. }) => Ok(Acceptance {
                program: Some(program),
                proof: Some(proof.encode()),
                stack_bytes: Some(checked.stack_bytes),
                fuel_jumps: checked.fuel,
                states,
            }),
            Err(rejection) => {
                let source = |slot| subject.source(program, slot);
                let name = &subject.object.programs[program].name;
                Err(Rejected {
                    slot: Some(rejection.slot),
                    source: source(rejection.slot).map(Into::into),
                    rendered: Some(rejection.render(name, &source)),
                    ..Rejected::of(rejection.reason.to_string())
                }
                .into())
            }
        }
    }
}
