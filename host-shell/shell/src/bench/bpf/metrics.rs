//! Rows of the suite `bpf`.
use crate::bench::metric::Metric;
pub(in crate::bench) const METRICS: &[Metric] = &[];
