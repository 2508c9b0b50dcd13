//! `demo --batch`: the first command of the README, without its prompt.

use std::time::Duration;

use uio_tests::artifacts;
use uio_tests::guest::Home;
use uio_tests::process;
use uio_tests::slots::Slot;

/// A quarter of a minute on an idle machine; tests beside it take their share.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn every_step_of_the_tour_works() {
    artifacts::install();
    let _slot = Slot::take();
    let home = Home::new();
    let text = process::run(&mut home.shell(&["demo", "--batch"]), "", PATIENCE).good();
    let summary = text.lines().find(|line| line.contains(" steps worked, in ")).expect("it has a summary");
    let numbers: Vec<u32> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] == numbers[1] && numbers[0] > 30, "{summary}");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal");
    assert!(text.ends_with("count is stopped\n"));
    assert_eq!(home.run(&["ps", "--json"]).good(), "", "nothing is left behind");
}
