//! Times of single actions.

use std::time::{Duration, Instant};

/// The shortest time of `times` actions. What `action` returns is dropped after the clock is read.
pub fn fastest_of<T>(times: usize, mut action: impl FnMut() -> T) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        let result = action();
        let time = start.elapsed();
        drop(result);
        time
    };
    (0..times.max(1)).map(timed).min().unwrap_or_default()
}

/// The median time of `times` actions.
pub fn median_of<T>(times: usize, mut action: impl FnMut() -> T) -> Duration {
    let mut all: Vec<Duration> = (0..times.max(1)).map(|_| fastest_of(1, &mut action)).collect();
    all.sort_unstable();
    all[all.len() / 2]
}
