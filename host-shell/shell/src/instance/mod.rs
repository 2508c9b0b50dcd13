//! Running guests: where they leave their sockets and what they say about themselves.
//!
//! Each instance has a folder in the run directory, with its keeper's lock, state and sockets. An
//! instance is alive while its keeper holds the lock; nothing else (a pid, a file) is trusted.

mod directory;
mod state;

pub use directory::{RunDirectory, RunDirectoryError};
pub use state::{Instance, InstanceError, InstanceLock, State, Status, find, list, valid_name};
