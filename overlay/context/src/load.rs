//! Placing an extension and taking it away again. Either all of a load happens or nothing is left of it.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use uio_isolation::keys::{DOMAIN_KEY_COUNT, KeyHandle};
use uio_isolation::scan::{Policy, scan};
use uio_linker::{Bases, Linked, Pages, Plan, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::{LoadError, RpcError};
use uio_protocol::image::{Definition, ExtensionImage};
use uio_protocol::inspect::{Access, BuildId, ExtensionId, Isolation, IsolationBackend};
use uio_protocol::limits::{EXTENSION_HEAP_BYTES_MAX, EXTENSION_NAME_BYTES_MAX, EXTENSIONS_MAX};

use crate::extensions::{Extension, Mapping};
use crate::heap::Heap;
use crate::overlay::Overlay;
use crate::platform::{KEY_KERNEL, PAGE_BYTES, Platform};
use crate::resolver::{GuestResolver, Used, release_links};
use crate::shared::{Domain, Range};
use crate::upload::limit;

/// Places that are tried for an extension: one address in some ten thousand spells a forbidden
/// instruction, so a second place is almost always good.
const PLACES_MAX: usize = 4;

const TEXT: Access = Access { write: false, execute: true };
const CONSTANTS: Access = Access { write: false, execute: false };
const DATA: Access = Access { write: true, execute: false };

impl Overlay {
    /// Links an image and places it. What runs in it comes later.
    pub(crate) fn place(
        &mut self,
        bytes: &[u8],
        isolation: Isolation,
        build_id: BuildId,
    ) -> Result<ExtensionId, RpcError> {
        let image = decode(bytes)?;
        self.admit(&image, isolation, build_id)?;
        let id = self.extensions.new_id();
        let key = match isolation {
            Isolation::None => None,
            Isolation::Mpk | Isolation::Ring3 => Some(
                self.extensions
                    .keys
                    .allocate(id.0)
                    .map_err(|_| LoadError::NoKey { in_use: DOMAIN_KEY_COUNT as u32 })
                    .map_err(RpcError::Load)?,
            ),
        };
        let resolver = GuestResolver::new(self.shared, &self.extensions, isolation);
        let number = key.as_ref().map_or(KEY_KERNEL, |key| key.key().number());
        let mut mappings = Vec::new();
        let placed = place_image(self.platform, &image, &resolver, number, isolation, &mut mappings)
            .map_err(|error| resolver.explain(error));
        let used = resolver.into_used();
        match placed {
            Ok((linked, ranges)) => {
                self.register(id, &image.name, isolation, key, linked, ranges, mappings, used);
                Ok(id)
            }
            Err(error) => {
                release_links(self.shared, &used.links);
                self.free_pages(&mappings, key);
                Err(RpcError::Load(error))
            }
        }
    }

    /// Whether the image may be loaded at all, as far as that shows before linking.
    fn admit(&self, image: &ExtensionImage, isolation: Isolation, build_id: BuildId) -> Result<(), RpcError> {
        limit("extensions", EXTENSIONS_MAX, self.extensions.len() + 1)?;
        limit("bytes of an extension's name", EXTENSION_NAME_BYTES_MAX, image.name.len())?;
        if let Some(taken) = self.extensions.by_name(&image.name) {
            return Err(RpcError::Load(LoadError::NameTaken(taken)));
        }
        let hinted = |definition: Definition| matches!(definition, Definition::Undefined { hint: Some(_) });
        let guest = self.platform.identity().build_id;
        if build_id != guest && image.symbols.iter().any(|symbol| hinted(symbol.definition)) {
            return Err(RpcError::Load(LoadError::WrongBuild { guest }));
        }
        let missing = match isolation {
            Isolation::None => None,
            Isolation::Mpk if self.platform.backend() == IsolationBackend::None => {
                Some("the processor has no protection keys")
            }
            Isolation::Mpk => None,
            Isolation::Ring3 => self.platform.ring3_missing(),
        };
        match missing {
            Some(reason) => Err(RpcError::Load(LoadError::NoIsolation { reason: reason.to_string() })),
            None => Ok(()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "moves the parts of a load that succeeded into the tables")]
    fn register(
        &mut self,
        id: ExtensionId,
        name: &str,
        isolation: Isolation,
        key: Option<KeyHandle>,
        mut linked: Linked,
        ranges: Vec<Range>,
        mappings: Vec<Mapping>,
        used: Used,
    ) {
        // The bytes are in place; what is kept are names and addresses.
        linked.text = Vec::new();
        linked.read_only = Vec::new();
        linked.data = Vec::new();
        let domain = Domain {
            name: name.to_string(),
            isolation,
            key: key.as_ref().map_or(KEY_KERNEL, |key| key.key().number()),
            ranges,
            heap: Heap::new(EXTENSION_HEAP_BYTES_MAX),
            stacks: Vec::new(),
            faults: 0,
        };
        self.shared.with(|state| state.domains.insert(id, domain));
        let extension = Extension {
            name: name.to_string(),
            isolation,
            key,
            linked,
            mappings,
            links: used.links,
            uses: used.extensions,
            resident: false,
            ready: false,
        };
        self.extensions.insert(id, extension);
    }

    /// Takes an extension away: its pages, heap, stacks, key and links. Nothing runs in it any more.
    pub(crate) fn remove(&mut self, id: ExtensionId) {
        if let Some(domain) = self.shared.with(|state| state.domains.remove(&id)) {
            for (start, pages) in domain.heap.regions() {
                self.platform.unmap(start, pages);
            }
            for stack in domain.stacks {
                self.platform.unmap(stack.bottom, stack.pages);
            }
        }
        if let Some(extension) = self.extensions.remove(id) {
            release_links(self.shared, &extension.links);
            self.free_pages(&extension.mappings, extension.key);
        }
    }

    /// Unmaps pages and then frees the key that they carried.
    fn free_pages(&mut self, mappings: &[Mapping], key: Option<KeyHandle>) {
        for mapping in mappings {
            self.platform.unmap(mapping.start, mapping.pages);
        }
        if let Some(key) = key {
            // A handle lives in one place and is freed once, so it cannot be stale.
            let freed = self.extensions.keys.free(key);
            debug_assert!(freed.is_ok());
        }
    }
}

fn decode(bytes: &[u8]) -> Result<ExtensionImage, RpcError> {
    let reason = match uio_protocol::message::take(bytes) {
        Ok((image, [])) => return Ok(image),
        Ok((_, rest)) => format!("{} bytes are left over behind the image", rest.len()),
        Err(error) => format!("the image does not decode: {error}"),
    };
    Err(RpcError::Load(LoadError::BadImage { reason }))
}

/// Links the image and puts it into fresh pages, noted in `mappings`. The caller takes them back if it
/// fails.
fn place_image(
    platform: &dyn Platform,
    image: &ExtensionImage,
    resolver: &GuestResolver<'_>,
    key: u8,
    isolation: Isolation,
    mappings: &mut Vec<Mapping>,
) -> Result<(Linked, Vec<Range>), LoadError> {
    let plan = plan(image, resolver)?;
    let linked = link_somewhere(platform, &plan, isolation, mappings)?;
    let (bases, pages) = (linked.bases(), plan.pages());
    let groups = [
        (bases.text, pages.text, &linked.text, TEXT),
        (bases.read_only, pages.read_only, &linked.read_only, CONSTANTS),
        (bases.data, pages.data, &linked.data, DATA),
    ];
    let mut ranges = Vec::new();
    for (start, pages, bytes, access) in groups.into_iter().filter(|(_, pages, ..)| *pages > 0) {
        let ring3 = isolation == Isolation::Ring3;
        platform
            .fill(start, bytes)
            .and_then(|()| platform.protect(start, pages, access, key, ring3))
            .map_err(|bad| LoadError::BadImage { reason: format!("{bad} cannot be filled") })?;
        ranges.push(Range { start, bytes: u64::from(pages) * PAGE_BYTES, writable: access.write });
    }
    Ok((linked, ranges))
}

/// Takes pages and links for them. Where an address in the code happens to spell a forbidden instruction,
/// other pages are tried; the refused ones are kept until then, or they would be handed out again.
fn link_somewhere(
    platform: &dyn Platform,
    plan: &Plan<'_>,
    isolation: Isolation,
    mappings: &mut Vec<Mapping>,
) -> Result<Linked, LoadError> {
    let mut refused = Vec::new();
    let mut result = link_once(platform, plan, isolation, mappings);
    for _ in 1..PLACES_MAX {
        if !matches!(result, Err(LoadError::ForbiddenInstruction { .. })) {
            break;
        }
        refused.append(mappings);
        match link_once(platform, plan, isolation, mappings) {
            // No room to try again: what was wrong before is what has to be told.
            Err(LoadError::NoRoom { .. }) => break,
            other => result = other,
        }
    }
    for mapping in refused {
        platform.unmap(mapping.start, mapping.pages);
    }
    result
}

fn link_once(
    platform: &dyn Platform,
    plan: &Plan<'_>,
    isolation: Isolation,
    mappings: &mut Vec<Mapping>,
) -> Result<Linked, LoadError> {
    let Pages { text, read_only, data } = plan.pages();
    let mut map = |pages: u32, what: &str| -> Result<GuestAddress, LoadError> {
        // The base of an empty group is not used.
        if pages == 0 {
            return Ok(GuestAddress(0));
        }
        let start = platform
            .map(pages, &format!("extension {} {what}", plan.name()), false)
            .map_err(|_| LoadError::NoRoom { bytes: u64::from(pages) * PAGE_BYTES })?;
        mappings.push(Mapping { start, pages });
        Ok(start)
    };
    let bases =
        Bases { text: map(text, "text")?, read_only: map(read_only, "constants")?, data: map(data, "data")? };
    let linked = link(plan, bases)?;
    refuse_forbidden(&linked, isolation)?;
    Ok(linked)
}

/// Refuses text that holds an instruction that could lift the isolation it is to run under.
fn refuse_forbidden(linked: &Linked, isolation: Isolation) -> Result<(), LoadError> {
    let policy = match isolation {
        Isolation::Mpk => Policy::Ring0,
        Isolation::Ring3 => Policy::Ring3,
        Isolation::None => return Ok(()),
    };
    match scan(&linked.text, policy).next() {
        None => Ok(()),
        Some(finding) => Err(LoadError::ForbiddenInstruction {
            place: linked.text_place(finding.offset),
            mnemonic: finding.instruction.mnemonic().to_string(),
        }),
    }
}
