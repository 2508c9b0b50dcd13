//! `uio-shell bench`: measures what the project claims, on this machine, beside what others have published.
//!
//! Guests are started and measured as a person would start them. Wall times are minima or medians of interleaved
//! runs, because hosts are noisy; whatever instructions can say is counted in instructions.

mod attach;
mod boot;
mod compiler;
mod counter;
mod error;
mod footprint;
mod gate;
mod guest;
mod images;
mod load;
mod memory;
mod metrics;
mod ninep;
mod overhead;
mod peers;
mod progress;
mod pty;
mod report;
mod roundtrip;
mod sheet;
mod size;
mod statistics;
mod workbench;

use std::io::{self, Write};

pub use error::BenchError;

use crate::render::style::Style;
use progress::Progress;
use sheet::Sheet;
use workbench::Workbench;

/// Name of the suite in the rows.
const SUITE: &str = "core";

type Measure = fn(&Workbench, &mut Sheet, &Progress) -> Result<(), BenchError>;

/// The parts of the suite, in the order of the rows.
const PARTS: [(&str, Measure); 8] = [
    (metrics::OVERHEAD, overhead::measure),
    (metrics::FOOTPRINT, footprint::measure),
    (metrics::ATTACH, attach::measure),
    (metrics::ROUNDTRIP, roundtrip::measure),
    (metrics::LOAD, load::measure),
    (metrics::GATE, gate::measure),
    (metrics::NINEP, ninep::measure),
    (metrics::BOOT, boot::measure),
];

/// Runs the suite `core` and prints its rows. Gives whether every goal was met that could be measured.
///
/// # Errors
///
/// [`BenchError`] if the images cannot be built or the rows cannot be printed. A part that fails says so in its rows.
pub fn core(json: bool) -> Result<bool, BenchError> {
    let progress = Progress::new(PARTS.len());
    let bench = Workbench::new(&progress)?;
    let mut sheet = Sheet::new();
    let mut out = io::stdout().lock();
    for (part, measure) in PARTS {
        progress.part(part);
        let result = measure(&bench, &mut sheet, &progress);
        let rows = sheet.close(part, result.err().as_ref());
        progress.clear();
        if json {
            for row in rows {
                writeln!(out, "{}", row.to_json(SUITE)).map_err(BenchError::output)?;
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
