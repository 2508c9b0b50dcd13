//! The soundness oracle, bounded. `UIO_SOUNDNESS_SECONDS` makes it longer, `UIO_SOUNDNESS_SEED` another.

use std::time::Duration;

use uio_bpf_measure::oracle::{Bounds, Counts, Effort, campaign, shrink};
use uio_bpf_objects::{ContextLayout as CompiledFor, parse};
use uio_bpf_samples::{Cpu, object, samples};
use uio_protocol::bpf::ObjectImage;
use uio_verifier::analysis::{ContextLayout, Options, analyse};

const SECONDS: u64 = 8;

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// All samples that are accepted, each alone in its object.
fn accepted() -> Vec<(ObjectImage, usize)> {
    let mut all = Vec::new();
    for name in samples() {
        let parsed = parse(&object(&name, Cpu::V3), &name).expect("a sample");
        for index in 0..parsed.image.programs.len() {
            let context = match parsed.source.programs[index].layout {
                CompiledFor::LinuxXdp => ContextLayout::LinuxXdp,
                CompiledFor::Native => ContextLayout::Native,
            };
            let options = Options { context, ..Options::default() };
            let Ok(analysis) = analyse(&parsed.image, index, &options) else { continue };
            let mut alone = parsed.image.clone();
            alone.programs = vec![analysis.program];
            all.push((alone, 0));
        }
    }
    assert!(all.len() > 10, "{}", all.len());
    all
}

#[test]
fn no_run_disagrees_with_its_proof() {
    let seconds = variable("UIO_SOUNDNESS_SECONDS", SECONDS);
    let bounds = Bounds { programs: u64::MAX, time: Duration::from_secs(seconds) };
    let mut counts = Counts::default();
    let found =
        campaign(variable("UIO_SOUNDNESS_SEED", 1), &accepted(), &bounds, &Effort::default(), &mut counts);
    println!("{counts:#?}");
    if let Err(finding) = found {
        // First as it was found: a wrong engine may not survive the search for a smaller one.
        println!("{finding}");
        panic!("{}", shrink(finding));
    }
    // It looks at something: programs of both kinds, engines, right and wrong proofs.
    assert!(counts.accepted > 0 && counts.accepted < counts.programs);
    assert!(counts.instructions > 1_000 && counts.engine_runs > 0 && counts.peer_runs > 0);
    assert!(counts.proofs_accepted < counts.proofs);
}
