//! Contracts of pointer arguments.

use uio_protocol::GuestAddress;

use super::{GateCall, GateError, violation};

/// What a pointer argument of a gate has to point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Index of the argument, from 0.
    pub argument: u8,
    /// What the gate does with the memory.
    pub access: PointerAccess,
    /// How much of it.
    pub length: Length,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What a gate does with memory that it is pointed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerAccess {
    /// Reads it: anything mapped will do.
    Read,
    /// Writes it: it has to be the caller's.
    Write,
}

/// How many bytes a pointer argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// This many.
    Bytes(u64),
    /// As many elements as another argument says.
    Count {
        /// Index of that argument, from 0.
        argument: u8,
        /// Bytes of an element.
        element_bytes: u64,
    },
    /// Up to a NUL. Checked while it is read, see [`GateCall::read_string`].
    CString,
}

impl Pointer {
    /// Memory of `count` elements that the gate reads.
    #[must_use]
    pub const fn read(argument: u8, count: u8, element_bytes: u64) -> Self {
        let length = Length::Count { argument: count, element_bytes };
        Self { argument, access: PointerAccess::Read, length, nullable: false }
    }

    /// Memory of `count` elements that the gate writes.
    #[must_use]
    pub const fn write(argument: u8, count: u8, element_bytes: u64) -> Self {
        let length = Length::Count { argument: count, element_bytes };
        Self { argument, access: PointerAccess::Write, length, nullable: false }
    }

    /// A string.
    #[must_use]
    pub const fn string(argument: u8) -> Self {
        Self { argument, access: PointerAccess::Read, length: Length::CString, nullable: false }
    }

    /// Checks the argument of a call.
    pub(super) fn check(&self, call: &GateCall<'_>) -> Result<(), GateError> {
        let arguments = call.arguments();
        let value = |index: u8| arguments.get(usize::from(index)).copied().unwrap_or(0);
        let address = GuestAddress(value(self.argument));
        if address.0 == 0 && self.nullable {
            return Ok(());
        }
        let length = match self.length {
            Length::Bytes(bytes) => bytes,
            Length::CString => 1,
            Length::Count { argument, element_bytes } => value(argument)
                .checked_mul(element_bytes)
                .ok_or_else(|| violation(argument, "the size overflows"))?,
        };
        if length == 0 {
            return Ok(());
        }
        if address.0 == 0 {
            return Err(violation(self.argument, "null"));
        }
        if address.checked_add(length).is_none() {
            return Err(violation(self.argument, "the range passes the end of the address space"));
        }
        match self.access {
            PointerAccess::Write => call.require_writable(self.argument, address, length),
            PointerAccess::Read => call
                .platform()
                .check(address, length, false)
                .map_err(|bad| violation(self.argument, &alloc::format!("{bad} is not mapped"))),
        }
    }
}
