//! How fast the guest answers a request, each of which carries a marker of its own.

use std::time::{Duration, Instant};

use uio_protocol::GuestAddress;

use super::guest::Kept;
use super::images::{open, symbol};
use super::metrics;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::bench::statistics::Samples;
use crate::client::Client;

/// Requests of each kind.
const REQUESTS: usize = 2_000;
/// Requests before the measured ones, which translate the guest's code.
const WARM_UP: usize = 200;
/// The application's pause between two pieces of work, in nanoseconds: zero makes it work all the time.
const PERIOD: &str = "period_ns";
/// After this the busy application has been measured enough, however few requests were answered.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Spreads the markers over all bits, so that no old answer looks like a new one (the golden ratio).
const MARKER_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let image = &bench.images.with;
    let (period, _) = symbol(&open(image)?, image, PERIOD)?;
    let guest = Kept::start(bench, "roundtrip", None)?;
    let client = guest.connect()?;
    let mut markers = 0_u64;
    let through = format!(
        "`Ping` with a unique marker, checked in the reply, through `uio-shell run`'s socket; \
        guest under {}",
        bench.accel.name()
    );
    for (busy, p50, p99) in
        [(false, metrics::IDLE_P50, metrics::IDLE_P99), (true, metrics::BUSY_P50, metrics::BUSY_P99)]
    {
        let state = if busy { "busy" } else { "idle" };
        if busy {
            client.poke(GuestAddress(period), &0_u64.to_le_bytes())?;
        }
        ask(&client, &mut markers, if busy { 1 } else { WARM_UP }, |_| {})?;
        let times = ask(&client, &mut markers, REQUESTS, |count| {
            progress.step(format_args!("application {state}, request {count} of {REQUESTS}"));
        })?;
        let samples = Samples::micros(&times);
        let method = format!(
            "{} requests, {through}; application {}; minimum {:.0}, maximum {:.0} µs",
            samples.len(),
            if busy {
                "never sleeps: it has priority, and requests get short turns, a tenth of the CPU at most"
            } else {
                "works a few microseconds each millisecond"
            },
            samples.min().unwrap_or_default(),
            samples.max().unwrap_or_default(),
        );
        sheet.set(p50, samples.percentile(50), &*method);
        sheet.set(p99, samples.percentile(99), method);
    }
    Ok(())
}

/// Sends `count` requests one after the other.
fn ask(
    client: &Client,
    markers: &mut u64,
    count: usize,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Duration>, BenchError> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(count);
    while times.len() < count && begun.elapsed() < TIME_LIMIT {
        if times.len().is_multiple_of(50) {
            progress(times.len());
        }
        *markers = markers.wrapping_add(MARKER_STEP);
        let sent = Instant::now();
        let answer = client.ping(*markers)?;
        times.push(sent.elapsed());
        if answer != *markers {
            let found = format!("marker {answer:#x} for {:#x}", *markers);
            return Err(BenchError::Malformed { what: "the reply to a ping", found });
        }
    }
    Ok(times)
}
