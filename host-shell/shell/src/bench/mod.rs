//! `uio-shell bench`: measures what the project claims, on this machine, beside what others have published.
//!
//! A suite is a folder here: its metrics, and a measurement for each part of them. Wall times are minima or medians of
//! interleaved runs, because hosts are noisy; whatever instructions can say is counted in instructions.

mod bpf;
mod children;
mod compiler;
mod core;
mod error;
mod folder;
mod metric;
mod progress;
mod report;
mod sheet;
mod statistics;

use std::io::{self, Write};

pub use error::BenchError;

use crate::render::style::Style;
use metric::Metric;
use progress::Progress;
use sheet::Sheet;

/// Measures one part: fills in its rows.
type Measure<Bench> = fn(&Bench, &mut Sheet, &Progress) -> Result<(), BenchError>;

/// A suite. `Bench` is what its measurements share.
struct Suite<Bench: 'static> {
    /// Its name in the rows.
    name: &'static str,
    /// Its rows.
    metrics: &'static [Metric],
    /// Its parts, in the order of the rows.
    parts: &'static [(&'static str, Measure<Bench>)],
    /// Gets ready.
    prepare: fn(&Progress) -> Result<Bench, BenchError>,
}

/// Runs the suite `core` and prints its rows. Gives whether every goal was met that could be measured.
///
/// # Errors
///
/// [`BenchError`] if the images cannot be built or the rows cannot be printed. A part that fails says so in its rows.
pub fn core(json: bool) -> Result<bool, BenchError> {
    run(&core::SUITE, json)
}

/// Runs the suite `bpf`, as [`core()`].
///
/// # Errors
///
/// [`BenchError`] if the programs cannot be compiled or the rows cannot be printed. A part that fails says so in its
/// rows.
pub fn bpf(json: bool) -> Result<bool, BenchError> {
    run(&bpf::SUITE, json)
}

fn run<Bench>(suite: &Suite<Bench>, json: bool) -> Result<bool, BenchError> {
    let progress = Progress::new(suite.parts.len());
    let bench = (suite.prepare)(&progress)?;
    let mut sheet = Sheet::new(suite.metrics);
    let mut out = io::stdout().lock();
    for (part, measure) in suite.parts {
        progress.part(part);
        let result = measure(&bench, &mut sheet, &progress);
        let rows = sheet.close(part, result.err().as_ref());
        progress.clear();
        if json {
            for row in rows {
                writeln!(out, "{}", row.to_json(suite.name)).map_err(BenchError::output)?;
            }
            out.flush().map_err(BenchError::output)?;
        }
    }
    if !json {
        let style = Style::of(&io::stdout());
        out.write_all(report::render(sheet.rows(), style).as_bytes()).map_err(BenchError::output)?;
    }
    Ok(sheet.rows().iter().all(|row| row.met() != Some(false)))
}
