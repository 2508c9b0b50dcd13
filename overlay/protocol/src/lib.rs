//! Every message and format that crosses a boundary between the shell and a guest.
//!
//! The link is one byte stream (virtio-console). [`frame`] cuts it into frames that survive a
//! writer that dies in the middle of one; [`rpc`] and [`event`] are what the frames carry;
//! [`image`] is the typed form of a native extension, which the host makes from an ELF object and
//! the guest links; [`bpf`] that of an eBPF object; [`limits`] bounds all of it. The byte layout is described in
//! `docs/protocol.md`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod bpf;
mod checksum;
pub mod error;
pub mod event;
pub mod fault;
pub mod frame;
pub mod image;
pub mod inspect;
pub mod limits;
pub mod maps;
pub mod message;
pub mod programs;
pub mod rpc;

pub use address::GuestAddress;

/// Identifies the exact set of messages both sides were built with.
///
/// postcard has no schema evolution, so the first exchange compares this number: it is a hash
/// (FNV-1a) of the source text that defines the messages, and any edit there changes it.
pub const PROTOCOL_HASH: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = fnv1a(hash, include_bytes!("address.rs"));
    hash = fnv1a(hash, include_bytes!("bpf.rs"));
    hash = fnv1a(hash, include_bytes!("error.rs"));
    hash = fnv1a(hash, include_bytes!("event.rs"));
    hash = fnv1a(hash, include_bytes!("fault.rs"));
    hash = fnv1a(hash, include_bytes!("frame.rs"));
    hash = fnv1a(hash, include_bytes!("image.rs"));
    hash = fnv1a(hash, include_bytes!("inspect.rs"));
    hash = fnv1a(hash, include_bytes!("maps.rs"));
    hash = fnv1a(hash, include_bytes!("programs.rs"));
    fnv1a(hash, include_bytes!("rpc.rs"))
};

const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash ^= bytes[index] as u64;
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash
}
