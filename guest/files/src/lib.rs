//! The guest's file tree.
//!
//! A [`mounts::MountTable`] joins file systems that implement [`filesystem::FileSystem`]: a
//! [`ramfs::RamFs`] at `/`, filled from the initrd by [`cpio`], and a host directory at `/host`
//! over 9P2000.L ([`ninep`]). Nothing here touches a device or a thread: the kernel supplies the
//! lock (a `lock_api` raw mutex) and the 9P transport, and host tests supply their own.
//!
//! # Locks
//!
//! Each structure has its own lock, and no code of this crate takes a second one while it holds a
//! first. No lock is held while a 9P exchange is under way. [`ramfs::RamFs`] copies file contents
//! under its lock, so that lock should let other threads run (a sleeping mutex), and none of these
//! functions may be called from an interrupt handler.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cpio;
pub mod errno;
pub mod filesystem;
pub mod mounts;
pub mod ninep;
pub mod path;
pub mod ramfs;
