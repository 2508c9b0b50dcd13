//! The extensions that are loaded, as the overlay thread knows them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uio_isolation::keys::{KeyAllocator, KeyHandle};
use uio_linker::Linked;
use uio_protocol::GuestAddress;
use uio_protocol::error::RpcError;
use uio_protocol::inspect::{ExtensionId, ExtensionInfo, Isolation, Placed};
use uio_protocol::limits::SECTION_NAME_BYTES_MAX;

use crate::overlay::Overlay;
use crate::platform::PAGE_BYTES;
use crate::shared::Shared;
use crate::table::Table;

/// A loaded extension.
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) isolation: Isolation,
    /// Its protection key; `None` without isolation.
    pub(crate) key: Option<KeyHandle>,
    /// Symbols and addresses; the bytes are in place and no longer here.
    pub(crate) linked: Linked,
    /// Pages of its sections.
    pub(crate) mappings: Vec<Mapping>,
    /// Slots of [`crate::shared::State::links`] through which it calls others.
    pub(crate) links: Vec<usize>,
    /// Extensions it links to.
    pub(crate) uses: Vec<ExtensionId>,
    /// Its `init` ran.
    pub(crate) resident: bool,
    /// Its constructors and `init` are through.
    pub(crate) ready: bool,
}

/// Pages of a loaded extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: GuestAddress,
    pub(crate) pages: u32,
}

impl Mapping {
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES
    }
}

/// All loaded extensions, and the keys they hold.
#[derive(Default)]
pub(crate) struct Extensions {
    loaded: Table<ExtensionId, Extension>,
    pub(crate) keys: KeyAllocator,
    last_id: u32,
}

impl Extensions {
    /// A number for the next extension, never used again.
    pub(crate) fn new_id(&mut self) -> ExtensionId {
        self.last_id += 1;
        ExtensionId(self.last_id)
    }

    pub(crate) fn insert(&mut self, id: ExtensionId, extension: Extension) {
        self.loaded.insert(id, extension);
    }

    pub(crate) fn remove(&mut self, id: ExtensionId) -> Option<Extension> {
        self.loaded.remove(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ExtensionId) -> Option<&mut Extension> {
        self.loaded.get_mut(&id)
    }

    /// An extension that is there, ready or not.
    pub(crate) fn find_any(&self, id: ExtensionId) -> Result<&Extension, RpcError> {
        self.loaded.get(&id).ok_or(RpcError::NoExtension(id))
    }

    /// An extension that can be used.
    pub(crate) fn find(&self, id: ExtensionId) -> Result<&Extension, RpcError> {
        self.find_any(id).and_then(|extension| {
            if extension.ready { Ok(extension) } else { Err(RpcError::NoExtension(id)) }
        })
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<ExtensionId> {
        self.loaded.iter().find(|(_, extension)| extension.name == name).map(|(id, _)| id)
    }

    /// The usable extension in whose sections an address lies.
    pub(crate) fn containing(&self, address: GuestAddress) -> Option<(ExtensionId, &str)> {
        let inside = |mapping: &Mapping| {
            address.offset_from(mapping.start).is_some_and(|offset| offset < mapping.bytes())
        };
        self.loaded
            .iter()
            .find(|(_, extension)| extension.ready && extension.mappings.iter().any(inside))
            .map(|(id, extension)| (id, extension.name.as_str()))
    }

    /// Usable extensions in the order in which they were loaded.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (ExtensionId, &Extension)> {
        self.loaded.iter().filter(|(_, extension)| extension.ready)
    }

    /// Names of the extensions that link to one.
    pub(crate) fn users(&self, id: ExtensionId) -> Vec<String> {
        let users = self.loaded.iter().filter(|(_, extension)| extension.uses.contains(&id));
        users.map(|(_, extension)| extension.name.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.loaded.len()
    }
}

impl Overlay {
    /// All extensions as the shell sees them.
    pub(crate) fn extension_infos(&self) -> Vec<ExtensionInfo> {
        self.extensions.loaded.iter().filter_map(|(id, _)| self.extension_info(id)).collect()
    }

    /// One extension as the shell sees it.
    pub(crate) fn extension_info(&self, id: ExtensionId) -> Option<ExtensionInfo> {
        let extension = self.extensions.loaded.get(&id)?;
        let (memory_bytes, faults) = self.shared.with(|state| {
            state.domains.get(&id).map_or((0, 0), |domain| (domain.memory_bytes(), domain.faults))
        });
        Some(ExtensionInfo {
            id,
            name: extension.name.clone(),
            isolation: extension.isolation,
            key: extension.key.as_ref().map_or(0, |key| key.key().number()),
            sections: extension.sections(),
            runs: runs_in(self.shared, id),
            used_by: self.extensions.users(id),
            resident: extension.resident,
            memory_bytes,
            faults,
        })
    }
}

impl Extension {
    /// Where its sections lie, names cut so that any description fits a frame.
    pub(crate) fn sections(&self) -> Vec<Placed> {
        let cut = |name: &str| name[..name.floor_char_boundary(SECTION_NAME_BYTES_MAX)].to_string();
        let placed = self.linked.placed.iter();
        placed.map(|placed| Placed { name: cut(&placed.name), ..placed.clone() }).collect()
    }
}

/// Threads that are in an extension.
pub(crate) fn runs_in(shared: &Shared, id: ExtensionId) -> u32 {
    shared.with(|state| state.runs.iter().filter(|run| run.ended.is_none() && run.is_in(id)).count() as u32)
}
