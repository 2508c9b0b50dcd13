//! An application that computes all the time.

use std::time::{Duration, Instant};

use uio_tests::counter::{Counter, assert_pace};
use uio_tests::guest::Guest;

/// Rest between two requests: longer than the kernel makes a thread wait that has just had its turn.
const REST: Duration = Duration::from_millis(30);
/// Requests of one measurement.
const PINGS: usize = 40;
/// Answers come within half a millisecond on an idle machine; after ten if the overlay had to starve first.
const ANSWER_MEDIAN_MAX: Duration = Duration::from_millis(5);
const TRIES: usize = 5;
/// Of the pace of a busy application while requests come one after the other: nine tenths and what switching costs.
const BUSY_PACE_LEFT_MIN: f64 = 0.75;

/// An application that computes all the time is asked for a short turn when a request arrives, and keeps nearly all of
/// the processor under a flood of requests.
#[test]
fn a_busy_application_lets_requests_in() {
    let guest = Guest::start(&["--net", "none"]);
    let client = guest.client();
    let counter = Counter::of(&guest);
    let _ = guest.say(&["set period_ns 0"]);
    let median = || {
        let mut times: Vec<Duration> = (0..PINGS as u64)
            .map(|marker| {
                std::thread::sleep(REST);
                let sent = Instant::now();
                assert_eq!(client.ping(marker).expect("an answer"), marker);
                sent.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[PINGS / 2]
    };
    // The machine may be busy with other things now and then.
    let medians: Vec<Duration> =
        (0..TRIES).map(|_| median()).take_while(|time| *time > ANSWER_MEDIAN_MAX).collect();
    assert!(medians.len() < TRIES, "requests wait for {medians:?}");

    let second = Duration::from_secs(1);
    assert_pace(
        "requests",
        BUSY_PACE_LEFT_MIN,
        || counter.pace(|| std::thread::sleep(second)),
        || {
            counter.pace(|| {
                let start = Instant::now();
                while start.elapsed() < second {
                    let _ = client.ping(1).expect("an answer");
                }
            })
        },
    );
}
