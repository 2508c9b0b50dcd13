//! Time to compile, beside rbpf.

use std::time::Duration;

use uio_bpf::jit::Options;
use uio_bpf_measure::peer::Peer;
use uio_bpf_samples::{Cpu, firewall, object};

use super::metrics;
use super::programs::first;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::metric::Goal;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

/// Compilations of each.
const TIMES: usize = 41;
/// Turns that the two compilers take.
const TURNS: usize = 5;
const BLINDING: u64 = 0x0bad_5eed;

pub(super) fn measure(_: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let programs = [
        (metrics::COMPILE_NAT, metrics::COMPILE_NAT_RBPF, object("nat", Cpu::V3)),
        (metrics::COMPILE_FIREWALL, metrics::COMPILE_FIREWALL_RBPF, firewall(10_000, Cpu::V3)),
    ];
    for (ours, theirs, bytes) in programs {
        progress.step(ours);
        let accepted = first(&bytes, "compiled")?.accept()?;
        let verified = accepted.verified()?;
        let mut peer = Peer::new(accepted.verified()?, false).map_err(malformed)?;
        let slots = verified.bound().slots().len();
        let options = Options::blinded(BLINDING);
        let (mut own, mut other) = (Duration::MAX, Duration::MAX);
        for _ in 0..TURNS {
            own = own.min(verified.bound().compile_time(&options, TIMES).map_err(malformed)?);
            other = other.min(peer.compile_time(TIMES).map_err(malformed)?);
        }
        let micros = |time: Duration| Some(time.as_secs_f64() * 1e6);
        let method = format!(
            "best of {TURNS} medians of {TIMES}, in turns; {slots} slots to code that can run: decoding, binding and \
             fresh pages included"
        );
        sheet.set(ours, micros(own), &*method);
        sheet.set(theirs, micros(other), method);
        if let Some(limit) = micros(other) {
            sheet.set_goal(ours, Goal::AtMost(limit));
        }
    }
    Ok(())
}

fn malformed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Malformed { what: "an accepted program", found: error.to_string() }
}
