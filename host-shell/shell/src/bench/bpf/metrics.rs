//! Rows of the suite `bpf`.

use super::peers;
use crate::bench::metric::{Goal, Metric, Peer};

pub(in crate::bench) const CONFORMANCE: &str = "conformance";
pub(super) const SPEED: &str = "speed";
pub(super) const COMPILE: &str = "compile";
pub(super) const VERIFY: &str = "analysis and check";
pub(super) const SOUNDNESS: &str = "soundness";

pub(super) const CASES_INTERPRETED: &str = "conformance cases, interpreter";
pub(super) const CASES_COMPILED: &str = "conformance cases, JIT";

pub(super) const CALL_FLOOR: &str = "empty function, call";
pub(super) const COMPILE_NAT: &str = "compile NAT, JIT with blinding";
pub(super) const COMPILE_NAT_RBPF: &str = "compile NAT, rbpf here";
pub(super) const COMPILE_FIREWALL: &str = "compile 10,000 rules, JIT with blinding";
pub(super) const COMPILE_FIREWALL_RBPF: &str = "compile 10,000 rules, rbpf here";

pub(super) const SAMPLES_ACCEPTED: &str = "sample programs accepted";
pub(super) const STRING_MATCHER_ACCEPTED: &str = "string matcher accepted";
pub(super) const ANALYSIS_GROWTH: &str = "analysis, time per instruction, 100,000 against 1,000";
pub(super) const CHECK_GROWTH: &str = "check, time per instruction, 100,000 against 1,000";

pub(super) const PROGRAMS: &str = "programs tried";
pub(super) const ACCEPTED: &str = "programs accepted";
pub(super) const RUNS: &str = "runs watched";
pub(super) const INSTRUCTIONS: &str = "instructions compared with the claims";
pub(super) const ENGINE_RUNS: &str = "runs compared, interpreter and JIT";
pub(super) const PEER_RUNS: &str = "runs compared, rbpf";
pub(super) const PROOFS: &str = "wrong proofs tried";
pub(super) const PROOFS_ACCEPTED: &str = "wrong proofs that still are proofs";
pub(super) const FINDINGS: &str = "disagreements and accesses out of bounds";

const fn metric(
    part: &'static str,
    name: &'static str,
    unit: &'static str,
    goal: Option<Goal>,
    peer: Option<Peer>,
) -> Metric {
    Metric { part, name, unit, goal, peer }
}

const fn at_most(limit: f64) -> Option<Goal> {
    Some(Goal::AtMost(limit))
}

/// The rows of a program's speed. Goals depend on what rbpf and C reach in the same run.
macro_rules! speed {
    ($name:literal) => {
        SpeedRows {
            jit: concat!($name, ", JIT"),
            interpreter: concat!($name, ", interpreter"),
            rbpf: concat!($name, ", rbpf JIT here"),
            rbpf_interpreter: concat!($name, ", rbpf interpreter here"),
            c: concat!($name, ", C here"),
        }
    };
}

/// Names of the rows of one program's speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpeedRows {
    pub(super) jit: &'static str,
    pub(super) interpreter: &'static str,
    pub(super) rbpf: &'static str,
    pub(super) rbpf_interpreter: &'static str,
    pub(super) c: &'static str,
}

pub(super) const PASS: SpeedRows = speed!("pass");
pub(super) const PORT_FILTER: SpeedRows = speed!("port filter");
pub(super) const NAT: SpeedRows = speed!("NAT hit");
pub(super) const ROUND_ROBIN: SpeedRows = speed!("round robin");
pub(super) const RATE_LIMITER: SpeedRows = speed!("rate limiter");
pub(super) const STRING_MATCHER: SpeedRows = speed!("string match 64 B");
pub(super) const FIREWALL_10: SpeedRows = speed!("firewall 10");
pub(super) const FIREWALL_1000: SpeedRows = speed!("firewall 1,000");
pub(super) const FIREWALL_10000: SpeedRows = speed!("firewall 10,000");

/// The rows of verifying a program.
macro_rules! verify {
    ($name:literal) => {
        VerifyRows {
            analysis: concat!($name, ", analysis"),
            check: concat!($name, ", check"),
            analysis_each: concat!($name, ", analysis an instruction"),
            check_each: concat!($name, ", check an instruction"),
        }
    };
}

/// Names of the rows of verifying one program.
#[derive(Clone, Copy, Debug)]
pub(super) struct VerifyRows {
    pub(super) analysis: &'static str,
    pub(super) check: &'static str,
    pub(super) analysis_each: &'static str,
    pub(super) check_each: &'static str,
}

pub(super) const VERIFY_PORT_FILTER: VerifyRows = verify!("port filter");
pub(super) const VERIFY_NAT: VerifyRows = verify!("NAT");
pub(super) const VERIFY_STRING_MATCHER: VerifyRows = verify!("string matcher");
pub(super) const VERIFY_10: VerifyRows = verify!("firewall 10");
pub(super) const VERIFY_100: VerifyRows = verify!("firewall 100");
pub(super) const VERIFY_1000: VerifyRows = verify!("firewall 1,000");
pub(super) const VERIFY_10000: VerifyRows = verify!("firewall 10,000");
pub(super) const VERIFY_1K: VerifyRows = verify!("1,000 instructions");
pub(super) const VERIFY_10K: VerifyRows = verify!("10,000 instructions");
pub(super) const VERIFY_100K: VerifyRows = verify!("100,000 instructions");

macro_rules! all {
    (speed { $($rows:ident $c:expr;)* } verify { $($verify:ident $analysis:expr, $check:expr, $peer:expr;)* }) => {
        &[
            metric(CONFORMANCE, CASES_INTERPRETED, "cases", None, Some(peers::UBPF_CONFORMANCE)),
            metric(CONFORMANCE, CASES_COMPILED, "cases", None, Some(peers::UBPF_CONFORMANCE)),
            metric(SPEED, CALL_FLOOR, "ns", None, Some(peers::FLOOR)),
            $(
                metric(SPEED, $rows.jit, "ns", None, Some(peers::$rows)),
                metric(SPEED, $rows.rbpf, "ns", None, None),
                metric(SPEED, $rows.c, "ns", None, $c),
                metric(SPEED, $rows.interpreter, "ns", None, None),
                metric(SPEED, $rows.rbpf_interpreter, "ns", None, None),
            )*
            metric(COMPILE, COMPILE_NAT, "µs", None, Some(peers::COMPILE_NAT)),
            metric(COMPILE, COMPILE_NAT_RBPF, "µs", None, None),
            metric(COMPILE, COMPILE_FIREWALL, "µs", None, Some(peers::COMPILE_FIREWALL)),
            metric(COMPILE, COMPILE_FIREWALL_RBPF, "µs", None, None),
            metric(VERIFY, SAMPLES_ACCEPTED, "programs", None, None),
            metric(VERIFY, STRING_MATCHER_ACCEPTED, "programs", Some(Goal::AtLeast(1.0)), None),
            $(
                metric(VERIFY, $verify.analysis, "ms", $analysis, $peer),
                metric(VERIFY, $verify.check, "µs", $check, None),
                metric(VERIFY, $verify.analysis_each, "ns", None, None),
                metric(VERIFY, $verify.check_each, "ns", None, None),
            )*
            metric(VERIFY, ANALYSIS_GROWTH, "times", at_most(GROWTH), None),
            metric(VERIFY, CHECK_GROWTH, "times", at_most(GROWTH), None),
            metric(SOUNDNESS, PROGRAMS, "programs", None, None),
            metric(SOUNDNESS, ACCEPTED, "programs", None, None),
            metric(SOUNDNESS, RUNS, "runs", None, None),
            metric(SOUNDNESS, INSTRUCTIONS, "instructions", None, None),
            metric(SOUNDNESS, ENGINE_RUNS, "runs", None, None),
            metric(SOUNDNESS, PEER_RUNS, "runs", None, None),
            metric(SOUNDNESS, PROOFS, "proofs", None, None),
            metric(SOUNDNESS, PROOFS_ACCEPTED, "proofs", None, None),
            metric(SOUNDNESS, FINDINGS, "findings", at_most(0.0), None),
        ]
    };
}

/// What a hundred times larger program may cost more per instruction: caches hold less of it.
const GROWTH: f64 = 2.0;

/// All of them, in the order in which they are shown.
pub(in crate::bench) const METRICS: &[Metric] = all!(
    speed {
    PASS None;
    PORT_FILTER Some(peers::C_PORT_FILTER);
    NAT None;
    ROUND_ROBIN None;
    RATE_LIMITER None;
    STRING_MATCHER None;
    FIREWALL_10 None;
    FIREWALL_1000 Some(peers::C_FIREWALL);
    FIREWALL_10000 None;
    }
    verify {
    VERIFY_PORT_FILTER None, None, Some(peers::PREVAIL_PORT_FILTER);
    VERIFY_NAT at_most(10.0), at_most(100.0), Some(peers::PREVAIL_NAT);
    VERIFY_STRING_MATCHER None, None, None;
    VERIFY_10 None, None, None;
    VERIFY_100 None, None, Some(peers::PREVAIL_100);
    VERIFY_1000 None, None, Some(peers::PREVAIL_1000);
    VERIFY_10000 at_most(200.0), at_most(2_000.0), Some(peers::PREVAIL_10000);
    VERIFY_1K None, None, None;
    VERIFY_10K None, None, None;
    VERIFY_100K None, None, None;
    }
);
