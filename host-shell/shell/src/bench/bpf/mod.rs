//! The suite `bpf`.

pub(super) mod metrics;
use super::{BenchError, Suite};
pub(super) const SUITE: Suite<()> =
    Suite { name: "bpf", metrics: metrics::METRICS, parts: &[], prepare: |_| Ok::<(), BenchError>(()) };
