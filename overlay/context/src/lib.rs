//! The overlay thread of the guest: sessions, requests, events, and the lifecycle of what is loaded.
//!
//! It reaches the kernel only through the traits of [`platform`], so that all of it runs in a Linux
//! process too, where it is tested.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod heap;
pub mod platform;
