//! The 9P file system and its client: against a server in memory that behaves ([`behaviour`]) or
//! lies ([`hostile`]), and against a server of other people ([`peer`]).

mod behaviour;
mod hostile;
mod link;
mod peer;
mod qemu;
mod server;

use std::sync::Arc;

use link::Link;
use uio_files::ninep::client::{AttachOptions, Client};
use uio_files::ninep::fs::NinePFileSystem;
use uio_files::path::AbsolutePath;

type Raw = parking_lot::RawMutex;
type Files = NinePFileSystem<Arc<Link>, Raw>;

/// A path, normalised.
fn at(path: &str) -> AbsolutePath {
    AbsolutePath::normalise(path).unwrap()
}

/// A link to a new server, and a file system over it.
fn connected() -> (Arc<Link>, Files) {
    let link = Arc::new(Link::default());
    let files = Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
    (link, files)
}

/// A client on a new server.
fn client() -> (Arc<Link>, Client<Arc<Link>, Raw>) {
    let link = Arc::new(Link::default());
    let client = Client::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
    (link, client)
}
