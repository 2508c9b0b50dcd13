//! eBPF: instruction set, helpers, maps, interpreter and JIT.
//!
//! Runs in the guest and, for tests and benchmarks, natively in a Linux process. Safety is not decided here:
//! `uio-verifier` checks a program against its proof before anything of it runs.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod context;
pub mod helper;
pub mod instruction;
pub mod interpreter;
pub mod invocation;
#[cfg(target_arch = "x86_64")]
pub mod jit;
pub mod map;
pub mod program;
pub mod services;
