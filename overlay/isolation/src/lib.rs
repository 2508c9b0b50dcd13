//! Protection domains and the gates between them.
//!
//! Loaded code runs on its own stack with a register ([`pkru`]) that denies writes to every page whose
//! key is not its own. The only ways in and out are [`gate::enter`] and the stubs that [`gate::stub`]
//! makes, and both put the register back. [`scan`] finds code that could write the register itself.
//!
//! The same code runs in ring 0 of the guest under PKU, there under PKS, and in a Linux process under
//! PKU; [`backend`] says which. Without either, gates still switch stacks and keep the books.
#![no_std]

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
compile_error!("protection keys and the gates' assembly are x86-64 only");

#[cfg(feature = "measure")]
extern crate std;

pub mod backend;
pub mod domain;
pub mod gate;
pub mod keys;
#[cfg(feature = "measure")]
pub mod measure;
pub mod pkru;
pub mod scan;
