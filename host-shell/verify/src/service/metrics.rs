//! Numbers about the service, in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::jobs::Levels;
use crate::lock;
use crate::worker::{JobError, Outcome};

/// Upper bounds of the histogram of job times, in seconds.
const BUCKETS_S: [f64; 9] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

#[derive(Default)]
pub(super) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    jobs: Mutex<Times>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    hits: AtomicU64,
    misses: AtomicU64,
    signed: AtomicU64,
}

#[derive(Default)]
struct Times {
    outcomes: BTreeMap<&'static str, u64>,
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    seconds: f64,
}

impl Metrics {
    /// A request was answered. `route` is one of few.
    pub(super) fn request(&self, route: &'static str, status: u16) {
        *lock(&self.requests).entry((route, status)).or_default() += 1;
    }

    /// A job ended.
    pub(super) fn job(&self, outcome: &Outcome, time: Duration) {
        let outcome = match outcome {
            Ok(verification) if verification.report.accepted => "accepted",
            Ok(_) => "rejected",
            Err(JobError::UnreadableObject { .. }) => "unreadable",
            Err(JobError::OutOfTime { .. }) => "out_of_time",
            Err(JobError::Died { .. } | JobError::NotStarted { .. } | JobError::Stopping) => "failed",
        };
        let seconds = time.as_secs_f64();
        let mut times = lock(&self.jobs);
        *times.outcomes.entry(outcome).or_default() += 1;
        times.count += 1;
        times.seconds += seconds;
        for (bucket, bound) in times.buckets.iter_mut().zip(BUCKETS_S) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// Something was not taken.
    pub(super) fn refuse(&self, why: &'static str) {
        *lock(&self.refused).entry(why).or_default() += 1;
    }

    /// A result was asked for and was there, or not.
    pub(super) fn lookup(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sign(&self) {
        self.signed.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it.
    pub(super) fn render(&self, levels: Levels) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, levels);
        text
    }

    fn write(&self, out: &mut String, levels: Levels) -> std::fmt::Result {
        head(out, "requests_total", "counter", "Requests answered, by path and status.")?;
        for ((path, status), count) in lock(&self.requests).iter() {
            writeln!(out, "uio_verify_requests_total{{path=\"{path}\",status=\"{status}\"}} {count}")?;
        }
        head(out, "refused_total", "counter", "Connections and jobs not taken, by what was full.")?;
        for (why, count) in lock(&self.refused).iter() {
            writeln!(out, "uio_verify_refused_total{{reason=\"{why}\"}} {count}")?;
        }
        let times = lock(&self.jobs);
        head(out, "jobs_total", "counter", "Verifications, by how they ended.")?;
        for (outcome, count) in &times.outcomes {
            writeln!(out, "uio_verify_jobs_total{{outcome=\"{outcome}\"}} {count}")?;
        }
        head(out, "job_seconds", "histogram", "Time of a verification, without waiting.")?;
        for (bound, count) in BUCKETS_S.iter().zip(times.buckets) {
            writeln!(out, "uio_verify_job_seconds_bucket{{le=\"{bound}\"}} {count}")?;
        }
        writeln!(out, "uio_verify_job_seconds_bucket{{le=\"+Inf\"}} {}", times.count)?;
        writeln!(out, "uio_verify_job_seconds_sum {}", times.seconds)?;
        writeln!(out, "uio_verify_job_seconds_count {}", times.count)?;
        drop(times);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("cache_hits_total", "counter", "Answers that were there.", load(&self.hits)),
            ("cache_misses_total", "counter", "Answers that had to be found.", load(&self.misses)),
            ("signed_total", "counter", "Certificates signed.", load(&self.signed)),
            ("cache_entries", "gauge", "Results kept.", levels.results as u64),
            ("cache_bytes", "gauge", "Bytes of results kept.", levels.result_bytes as u64),
            ("queue_length", "gauge", "Jobs that wait.", levels.queued as u64),
            ("running", "gauge", "Jobs that run.", levels.running as u64),
        ] {
            head(out, name, kind, help)?;
            writeln!(out, "uio_verify_{name} {value}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP uio_verify_{name} {help}\n# TYPE uio_verify_{name} {kind}")
}
