//! Many trials.

use std::time::{Duration, Instant};

use uio_protocol::bpf::ObjectImage;

use super::generate::object;
use super::mutate::mutated;
use super::source::{Seeded, Source};
use super::trial::{Counts, Effort, Finding, trial};

/// When to stop, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Programs.
    pub programs: u64,
    /// Time.
    pub time: Duration,
}

/// Tries generated programs, and every so often one made from `samples` (objects with the number of a program). The same
/// `seed` gives the same programs. What was done is added to `counts`.
///
/// # Errors
///
/// The first [`Finding`].
pub fn campaign(
    seed: u64,
    samples: &[(ObjectImage, usize)],
    bounds: &Bounds,
    effort: &Effort,
    counts: &mut Counts,
) -> Result<(), Box<Finding>> {
    let start = Instant::now();
    let mut seeds = Seeded(seed);
    while counts.programs < bounds.programs && start.elapsed() < bounds.time {
        let mut source = Seeded(seeds.next());
        let object = if !samples.is_empty() && source.chance(15) {
            let (object, index) = &samples[source.below(samples.len())];
            mutated(object, *index, &mut source)
        } else {
            let generated = object(&mut source);
            if source.chance(15) { mutated(&generated, 0, &mut source) } else { generated }
        };
        trial(object, &mut source, effort, counts)?;
    }
    Ok(())
}
