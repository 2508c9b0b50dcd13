//! From an object on the host to its result: parse, upload, link, run.

use std::time::{Duration, Instant};

use uio_protocol::fault::Outcome;
use uio_protocol::inspect::{ExtensionId, Isolation};

use super::guest::Kept;
use super::metrics;
use super::workbench::Workbench;
use crate::bench::compiler;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::bench::statistics::Samples;
use crate::client::{Client, RunEnd, RunEvent};

/// Loads that are measured.
const LOADS: usize = 40;
/// Loads before them.
const WARM_UP: usize = 3;
/// What the extension returns if it was linked right.
const RESULT: i64 = 5;
/// How long a run may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// CPU time that a run may use, in milliseconds.
const BUDGET_MS: u32 = 1_000;

/// What one load took.
struct Times {
    whole: Duration,
    link: Duration,
    run: Duration,
}

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let object = compiler::extension(&bench.folder, "sample", include_str!("sample.c"))?;
    let guest = Kept::start(bench, "load", None)?;
    let client = guest.connect()?;
    let (mut whole, mut link, mut run) = (Vec::new(), Vec::new(), Vec::new());
    for load in 0..WARM_UP + LOADS {
        progress.step(format_args!("load {load} of {}", WARM_UP + LOADS));
        let times = load_once(&client, &object)?;
        if load >= WARM_UP {
            whole.push(times.whole);
            link.push(times.link);
            run.push(times.run);
        }
    }
    let (whole, link, run) = (Samples::millis(&whole), Samples::millis(&link), Samples::millis(&run));
    let median = |samples: &Samples| samples.median().unwrap_or_default();
    let method = format!(
        "{LOADS} times from the object's {} bytes in the shell's memory to its `main`'s result, in a protection domain, \
         then unload; minimum {:.2} ms; of the median {:.2} ms are place and link, {:.2} ms run; guest under {}",
        object.len(),
        whole.min().unwrap_or_default(),
        median(&link),
        median(&run),
        bench.accel.name(),
    );
    sheet.set(metrics::LOAD_P50, whole.median(), method);
    Ok(())
}

fn load_once(client: &Client, object: &[u8]) -> Result<Times, BenchError> {
    let begun = Instant::now();
    let extension = load(client, object, "sample")?;
    let linked = Instant::now();
    let end = run(client, extension, vec!["sample".to_owned()], BUDGET_MS, TIMEOUT, |_| {})?;
    let ended = Instant::now();
    if end.outcome != Outcome::Returned(RESULT) {
        return Err(BenchError::Malformed {
            what: "the extension's result",
            found: format!("{:?}", end.outcome),
        });
    }
    client.unload(extension)?;
    Ok(Times { whole: ended - begun, link: linked - begun, run: ended - linked })
}

/// Loads an object into a domain of its own.
pub(super) fn load(client: &Client, object: &[u8], name: &str) -> Result<ExtensionId, BenchError> {
    let parsed = uio_objects::parse(object, name)
        .map_err(|error| BenchError::Malformed { what: "the object", found: error.to_string() })?;
    let bytes = postcard::to_allocvec(&parsed.image)
        .map_err(|error| BenchError::Malformed { what: "the object", found: error.to_string() })?;
    let upload = client.upload(&bytes)?;
    Ok(client.load(upload, Isolation::Mpk, client.welcome().build_id)?.id)
}

/// Runs `main` to its end; `output` gets what it prints.
pub(super) fn run(
    client: &Client,
    extension: ExtensionId,
    arguments: Vec<String>,
    budget_ms: u32,
    timeout: Duration,
    mut output: impl FnMut(&[u8]),
) -> Result<RunEnd, BenchError> {
    let run = client.run(extension, arguments, budget_ms)?;
    let mut events = client.run_events(run);
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.next(left)? {
            Some(RunEvent::Output(bytes)) => output(&bytes),
            Some(RunEvent::Tested(_)) => {}
            Some(RunEvent::Ended(end)) => return Ok(end),
            None => {
                return Err(BenchError::Timeout {
                    what: "end of the run".into(),
                    after: timeout,
                    log: String::new(),
                });
            }
        }
    }
}
