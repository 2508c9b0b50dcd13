//! The suite `bpf`: conformance, speed beside rbpf and C, compilation, analysis and check, soundness. No guest is
//! started: the engine and the verifier are the guest's, in this process.

mod compile;
mod conformance;
pub(super) mod metrics;
mod native;
mod packets;
mod peers;
mod programs;
mod soundness;
mod speed;
mod verify;
mod workbench;

use super::Suite;
use workbench::Workbench;

pub(super) const SUITE: Suite<Workbench> = Suite {
    name: "bpf",
    metrics: metrics::METRICS,
    parts: &[
        (metrics::CONFORMANCE, conformance::measure),
        (metrics::SPEED, speed::measure),
        (metrics::COMPILE, compile::measure),
        (metrics::VERIFY, verify::measure),
        (metrics::SOUNDNESS, soundness::measure),
    ],
    prepare: Workbench::new,
};
