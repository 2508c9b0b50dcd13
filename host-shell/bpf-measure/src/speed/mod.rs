//! Engines in turns over the same packets.
//!
//! A contestant has its own maps and its own ring of inputs, prepared before the clock starts; a run is a call of the
//! engine with the next input and nothing else. Rounds of all contestants alternate, so that a slow moment hits all of
//! them.

mod compile;
mod race;
mod timing;

pub use race::{Contestant, Times, floor, race};
pub use timing::{fastest_of, median_of};
