//! Where the symbols that an image does not define come from.

use alloc::string::String;

use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::inspect::ExtensionId;

/// Bytes of a gate stub: room for loading two 64-bit constants and a jump.
pub const STUB_BYTES_MAX: usize = 32;

/// Position-independent code that the linker places in the extension's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StubBytes {
    bytes: [u8; STUB_BYTES_MAX],
    length: u8,
}

impl StubBytes {
    /// Takes `code`, or `None` if it is empty or longer than [`STUB_BYTES_MAX`].
    #[must_use]
    pub fn new(code: &[u8]) -> Option<Self> {
        if code.is_empty() {
            return None;
        }
        let mut bytes = [0; STUB_BYTES_MAX];
        bytes.get_mut(..code.len())?.copy_from_slice(code);
        Some(Self { bytes, length: u8::try_from(code.len()).ok()? })
    }

    /// The code.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl core::fmt::Debug for StubBytes {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "StubBytes({:02x?})", self.as_slice())
    }
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A function or variable of the guest, used directly.
    Address(GuestAddress),
    /// An export of a loaded extension, used directly; counted in [`crate::Linked::uses`].
    Extension {
        /// The extension that defines it.
        extension: ExtensionId,
        /// Its address.
        address: GuestAddress,
    },
    /// Code to place in the extension's own text, once, and to bind the symbol to: calls go there, and
    /// its address is the address of the function.
    Stub(StubBytes),
}

/// The guest's side of symbol resolution.
pub trait Resolver {
    /// What `name` stands for: an export of the guest; else an export of a loaded extension; else the `hint`, if
    /// there is one. Asked once for each name that the image refers to and does not define itself.
    ///
    /// # Errors
    ///
    /// [`LoadError::BadHint`] if the hint lies outside the guest's image. Any error ends the load.
    fn resolve(&self, name: &str, hint: Option<GuestAddress>) -> Result<Option<Target>, LoadError>;

    /// Calls `visit` with every exported name, for the near matches of a missing one.
    fn candidates(&self, visit: &mut dyn FnMut(&str));
}

/// An export of another extension that this one uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Who defines it, and may not be unloaded meanwhile.
    pub extension: ExtensionId,
    /// The symbol.
    pub symbol: String,
}
