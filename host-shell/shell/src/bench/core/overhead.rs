//! What the overlay costs while nobody uses it, in instructions.

use std::path::Path;

use super::counter::{Counter, Counts, Window};
use super::guest::{READY_LINE, START_TIMEOUT};
use super::images::{open, symbol};
use super::metrics;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::client::Client;
use crate::machine::Machine;

/// The application's work: runs once a period, in the image as it is shipped.
const WORK: &str = "count::work";
/// Rounds before counting begins: the guest has booted and does nothing else by then.
const FROM: u64 = 1_000;
/// Rounds that are counted.
const ROUNDS: u64 = 2_000;
/// Counted guests of each kind. Every one must count the same.
const REPEATS: usize = 2;

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let counter = Counter::build(bench)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for repeat in 1..=REPEATS {
        progress.step(format_args!("counting instructions, guest {repeat} of {REPEATS} of each kind"));
        with.push(count(bench, &counter, &bench.images.with)?);
        without.push(count(bench, &counter, &bench.images.without)?);
    }
    progress.step("counting instructions after a shell has left");
    let (detached, waited) = after_a_shell(bench, &counter)?;

    let same = |counts: &[Counts]| counts.iter().all(|other| *other == counts[0]);
    let repeats = if same(&with) && same(&without) {
        format!("{REPEATS} of {REPEATS} boots counted the same")
    } else {
        format!("boots differ: {with:?}, {without:?}")
    };
    let how = format!(
        "TCG plugin, -icount shift=0,sleep=off, q35, periods {FROM} to {} after boot; {repeats}",
        FROM + ROUNDS
    );
    let (with, without) = (with[0], without[0]);
    let per_round = |count: u64| count as f64 / ROUNDS as f64;
    let percent = |new: u64, old: u64| (new as f64 - old as f64) / old as f64 * 100.0;

    let work = format!("instructions executed inside `{WORK}`; {how}");
    sheet.set(metrics::WORK_WITH, Some(per_round(with.range)), &*work);
    sheet.set(metrics::WORK_WITHOUT, Some(per_round(without.range)), &*work);
    sheet.set(metrics::WORK_DIFFERENCE, Some(percent(with.range, without.range)), work);

    let whole = format!("all instructions: work, timer interrupt and two thread switches; {how}");
    sheet.set(metrics::PERIOD_WITH, Some(per_round(with.total)), &*whole);
    sheet.set(metrics::PERIOD_WITHOUT, Some(per_round(without.total)), &*whole);
    sheet.set(
        metrics::PERIOD_DIFFERENCE,
        Some(per_round(with.total) - per_round(without.total)),
        format!("difference of the two rows above, all of it in the kernel's switch to and from the application: it looks at one more \
             thread, at the key register, and at whether the thread is to be ended; {how}"),
    );
    sheet.set(
        metrics::DETACHED,
        Some(percent(detached.total, with.total)),
        format!(
            "all instructions of {ROUNDS} periods after a shell attached, asked for `info` and left, against a guest \
             that never saw one ({} and {}); counted from {waited} periods after it left",
            detached.total, with.total
        ),
    );
    Ok(())
}

fn count(bench: &Workbench, counter: &Counter, path: &Path) -> Result<Counts, BenchError> {
    counter.count(bench, "overhead", path, Machine::Q35, &window(path)?)
}

fn window(path: &Path) -> Result<Window, BenchError> {
    let range = symbol(&open(path)?, path, WORK)?;
    Ok(Window { head: range.0, from: FROM, to: FROM + ROUNDS, wait: None, range: Some(range) })
}

/// As [`count`], once a shell has come and gone; and how many periods lie between.
fn after_a_shell(bench: &Workbench, counter: &Counter) -> Result<(Counts, u64), BenchError> {
    let path = &bench.images.with;
    let left = bench.folder.path("shell-has-left");
    let _ = std::fs::remove_file(&left);
    let window = Window { wait: Some(left.clone()), ..window(path)? };
    let mut counted = counter.start(bench, "detached", path, Machine::Q35, &window)?;
    counted.guest.line(READY_LINE)?;
    let client = Client::connect(&counted.guest.paths.console(), START_TIMEOUT)?;
    client.info()?;
    drop(client);
    std::fs::write(&left, []).map_err(BenchError::io(left.display().to_string()))?;
    Ok((counted.finish()?, FROM))
}
