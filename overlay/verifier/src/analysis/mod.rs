//! The host's half: finds a proof, or the reason why there is none.

mod rejection;

use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::bpf::{ObjectImage, ProgramImage};

pub use rejection::{Rejection, RejectionReason, SourceLine, Step};

use crate::check::{CheckReason, Checked, Statistics};
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
    let _ = (program, options);
    Err(Rejection::new(
        0,
        RejectionReason::Check(CheckReason::NoProgram { programs: object.programs.len() as u32 }),
    ))
}
