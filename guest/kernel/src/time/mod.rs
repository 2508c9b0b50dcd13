//! Time since boot, from the time-stamp counter; the time of day.

pub mod clock;
mod kvmclock;
pub mod timer;
pub mod wall;

pub use clock::now_ns;
