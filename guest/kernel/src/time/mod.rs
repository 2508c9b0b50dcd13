//! Time since boot, from the time-stamp counter.

pub mod clock;
mod kvmclock;
pub mod timer;

pub use clock::now_ns;
