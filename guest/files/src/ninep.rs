//! Files of another machine over 9P2000.L.
//!
//! [`wire`] is the messages, for clients and servers; [`transport`] is what carries them (the
//! kernel's virtio-9p device, a byte channel, a test); [`client`] is a session with fids and tags;
//! [`fs`] makes a [`FileSystem`](crate::filesystem::FileSystem) of it.
//!
//! The protocol is 9P2000 (Plan 9 manual, section 5) with the Linux dialect's messages
//! (<https://github.com/chaos/diod/blob/master/protocol.md>). The server is not trusted: every
//! reply is checked against the request and its buffers, and work for one call is bounded.

mod cache;
pub mod client;
mod directory;
pub mod error;
pub mod exercise;
mod fid;
pub mod fs;
mod numbers;
mod open_file;
mod readahead;
mod session;
mod transfer;
pub mod transport;
pub mod wire;
