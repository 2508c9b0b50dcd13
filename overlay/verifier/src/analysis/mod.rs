//! The host's half: finds a proof, or the reason why there is none.
#![expect(clippy::result_large_err, reason = "a rejection ends the analysis: its size costs nothing")]

mod describe;
mod fixpoint;
mod flow;
mod join;
mod layout;
mod rank;
mod rejection;
mod states;
mod write;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};

pub use describe::Statement;
pub use rejection::{Rejection, RejectionReason, SourceLine, Step};

use fixpoint::{Fixpoint, Merge};
use flow::Flow;
use rank::Ranker;

use crate::check::{CheckError, Checked, Statistics, check};
use crate::program::Program;
use crate::proof::Proof;

/// Which layout a program's context accesses were compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContextLayout {
    /// That of `uio_bpf::context`.
    #[default]
    Native,
    /// Linux's `struct xdp_md`: 32-bit fields `data` at 0, `data_end` 4, `data_meta` 8, `ingress_ifindex` 12,
    /// `rx_queue_index` 16. Only for packet programs.
    LinuxXdp,
}

/// Limits and choices of an analysis.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which layout the program was compiled for.
    pub context: ContextLayout,
    /// States kept at one point before they are merged; at most 16.
    pub max_states: usize,
    /// Instructions visited before the analysis gives up.
    pub max_steps: u64,
    /// Whether loops without a proven bound are accepted and ended by fuel.
    pub fuel: bool,
    /// Whether to keep a description of the state before every instruction, for `-v`.
    pub keep_states: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            context: ContextLayout::Native,
            max_states: 16,
            max_steps: 50_000_000,
            fuel: true,
            keep_states: false,
        }
    }
}

/// A program that was found safe.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The program to send: with native context accesses, slot for slot the one given.
    pub program: ProgramImage,
    /// The proof for [`Self::program`].
    pub proof: Proof,
    /// What the check says of both.
    pub checked: Checked,
    /// What the analysis did.
    pub statistics: Statistics,
    /// Context accesses by slot, ascending, with the native offset.
    pub context_accesses: Vec<(u32, u32)>,
    /// With [`Options::keep_states`], the states before instructions, ascending by slot.
    pub states: Vec<(u32, String)>,
}

/// Analyses program number `program` of `object`.
///
/// # Errors
///
/// A [`Rejection`] that says where, why, and on which path the program is unsafe.
pub fn analyse(object: &ObjectImage, program: usize, options: &Options) -> Result<Analysis, Rejection> {
    let refused = |error: CheckError| Rejection::new(error.slot, RejectionReason::Check(error.reason));
    let mut prepared = Program::new(object, program).map_err(refused)?;
    let foreign = options.context == ContextLayout::LinuxXdp && prepared.kind == ProgramKind::Packet;
    if foreign {
        prepared.fields = &layout::XDP;
    }
    let flow = Flow::new(&prepared);
    let mut statistics = Statistics::default();
    let mut rejection = None;
    for merge in [Merge::Early, Merge::Late] {
        let mut fixpoint = Fixpoint::new(&prepared, &flow, options, merge);
        let found = fixpoint.run();
        statistics.instructions += fixpoint.steps;
        match found {
            Ok(proof) => {
                let accesses = core::mem::take(&mut fixpoint.accesses);
                let (proof, steps) = Ranker::new(&prepared, &flow, proof.points, options.max_steps).run();
                statistics.instructions += steps;
                statistics.states = proof.states() as u64;
                return finish(object, program, options, &prepared, proof, &accesses, statistics);
            }
            // The more patient way knows more: what it says is nearer to the truth.
            Err(found) => match (&found.reason, &rejection) {
                (RejectionReason::Steps { .. }, Some(_)) => {}
                _ => rejection = Some(found),
            },
        }
    }
    Err(rejection.unwrap_or(Rejection::new(0, RejectionReason::Unbounded)))
}

fn finish(
    object: &ObjectImage,
    program: usize,
    options: &Options,
    prepared: &Program<'_>,
    proof: Proof,
    accesses: &BTreeMap<u32, Option<(u32, i64)>>,
    statistics: Statistics,
) -> Result<Analysis, Rejection> {
    let refused = |error: CheckError| Rejection::new(error.slot, RejectionReason::Check(error.reason));
    if let Some(head) = proof.fuel.first()
        && !options.fuel
    {
        let mut rejection = Rejection::new(*head, RejectionReason::Unbounded);
        rejection.suggest();
        return Err(rejection);
    }
    let image = object.programs.get(program).ok_or(Rejection::new(0, RejectionReason::Unbounded))?;
    let mut image = image.clone();
    let reads =
        accesses.iter().filter_map(|(slot, access)| access.map(|(offset, base)| (*slot, offset, base)));
    let foreign = options.context == ContextLayout::LinuxXdp && prepared.kind == ProgramKind::Packet;
    let (context_accesses, checked) = if foreign {
        let reads: Vec<_> = reads.collect();
        let native = layout::rewrite(&mut image.slots, &reads)
            .map_err(|slot| Rejection::new(slot, RejectionReason::MixedContext))?;
        let object = ObjectImage {
            name: String::new(),
            maps: object.maps.clone(),
            programs: alloc::vec![image.clone()],
        };
        (native, check(&object, 0, &proof).map_err(refused)?)
    } else {
        let native = reads.map(|(slot, offset, _)| (slot, offset)).collect();
        (native, check(object, program, &proof).map_err(refused)?)
    };
    let states = if options.keep_states { states::describe(prepared, &proof) } else { Vec::new() };
    Ok(Analysis { program: image, proof, checked, statistics, context_accesses, states })
}
