//! What helpers need from whoever runs programs: the guest's kernel, or a process in tests and benchmarks.

/// Bytes of a task's name, the closing zero included, as in Linux.
pub const TASK_NAME_BYTES: usize = 16;

/// Who runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Number of the process; a guest is one process.
    pub process: u32,
    /// Number of the thread.
    pub thread: u32,
    /// Its name, filled up with zeros, the last byte always zero.
    pub name: [u8; TASK_NAME_BYTES],
}

/// Why memory was not read: some byte of it is not mapped, or not for programs to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFault;

/// The world as programs see it. Programs call these from any place that a probe or a timer can interrupt, so
/// nothing here waits or allocates.
pub trait Services: Sync {
    /// Nanoseconds since boot.
    fn now_ns(&self) -> u64;

    /// A random number. Good enough for sampling, not for keys.
    fn random_u32(&self) -> u32;

    /// Who runs.
    fn task(&self) -> Task;

    /// Takes a line of trace output, without a line end. Drops it if there is no room.
    fn trace(&self, text: &[u8]);

    /// Takes text for the shell that runs this program. Drops what has no room.
    fn output(&self, text: &[u8]);

    /// Copies the guest's memory at `address`, all of it or nothing: any address may be asked for.
    ///
    /// # Errors
    ///
    /// [`ReadFault`] if some byte may not be read; `destination` then holds anything.
    fn read_memory(&self, address: u64, destination: &mut [u8]) -> Result<(), ReadFault>;

    /// Addresses of the functions that led to `registers`, innermost first, into `frames`; how many. The first is
    /// where the registers are.
    fn stack(&self, registers: &crate::context::TracingContext, frames: &mut [u64]) -> usize;

    /// Address of the guest's symbol `name`.
    fn symbol(&self, name: &[u8]) -> Option<u64>;
}
