//! What a service is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use super::clients::Clients;
use crate::engine::Engines;

/// What a service is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 finds one.
    pub listen: SocketAddr,
    /// Engines that have to accept what is signed, and that verify by default.
    pub engines: Engines,
    /// Who may have what signed. `None`: everybody, which is refused except on the loopback interface.
    pub clients: Option<Clients>,
    /// What it spends.
    pub limits: Limits,
    /// Whether to write a line for each request to standard error.
    pub log: bool,
}

/// What a service spends at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; each is a thread.
    pub connections: usize,
    /// Bytes of an object.
    pub body_bytes: usize,
    /// Time for a request to arrive, its head and its body each.
    pub request_time: Duration,
    /// Time that a connection may be idle.
    pub idle_time: Duration,
    /// Jobs at a time; each is a thread and a process.
    pub workers: usize,
    /// Jobs that wait.
    pub queue: usize,
    /// Time of one job, on the clock and of the processor.
    pub job_time: Duration,
    /// Instructions that uio's analysis may visit in one program.
    pub job_steps: u64,
    /// Memory of one job.
    pub job_memory_bytes: u64,
    /// Results that are kept, and their bytes.
    pub results: usize,
    /// Bytes of results that are kept.
    pub result_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            // Ten times a large object with debug information.
            body_bytes: 8 << 20,
            request_time: Duration::from_secs(15),
            idle_time: Duration::from_secs(30),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 64,
            // A firewall of 10,000 rules takes PREVAIL 6 s.
            job_time: Duration::from_secs(30),
            job_steps: crate::Options::default().max_steps,
            job_memory_bytes: 2 << 30,
            results: 1024,
            result_bytes: 64 << 20,
        }
    }
}
