//! The verification service: HTTP in front of a queue in front of workers.
//!
//! ```text
//! connection threads ── submit, wait ──► Jobs (queue, results) ◄── take, finish ── worker threads ── Runner
//! ```
//!
//! Everything is bounded: connections, bytes and time of a request, jobs that wait, time and memory of a job, results
//! that are kept. docs/guide/verification.md describes the API.

mod api;
mod cache;
mod clients;
mod config;
mod connection;
mod error;
mod jobs;
mod metrics;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

pub use clients::{BadClients, Clients};
pub use config::{Config, Limits};
pub use error::{ApiError, ServiceError};

use crate::lock;
use crate::worker::Runner;
use jobs::Jobs;
use metrics::Metrics;

/// A service that listens, but does not answer yet.
pub struct Service {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all threads of a service know.
struct Shared {
    config: Config,
    key: Option<SigningKey>,
    runner: Box<dyn Runner>,
    jobs: Jobs,
    metrics: Metrics,
    stopping: AtomicBool,
    address: SocketAddr,
    /// Connections, to be woken when the service stops.
    connections: Mutex<HashMap<u64, TcpStream>>,
}

/// Stops a service from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Service {
    /// Listens at the configured address.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or the service would sign for anybody on the network.
    pub fn bind(
        config: Config,
        key: Option<SigningKey>,
        runner: Box<dyn Runner>,
    ) -> Result<Self, ServiceError> {
        if key.is_some() && config.clients.is_none() && !config.listen.ip().is_loopback() {
            return Err(ServiceError::OpenSigning { address: config.listen });
        }
        let unavailable = |error| ServiceError::Listen { address: config.listen, error };
        let listener = TcpListener::bind(config.listen).map_err(unavailable)?;
        let address = listener.local_addr().map_err(unavailable)?;
        let jobs = Jobs::new(&config.limits);
        let shared = Shared {
            config,
            key,
            runner,
            jobs,
            metrics: Metrics::default(),
            stopping: AtomicBool::new(false),
            address,
            connections: Mutex::default(),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens; with the port that was found for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Something to stop it with.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Answers until it is stopped. Then it takes no more connections and jobs, finishes what runs, answers what waits,
    /// and returns.
    ///
    /// # Errors
    ///
    /// Threads cannot be started.
    pub fn run(self) -> Result<(), ServiceError> {
        let Self { listener, shared } = self;
        let workers = (0..shared.config.limits.workers)
            .map(|index| {
                let shared = Arc::clone(&shared);
                thread::Builder::new().name(format!("verify-{index}")).spawn(move || shared.work())
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(ServiceError::Thread)?;
        let connections = shared.accept(&listener);
        // Refuses new connections from now on.
        drop(listener);
        shared.jobs.stop();
        for stream in lock(&shared.connections).values() {
            // Ends waiting for a next request; answers can still be written.
            let _ = stream.shutdown(Shutdown::Read);
        }
        for thread in workers.into_iter().chain(connections) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Stopper {
    /// Stops the service; returns at once, while it finishes.
    pub fn stop(&self) {
        if !self.0.stopping.swap(true, Ordering::SeqCst) {
            // Wakes the thread that waits for connections.
            let _ = TcpStream::connect_timeout(&self.0.address, Duration::from_secs(1));
        }
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// One worker: does jobs until there are none and none will come.
    fn work(&self) {
        while let Some((id, job)) = self.jobs.take() {
            let start = Instant::now();
            let outcome = self.runner.run(&job, self.config.limits.job_time);
            self.metrics.job(&outcome, start.elapsed());
            self.jobs.finish(id, outcome);
        }
    }

    /// Takes connections until the service stops. The threads that still run then.
    fn accept(self: &Arc<Self>, listener: &TcpListener) -> Vec<JoinHandle<()>> {
        /// How long to wait after the system refused a connection: out of descriptors, mostly.
        const PAUSE: Duration = Duration::from_millis(50);
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for number in 0.. {
            let accepted = listener.accept();
            if self.is_stopping() {
                break;
            }
            threads.retain(|thread| !thread.is_finished());
            let Ok((stream, _)) = accepted else {
                thread::sleep(PAUSE);
                continue;
            };
            if threads.len() >= self.config.limits.connections {
                self.metrics.refuse("connections");
                connection::turn_away(stream);
                continue;
            }
            let Ok(copy) = stream.try_clone() else { continue };
            lock(&self.connections).insert(number, copy);
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("verify-http".into()).spawn(move || {
                shared.serve(stream);
                lock(&shared.connections).remove(&number);
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(_) => {
                    lock(&self.connections).remove(&number);
                }
            }
        }
        threads
    }
}
