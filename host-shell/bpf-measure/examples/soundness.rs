//! Tries programs until told to stop: `soundness SEED PROGRAMS SECONDS`.

use std::time::Duration;

use uio_bpf_measure::oracle::{Bounds, Counts, Effort, campaign, shrink};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let mut next = |default| arguments.next().unwrap_or(default);
    let (seed, programs, seconds) = (next(1), next(100_000), next(60));
    let bounds = Bounds { programs, time: Duration::from_secs(seconds) };
    let mut counts = Counts::default();
    match campaign(seed, &[], &bounds, &Effort::default(), &mut counts) {
        Ok(()) => println!("{counts:?}"),
        Err(finding) => {
            println!("{}", shrink(finding));
            std::process::exit(1);
        }
    }
}
