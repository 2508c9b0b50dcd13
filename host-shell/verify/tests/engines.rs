//! The engines on what clang makes of the samples.

use uio_bpf_samples::{Cpu, object, rejected, rejected_object, samples};
use uio_verify::{EngineName, Engines, Options, Request, Verification, read_object, verify};

/// Safe programs that PREVAIL does not see through: the bounds of their loops are lost at the loop's head.
const PREVAIL_IMPRECISE: &[&str] = &["bounded_loops", "dns_filter", "hello", "loop_helper", "string_matcher"];

/// Wrong programs that PREVAIL accepts: it knows neither read-only maps nor that records have to be given back once,
/// and lets programs calculate with null.
const PREVAIL_LENIENT: &[&str] =
    &["null_arithmetic", "read_only_write", "ring_record_after_submit", "ring_record_kept"];

/// Loops without end are not unsafe: fuel ends them. These are refused only where fuel is not wanted.
const ENDLESS: &[&str] = &["loop_forever", "loop_unbounded"];

fn with(bytes: &[u8], name: &str, engines: &str, fuel: bool) -> Verification {
    let engines: Engines = engines.parse().expect("engines");
    let options = Options { fuel, ..Options::default() };
    verify(read_object(bytes, name).expect("an object"), &Request { engines, options })
}

fn accepts(verification: &Verification, engine: EngineName) -> bool {
    let judgements = verification.report.programs.iter().flat_map(|program| &program.judgements);
    judgements.filter(|judgement| judgement.engine == engine).all(|judgement| judgement.accepted)
}

#[test]
fn good_samples() {
    let mut imprecise = Vec::new();
    for name in samples() {
        let verification = with(&object(&name, Cpu::V3), &name, "uio,prevail", true);
        // That uio accepts all of them is for its own tests.
        assert_eq!(verification.loadable.is_some(), accepts(&verification, EngineName::Uio), "{name}");
        if !accepts(&verification, EngineName::Prevail) {
            imprecise.push(name);
        }
    }
    assert_eq!(imprecise, PREVAIL_IMPRECISE);
}

#[test]
fn bad_samples() {
    let mut lenient = Vec::new();
    for name in rejected() {
        let bytes = rejected_object(&name, Cpu::V3);
        let fuel = !ENDLESS.contains(&name.as_str());
        let verification = with(&bytes, &name, "uio,prevail", fuel);
        assert!(!accepts(&verification, EngineName::Uio), "{}", verification.report.render(false));
        assert!(!verification.report.accepted && verification.loadable.is_none());
        if accepts(&verification, EngineName::Prevail) {
            lenient.push(name);
        }
    }
    assert_eq!(lenient, PREVAIL_LENIENT);
}

#[test]
fn endless_loops_are_marked() {
    for name in ENDLESS {
        let verification = with(&rejected_object(name, Cpu::V3), name, "uio", true);
        let judgement = &verification.report.programs[0].judgements[0];
        assert!(judgement.accepted && !judgement.fuel_jumps.is_empty(), "{name}");
        assert!(verification.report.render(false).contains("ended by fuel"));
    }
}
