//! Proof-carrying eBPF: the host's analysis finds out why a program is safe and writes it down; the guest's check
//! walks program and proof once and believes nothing else.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod certificate;
