//! Time to find a proof and to check it, against the size of the program.

use std::time::Duration;

use uio_bpf_measure::speed::fastest_of;
use uio_bpf_samples::{Cpu, firewall, object, samples};
use uio_verifier::analysis::analyse;
use uio_verifier::{Proof, check};

use super::metrics::{self, VerifyRows};
use super::programs::{Compiled, first, generated, programs};
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::metric::Goal;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

/// Analyses and checks of each program: the larger, the fewer.
const TIMES_SLOTS: usize = 200_000;
const TIMES_MAX: usize = 101;
const TIMES_MIN: usize = 5;

/// Nanoseconds an instruction, of analysis and check.
struct Each {
    analysis: f64,
    check: f64,
}

pub(super) fn measure(_: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    accepted(sheet, progress)?;
    let small: [(VerifyRows, Vec<u8>); 7] = [
        (metrics::VERIFY_PORT_FILTER, object("port_filter", Cpu::V3)),
        (metrics::VERIFY_NAT, object("nat", Cpu::V3)),
        (metrics::VERIFY_STRING_MATCHER, object("string_matcher", Cpu::V3)),
        (metrics::VERIFY_10, firewall(10, Cpu::V3)),
        (metrics::VERIFY_100, firewall(100, Cpu::V3)),
        (metrics::VERIFY_1000, firewall(1_000, Cpu::V3)),
        (metrics::VERIFY_10000, firewall(10_000, Cpu::V3)),
    ];
    for (rows, bytes) in small {
        progress.step(rows.analysis);
        if let Err(error) = first(&bytes, "measured").and_then(|program| verify(&program, &rows, sheet)) {
            refused(&rows, &error, sheet);
        }
    }
    let mut each = Vec::new();
    for (rows, slots) in
        [(metrics::VERIFY_1K, 1_000), (metrics::VERIFY_10K, 10_000), (metrics::VERIFY_100K, 100_000)]
    {
        progress.step(rows.analysis);
        match verify(&generated(slots), &rows, sheet) {
            Ok(times) => each.push(times),
            Err(error) => refused(&rows, &error, sheet),
        }
    }
    if let [least, _, most] = &each[..] {
        let method = "the same pieces of work 100 and 10,000 times in a row";
        sheet.set(metrics::ANALYSIS_GROWTH, Some(most.analysis / least.analysis), method);
        sheet.set(metrics::CHECK_GROWTH, Some(most.check / least.check), method);
    }
    Ok(())
}

fn refused(rows: &VerifyRows, error: &BenchError, sheet: &mut Sheet) {
    for name in [rows.analysis, rows.check, rows.analysis_each, rows.check_each] {
        sheet.set(name, None, error.to_string());
    }
}

fn verify(program: &Compiled, rows: &VerifyRows, sheet: &mut Sheet) -> Result<Each, BenchError> {
    let accepted = program.accept()?;
    let slots = program.slots();
    let times = (TIMES_SLOTS / slots.max(1)).clamp(TIMES_MIN, TIMES_MAX);
    let analysis = fastest_of(times, || analyse(&program.object, 0, &program.options).ok());
    let bytes = accepted.proof.encode();
    let check = fastest_of(times, || {
        let proof = Proof::decode(&bytes).map_err(|error| error.to_string())?;
        check(&accepted.object, 0, &proof).map_err(|error| error.to_string())
    });
    let each = |time: Duration| time.as_secs_f64() * 1e9 / slots as f64;
    let method = format!(
        "fastest of {times}; {slots} instructions, proof of {} states in {} bytes",
        accepted.proof.states(),
        bytes.len()
    );
    sheet.set(
        rows.analysis,
        Some(analysis.as_secs_f64() * 1e3),
        format!("{method}; the check at its end included"),
    );
    sheet.set(rows.check, Some(check.as_secs_f64() * 1e6), format!("{method}; decoding the proof included"));
    sheet.set(rows.analysis_each, Some(each(analysis)), &*method);
    sheet.set(rows.check_each, Some(each(check)), method);
    Ok(Each { analysis: each(analysis), check: each(check) })
}

/// Counts the samples that have a proof.
fn accepted(sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let (mut all, mut refused) = (0, Vec::new());
    for name in samples() {
        progress.step(&name);
        for program in programs(&object(&name, Cpu::V3), &name)? {
            all += 1;
            if let Err(error) = program.accept() {
                refused.push(error.to_string());
            } else if program.name == "string_matcher" {
                sheet.set(metrics::STRING_MATCHER_ACCEPTED, Some(1.0), "has a proof that the check accepts");
            }
        }
    }
    let why = if refused.is_empty() { String::new() } else { format!("; {}", refused.join("; ")) };
    let method = format!("of {all} programs in extensions/bpf, compiled with -mcpu=v3{why}");
    sheet.set(metrics::SAMPLES_ACCEPTED, Some(f64::from(all - refused.len() as u32)), method);
    sheet.set_goal(metrics::SAMPLES_ACCEPTED, Goal::AtLeast(f64::from(all)));
    Ok(())
}
