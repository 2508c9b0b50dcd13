//! What programs ask of the machine that runs them.

/// Clock, randomness, output and careful reads. The guest gives them, or a test.
pub trait Services: Sync {
    /// Nanoseconds since boot; never goes back.
    fn clock_ns(&self) -> u64;
}
