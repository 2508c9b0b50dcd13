//! Nanoseconds a run: our JIT and interpreter, rbpf's, and C, in turns over the same packets.

use std::path::PathBuf;

use uio_bpf::jit::Options;
use uio_bpf_measure::peer::Peer;
use uio_bpf_measure::run::{Bound, Input};
use uio_bpf_measure::speed::{Contestant, Times, floor, race};
use uio_bpf_samples::{Cpu, firewall, firewall_source, folder, object};

use super::metrics::{self, SpeedRows};
use super::native::Native;
use super::packets::{RING, fill_nat, to_rules, to_server};
use super::programs::{Accepted, first};
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::metric::Goal;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

/// Rounds of the fast contestants: enough that the median is one without interrupts.
const ROUNDS: usize = 60;
/// What C may be exceeded by.
const OVER_C: f64 = 1.3;
/// A lookup in an array has no call in it.
const ROUND_ROBIN_NS: f64 = 7.0;
/// Seed of the disguise of constants: programs are measured as they run in the guest.
const BLINDING: u64 = 0x0bad_5eed;

/// A program and what it runs on.
struct Runner {
    rows: SpeedRows,
    bytes: Vec<u8>,
    name: &'static str,
    inputs: Vec<Input>,
    fill: fn(&Bound) -> Result<(), BenchError>,
    /// Source in C, where the program calls no helper.
    source: Option<(PathBuf, &'static str)>,
    /// Whether C is part of the goal.
    against_c: bool,
}

fn runners(bench: &Workbench) -> Result<Vec<Runner>, BenchError> {
    let sample = |rows, name: &'static str, c: bool| Runner {
        rows,
        bytes: object(name, Cpu::V3),
        name,
        inputs: to_server(),
        fill: |_| Ok(()),
        source: c.then(|| (folder().join(name).with_extension("c"), name)),
        against_c: false,
    };
    let mut all = vec![
        sample(metrics::PASS, "pass", true),
        Runner { against_c: true, ..sample(metrics::PORT_FILTER, "port_filter", true) },
        Runner { fill: fill_nat, ..sample(metrics::NAT, "nat", false) },
        sample(metrics::ROUND_ROBIN, "round_robin", false),
        sample(metrics::RATE_LIMITER, "rate_limiter", false),
        sample(metrics::STRING_MATCHER, "string_matcher", true),
    ];
    let firewalls =
        [(metrics::FIREWALL_10, 10), (metrics::FIREWALL_1000, 1_000), (metrics::FIREWALL_10000, 10_000)];
    for (rows, rules) in firewalls {
        let path = bench.folder.path(&format!("firewall_{rules}.c"));
        std::fs::write(&path, firewall_source(rules)).map_err(BenchError::io("a firewall"))?;
        all.push(Runner {
            rows,
            bytes: firewall(rules, Cpu::V3),
            name: "firewall",
            inputs: to_rules(rules),
            fill: |_| Ok(()),
            source: Some((path, "firewall")),
            against_c: rules == 1_000,
        });
    }
    Ok(all)
}

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let empty = floor(ROUNDS, RING);
    let method = format!("median of {ROUNDS} rounds over the ring; {}", fastest(&empty));
    sheet.set(metrics::CALL_FLOOR, Some(empty.median_ns), method);
    for runner in runners(bench)? {
        progress.step(runner.rows.jit);
        if let Err(error) = runner.measure(bench, sheet) {
            sheet.set(runner.rows.jit, None, error.to_string());
        }
    }
    Ok(())
}

fn fastest(times: &Times) -> String {
    format!("fastest round {:.2} ns", times.minimum_ns)
}

impl Runner {
    fn measure(&self, bench: &Workbench, sheet: &mut Sheet) -> Result<(), BenchError> {
        let accepted = first(&self.bytes, self.name)?.accept()?;
        let native = match &self.source {
            Some((path, function)) => Some(Native::new(bench, path, function, &self.inputs, &[])?),
            None => None,
        };
        let before = native.as_ref().map(|native| native.measure(ROUNDS / 2)).transpose()?;
        let (names, mut contestants, mut missing) = self.contestants(&accepted)?;
        let mut expected: Option<Vec<Option<u64>>> = None;
        let mut right = Vec::new();
        for (name, contestant) in names.into_iter().zip(&mut contestants) {
            (self.fill)(contestant.bound())?;
            let results = contestant.results();
            let wanted = expected.get_or_insert_with(|| results.clone());
            right.push((name, *wanted == results));
        }
        let sum: u64 = expected.iter().flatten().flatten().sum();
        let times = race(&mut contestants, ROUNDS);
        let after = native.as_ref().map(|native| native.measure(ROUNDS / 2)).transpose()?;
        let mut best = None;
        let mut rbpf = None;
        for ((name, right), times) in right.into_iter().zip(&times) {
            let method = format!(
                "median of {ROUNDS} rounds in turns with the other engines, 64-byte packets in a ring of {RING}, \
                 the call included; {}",
                fastest(times)
            );
            if !right {
                missing.push((name, "its results differ from the other engines'".into()));
                continue;
            }
            sheet.set(name, Some(times.median_ns), method);
            best = if name == self.rows.jit { Some(times.median_ns) } else { best };
            rbpf = if name == self.rows.rbpf { Some(times.median_ns) } else { rbpf };
        }
        let c = match (&before, &after) {
            (Some(before), Some(after)) if before.sum == sum => {
                let median = before.times.median_ns.min(after.times.median_ns);
                let method = format!(
                    "clang -O2, in a process of its own before and after the engines; the better median of {} rounds; {}",
                    ROUNDS / 2,
                    fastest(&after.times)
                );
                sheet.set(self.rows.c, Some(median), method);
                Some(median)
            }
            (Some(before), _) => {
                missing.push((self.rows.c, format!("its results sum up to {}, not to {sum}", before.sum)));
                None
            }
            _ => {
                missing.push((self.rows.c, "calls helpers, which C has none of".into()));
                None
            }
        };
        let searching = self.searching(bench)?;
        for (name, why) in missing {
            sheet.set(name, None, why);
        }
        if let Some(best) = best {
            sheet.set_goal(self.rows.jit, self.goal(sheet, rbpf, searching.or(c)));
            if let Some(searching) = searching {
                let method = format!(
                    "median of {ROUNDS} rounds in turns with the other engines; the goal is that of C which searches as the \
                     program does (clang -O2 -fno-jump-tables: {searching:.2} ns): in C, a table replaces the switch"
                );
                sheet.set(self.rows.jit, Some(best), method);
            }
        }
        Ok(())
    }

    /// What C takes without tables, which eBPF's instructions cannot express: only where C is part of the goal and
    /// would use one.
    fn searching(&self, bench: &Workbench) -> Result<Option<f64>, BenchError> {
        match &self.source {
            Some((path, function)) if self.against_c && *function == "firewall" => {
                let native = Native::new(bench, path, function, &self.inputs, &["-fno-jump-tables"])?;
                Ok(Some(native.measure(ROUNDS)?.times.median_ns))
            }
            _ => Ok(None),
        }
    }

    /// Faster than the better of the published and the measured peers, and close to C where it is asked.
    fn goal(&self, sheet: &Sheet, rbpf: Option<f64>, c: Option<f64>) -> Goal {
        let published = sheet.peer(self.rows.jit).unwrap_or(f64::INFINITY);
        let peers = published.min(rbpf.unwrap_or(f64::INFINITY));
        let mut at_most = f64::INFINITY;
        if self.against_c {
            at_most = c.map_or(at_most, |c| c * OVER_C);
        }
        if self.rows.jit == metrics::ROUND_ROBIN.jit {
            at_most = at_most.min(ROUND_ROBIN_NS);
        }
        if at_most < peers { Goal::AtMost(at_most) } else { Goal::Below(peers) }
    }

    /// All engines that take the program, by the names of their rows, and why others do not.
    #[expect(clippy::type_complexity, reason = "used once, taken apart at once")]
    fn contestants(
        &self,
        accepted: &Accepted,
    ) -> Result<(Vec<&'static str>, Vec<Contestant>, Vec<(&'static str, String)>), BenchError> {
        let prepared = |error| BenchError::Malformed { what: "an engine", found: format!("{error}") };
        let compiled = accepted.verified()?.compile(&Options::blinded(BLINDING)).map_err(prepared)?;
        let mut names = vec![self.rows.jit, self.rows.interpreter];
        let mut contestants = vec![
            Contestant::compiled(compiled, &self.inputs),
            Contestant::interpreted(accepted.verified()?, &self.inputs),
        ];
        let mut missing = Vec::new();
        for (name, compile) in [(self.rows.rbpf, true), (self.rows.rbpf_interpreter, false)] {
            match Peer::new(accepted.verified()?, compile) {
                Ok(peer) => {
                    names.push(name);
                    contestants.push(Contestant::peer(peer, &self.inputs));
                }
                Err(error) => missing.push((name, error.to_string())),
            }
        }
        Ok((names, contestants, missing))
    }
}
