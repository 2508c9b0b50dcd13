//! Nanoseconds a run, and microseconds to compile.
fn main() {}
