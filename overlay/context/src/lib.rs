//! The overlay thread of the guest: sessions, requests, events, and the lifecycle of what is loaded.
//!
//! It reaches the kernel only through the traits of [`platform`], so that all of it runs in a Linux
//! process too, where it is tested.
//!
//! The kernel calls [`Overlay::new`] once and [`Overlay::run`] on a thread of its own; what extensions
//! may call in the guest besides the overlay's own functions is a table of [`Export`]s that the image
//! passes. Loaded code runs on supervised threads ([`platform::Threads::spawn`]), and comes back
//! through [`gate_entry`].
#![no_std]
// Those modules are exempt that enter loaded code, see `enter` and `bpf::run`, and helpers.
#![deny(unsafe_code)]

extern crate alloc;

mod bpf;
mod enter;
mod events;
mod extensions;
mod files;
pub mod gate;
pub mod heap;
mod load;
mod operations;
mod overlay;
mod paging;
pub mod platform;
mod requests;
mod resolver;
mod runs;
mod session;
mod shared;
mod stacks;
mod table;
mod upload;

pub use enter::gate_entry;
pub use gate::Export;
pub use overlay::Overlay;
