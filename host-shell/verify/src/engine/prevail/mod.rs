//! PREVAIL as an engine.
//!
//! It gets the typed image, not the ELF file: what is judged is what is signed and loaded, and its reader of objects
//! cannot disagree with ours.

mod context;
mod platform;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::prevail::crab::ebpf_domain::{DomainContext, VerificationError};
use ::prevail::crab::var_registry::VariableRegistry;
use ::prevail::fwd_analyzer;
use ::prevail::ir::program::Program;
use ::prevail::ir::unmarshal::unmarshal;
use ::prevail::spec::config::{EbpfRuntimeConfig, EbpfVerifierOptions, VerbosityOptions};
use ::prevail::spec::type_descriptors::{EbpfProgramType, ProgramInfo};
use ::prevail::spec::vm_isa::EbpfInst;
use uio_protocol::bpf::ProgramKind;

use self::context::descriptor;
use self::platform::Platform;
use super::{Acceptance, Engine, EngineName, Options};
use crate::report::Rejected;
use crate::subject::Subject;

/// Version of the crate `prevail` that is linked; the workspace's lock file has it, and a test compares.
const VERSION: &str = "0.2.6";

/// The engine PREVAIL.
#[derive(Clone, Copy, Debug)]
pub struct Prevail;

impl Engine for Prevail {
    fn name(&self) -> EngineName {
        EngineName::Prevail
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn judge(
        &self,
        subject: &Subject,
        program: usize,
        options: &Options,
    ) -> Result<Acceptance, Box<Rejected>> {
        // It is others' code, which states some of what it takes for granted by panicking.
        match catch_unwind(AssertUnwindSafe(|| analyse(subject, program, options))) {
            Ok(result) => result,
            Err(panic) => {
                let why = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no reason given");
                Err(Rejected::of(format!("the engine gave up: {why}")).into())
            }
        }
    }
}

fn analyse(subject: &Subject, program: usize, options: &Options) -> Result<Acceptance, Box<Rejected>> {
    let image = &subject.object.programs[program];
    let layout = subject.layout(program);
    let options = EbpfVerifierOptions {
        must_have_exit: true,
        mock_map_fds: true,
        runtime: EbpfRuntimeConfig {
            // Our runtime looks at indexes of arrays and divides by zero as RFC 9669 says.
            strict: false,
            allow_division_by_zero: true,
            setup_constraints: true,
            check_for_termination: !options.fuel,
            ..EbpfRuntimeConfig::default()
        },
        verbosity_opts: VerbosityOptions { simplify: true, ..VerbosityOptions::default() },
    };
    let platform = Platform::new(&subject.object.maps, image.kind);
    let mut info = ProgramInfo {
        map_descriptors: platform.maps().to_vec(),
        program_type: EbpfProgramType {
            name: image.target.clone(),
            ctx_descriptor: Some(descriptor(image.kind, layout)),
            // Otherwise it lets pointers escape, as Linux does for root.
            is_privileged: false,
            ..EbpfProgramType::default()
        },
        ..ProgramInfo::default()
    };
    let prologue = prologue(image.kind);
    let slots: Vec<EbpfInst> = prologue.iter().chain(&image.slots).copied().map(instruction).collect();
    let place = |label: i32| {
        usize::try_from(label)
            .ok()
            .and_then(|label| label.checked_sub(prologue.len()))
            .map(|slot| slot as u32)
    };

    let rejected = |reason, slot: Option<u32>| Rejected {
        source: slot.and_then(|slot| subject.source(program, slot)).map(Into::into),
        slot,
        ..Rejected::of(reason)
    };

    let mut notes = Vec::new();
    let sequence = unmarshal(&slots, &mut notes, &info, &platform, &options)
        .map_err(|error| Rejected::of(error.to_string()))?;
    let graph = Program::from_sequence(&sequence, &mut info, &platform, &options).map_err(|error| {
        let (message, label) = split_place(error.message);
        rejected(message, label.and_then(place))
    })?;
    let context = DomainContext {
        program_info: &info,
        program: &graph,
        runtime: &options.runtime,
        options: &options,
        platform: &platform,
    };
    let mut registry = VariableRegistry::new();
    let result = fwd_analyzer::analyze(&graph, &context, &mut registry);
    if !result.failed {
        return Ok(Acceptance::default());
    }
    let error = result
        .find_first_error()
        .unwrap_or_else(|| VerificationError::new("rejected without a reason".to_owned()));
    let slot = error.label.as_ref().and_then(|label| place(label.from));
    Err(rejected(error.message, slot).into())
}

/// Splits `MESSAGE (at LABEL)`.
fn split_place(message: String) -> (String, Option<i32>) {
    let split = message.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (at "));
    match split.and_then(|(text, label)| Some((text.to_owned(), label.parse().ok()?))) {
        Some((text, label)) => (text, Some(label)),
        None => (message, None),
    }
}

/// Instructions that are put in front so that registers hold what our calls put into them: PREVAIL knows only R1.
fn prologue(kind: ProgramKind) -> Vec<u64> {
    match kind {
        // r2 = memory_bytes
        ProgramKind::Raw { memory_bytes } => vec![u64::from(memory_bytes) << 32 | 0x02_b7],
        ProgramKind::Packet | ProgramKind::Tracing | ProgramKind::Timer => Vec::new(),
    }
}

/// A slot in PREVAIL's form.
fn instruction(slot: u64) -> EbpfInst {
    let [opcode, dst_src, o0, o1, i0, i1, i2, i3] = slot.to_le_bytes();
    EbpfInst {
        opcode,
        dst_src,
        offset: i16::from_le_bytes([o0, o1]),
        imm: i32::from_le_bytes([i0, i1, i2, i3]),
    }
}

#[cfg(test)]
mod tests;
