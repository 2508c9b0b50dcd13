//! A 9P2000.L server in memory, and transports to it, for tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

pub mod link;
pub mod server;

use std::sync::Arc;

use uio_files::ninep::client::{AttachOptions, Client};
use uio_files::ninep::fs::NinePFileSystem;
use uio_files::path::AbsolutePath;

pub use link::Link;

pub type Raw = parking_lot::RawMutex;
pub type Files = NinePFileSystem<Arc<Link>, Raw>;

/// A path, normalised.
pub fn at(path: &str) -> AbsolutePath {
    AbsolutePath::normalise(path).unwrap()
}

/// A link to a new server, and a file system over it.
pub fn connected() -> (Arc<Link>, Files) {
    let link = Arc::new(Link::default());
    let files = Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
    (link, files)
}

/// A client on a new server.
pub fn client() -> (Arc<Link>, Client<Arc<Link>, Raw>) {
    let link = Arc::new(Link::default());
    let client = Client::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
    (link, client)
}
