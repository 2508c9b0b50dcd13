//! The soundness oracle, for a while.

use std::time::Duration;

use uio_bpf_measure::oracle::{Bounds, Counts, Effort, campaign, shrink};
use uio_bpf_samples::{Cpu, object, samples};

use super::metrics;
use super::programs::programs;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

/// How long, in seconds, unless [`SECONDS_VARIABLE`] says otherwise.
const SECONDS: u64 = 20;
/// Environment variable that says how long.
const SECONDS_VARIABLE: &str = "UIO_SOUNDNESS_SECONDS";
/// Environment variable that says with which seed.
const SEED_VARIABLE: &str = "UIO_SOUNDNESS_SEED";

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

pub(super) fn measure(_: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let seconds = variable(SECONDS_VARIABLE, SECONDS);
    let seed = variable(SEED_VARIABLE, 1);
    progress.step(format_args!("{seconds} s"));
    let mut objects = Vec::new();
    for name in samples() {
        for program in programs(&object(&name, Cpu::V3), &name)? {
            // The mutated ones are analysed as they are: in the layout that the guest sees.
            if let Ok(accepted) = program.accept() {
                objects.push((accepted.object, 0));
            }
        }
    }
    let bounds = Bounds { programs: u64::MAX, time: Duration::from_secs(seconds) };
    let mut counts = Counts::default();
    let found = campaign(seed, &objects, &bounds, &Effort::default(), &mut counts);
    let method = format!("{seconds} s ({SECONDS_VARIABLE}) with seed {seed} ({SEED_VARIABLE})");
    let rows = [
        (metrics::PROGRAMS, counts.programs),
        (metrics::ACCEPTED, counts.accepted),
        (metrics::RUNS, counts.runs),
        (metrics::INSTRUCTIONS, counts.instructions),
        (metrics::ENGINE_RUNS, counts.engine_runs),
        (metrics::PEER_RUNS, counts.peer_runs),
        (metrics::PROOFS, counts.proofs),
        (metrics::PROOFS_ACCEPTED, counts.proofs_accepted),
    ];
    for (metric, count) in rows {
        sheet.set(metric, Some(count as f64), &*method);
    }
    let (findings, method) = match found {
        Ok(()) => (0.0, method),
        Err(finding) => (1.0, format!("{method}; stopped at: {}", shrink(finding))),
    };
    sheet.set(metrics::FINDINGS, Some(findings), method);
    Ok(())
}
