//! How many cases of the public suite, as far as they are in the sources, are right.

use uio_bpf_measure::conformance::conformance;

use super::metrics;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::metric::Goal;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

/// Where they are.
const FOLDER: &str = "overlay/bpf/tests/conformance";

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    progress.step("the vendored cases");
    let all = conformance(&bench.workspace.join(FOLDER)).map_err(BenchError::io(FOLDER))?;
    let wrong =
        if all.wrong.is_empty() { String::new() } else { format!("; wrong: {}", all.wrong.join(", ")) };
    let method =
        format!("{} cases of {FOLDER}, compiled with constants blinded and without{wrong}", all.cases);
    for (metric, right) in
        [(metrics::CASES_INTERPRETED, all.interpreted), (metrics::CASES_COMPILED, all.compiled)]
    {
        sheet.set(metric, Some(right as f64), &*method);
        sheet.set_goal(metric, Goal::AtLeast(all.cases as f64));
    }
    Ok(())
}
