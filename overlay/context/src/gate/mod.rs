//! Gates: what loaded code may call in the guest, and what is checked before it does.
//!
//! A gate is an [`Export`]: a name that extensions link to, a safe function that serves it, and the
//! contracts of its pointer arguments. The function runs on the run's kernel stack with all of memory
//! open, so it never turns an argument into a reference: it copies in and out through
//! [`GateCall::read`] and [`GateCall::write`], which check whose memory it is at the moment of the copy.

pub(crate) mod api;
mod contract;
pub(crate) mod dispatch;
mod files;
mod inspect;
mod memory;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::{ExtensionId, ThreadId};
use uio_protocol::rpc::RunId;

use crate::platform::{Interrupted, PAGE_BYTES, Platform};
use crate::shared::Shared;

pub use contract::{Length, Pointer, PointerAccess};

/// Something that extensions may call by name.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// Linkage name.
    pub name: &'static str,
    /// C prototype, for help and for the header.
    pub prototype: &'static str,
    /// What serves it.
    pub function: GateFunction,
    /// Which arguments are pointers, and to what. They are checked before `function` is called.
    pub pointers: &'static [Pointer],
}

impl Export {
    /// Address of the function that serves it.
    #[must_use]
    pub fn address(&self) -> GuestAddress {
        GuestAddress(self.function as usize as u64)
    }
}

/// Serves a gate. Its value goes back in `rax`.
///
/// # Errors
///
/// [`GateError`] ends the run; everything the function owns is dropped before.
pub type GateFunction = fn(&GateCall<'_>) -> Result<u64, GateError>;

/// Why a gate does not return to the code that called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateError {
    /// The code did what ends it.
    End(Box<Cause>),
    /// The run shall end, and the kernel knows why.
    Interrupted,
}

impl From<Interrupted> for GateError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// The error for an argument that breaks the gate's contract.
#[must_use]
pub fn violation(argument: u8, reason: &str) -> GateError {
    GateError::End(Box::new(Cause::Gate { argument: Some(argument), reason: reason.to_string() }))
}

/// One call through a gate.
pub struct GateCall<'a> {
    shared: &'a Shared,
    run: RunId,
    thread: ThreadId,
    caller: Option<ExtensionId>,
    arguments: [u64; 6],
}

impl GateCall<'_> {
    /// The kernel.
    #[must_use]
    pub fn platform(&self) -> &'static dyn Platform {
        self.shared.platform
    }

    /// The extension that called; `None` for the guest's own code.
    #[must_use]
    pub fn caller(&self) -> Option<ExtensionId> {
        self.caller
    }

    /// Integer arguments as the System V ABI passes them: what the caller did not set is garbage.
    #[must_use]
    pub fn arguments(&self) -> [u64; 6] {
        self.arguments
    }

    /// Reads memory for the caller: all that is mapped, as policy lets domains read.
    ///
    /// # Errors
    ///
    /// A violation of `argument`'s contract if some of it is not mapped.
    pub fn read(&self, argument: u8, address: GuestAddress, buffer: &mut [u8]) -> Result<(), GateError> {
        self.platform()
            .read_memory(address, buffer)
            .map_err(|bad| violation(argument, &alloc::format!("{bad} is not mapped")))
    }

    /// Writes memory for the caller: only what it could write itself, its own or the exchange pages.
    ///
    /// # Errors
    ///
    /// A violation of `argument`'s contract if some of it is not the caller's.
    pub fn write(&self, argument: u8, address: GuestAddress, bytes: &[u8]) -> Result<(), GateError> {
        self.require_writable(argument, address, bytes.len() as u64)?;
        self.platform()
            .write_memory(address, bytes)
            .map_err(|bad| violation(argument, &alloc::format!("{bad} is not writable")))
    }

    /// Reads a string that ends with a NUL, of at most `bytes_max` bytes before it.
    ///
    /// # Errors
    ///
    /// A violation of `argument`'s contract if it runs into unmapped memory, is longer, or is not UTF-8.
    pub fn read_string(
        &self,
        argument: u8,
        address: GuestAddress,
        bytes_max: usize,
    ) -> Result<String, GateError> {
        let mut bytes = Vec::new();
        let mut position = address;
        while bytes.len() <= bytes_max {
            // Up to the end of a page and no further: the next one may not be mapped.
            let piece = (PAGE_BYTES - position.0 % PAGE_BYTES).min((bytes_max + 1 - bytes.len()) as u64);
            let mut buffer = vec![0; piece as usize];
            self.read(argument, position, &mut buffer)?;
            if let Some(end) = buffer.iter().position(|&byte| byte == 0) {
                bytes.extend_from_slice(&buffer[..end]);
                return String::from_utf8(bytes).map_err(|_| violation(argument, "not UTF-8"));
            }
            bytes.extend_from_slice(&buffer);
            position = position.checked_add(piece).ok_or_else(|| violation(argument, "wraps around"))?;
        }
        Err(violation(argument, &alloc::format!("no NUL within {bytes_max} bytes")))
    }

    /// Whether the caller could write there itself.
    pub(crate) fn may_write(&self, address: GuestAddress, length: u64) -> bool {
        let owned = self.shared.with(|state| {
            let exchange = state.run_mut(self.run).and_then(|run| run.exchange);
            let in_exchange = exchange.is_some_and(|(start, pages)| {
                let bytes = u64::from(pages) * PAGE_BYTES;
                crate::shared::Range { start, bytes, writable: true }.contains(address, length)
            });
            let domain = self.caller.and_then(|caller| state.domains.get(&caller));
            in_exchange || domain.is_some_and(|domain| domain.owns(address, length, true))
        });
        owned || self.caller.is_none()
    }

    fn require_writable(&self, argument: u8, address: GuestAddress, length: u64) -> Result<(), GateError> {
        if self.may_write(address, length) {
            return Ok(());
        }
        let owner = self.platform().owner(address).unwrap_or_else(|| "nobody".to_string());
        let reason = alloc::format!("{length} bytes at {address} are not the caller's to write: {owner}'s");
        Err(violation(argument, &reason))
    }
}
