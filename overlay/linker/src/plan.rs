//! Everything that can be checked and decided before memory is taken.

use alloc::format;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::{LoadError, MissingSymbol};
use uio_protocol::image::{Binding, Definition, ExtensionImage, RelocationKind, SectionKind};
use uio_protocol::limits::CHUNK_BYTES_MAX;

use crate::layout::{Layout, Pages, layout};
use crate::link::VENEER_SLOT_BYTES;
use crate::near::near;
use crate::relocate::is_branch;
use crate::resolve::{Resolver, STUB_BYTES_MAX, StubBytes, Target, Use};
use crate::sort::sort_by_name;
use crate::validate::validate;
use crate::{filled, reserved};

/// Name by which position-independent code refers to the global offset table.
const GOT_SYMBOL: &str = "_GLOBAL_OFFSET_TABLE_";

/// Missing symbols for which near matches are looked up: each costs a walk over all exports.
const NEAR_SYMBOLS_MAX: usize = 32;

/// Bytes that an error's list of missing symbols may take, so that it fits a reply.
const MISSING_BYTES_MAX: usize = CHUNK_BYTES_MAX;

/// Bytes that a string or list costs on the wire besides its contents.
const LENGTH_BYTES: usize = 3;

/// No slot of a table.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// What a symbol is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binds {
    /// Nothing refers to it.
    Unused,
    /// A place in this image; also for an undefined symbol that this image defines under another index.
    Own { section: u16, offset: u32 },
    /// An address or constant that does not move with the image.
    Fixed(u64),
    /// A stub, by index.
    Stub(u32),
    /// The start of the global offset table.
    Got,
}

/// An image that is consistent and whose symbols are all resolved, with its layout.
#[derive(Debug)]
pub struct Plan<'image> {
    pub(crate) image: &'image ExtensionImage,
    pub(crate) layout: Layout,
    /// By symbol index.
    pub(crate) binds: Vec<Binds>,
    /// Indices of the global symbols that the image defines, sorted by name.
    pub(crate) exports: Vec<u32>,
    pub(crate) stubs: Vec<StubBytes>,
    /// Entry in the global offset table, by symbol index, or [`NO_SLOT`].
    pub(crate) got_slots: Vec<u32>,
    /// Veneer, by symbol index, or [`NO_SLOT`].
    pub(crate) veneer_slots: Vec<u32>,
    pub(crate) uses: Vec<Use>,
}

impl Plan<'_> {
    /// Pages that the caller has to find for the three groups.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.layout.pages()
    }

    /// Name of the extension.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.image.name
    }

    /// Exports of other extensions that it links to.
    #[must_use]
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }
}

/// Checks `image` completely, resolves its symbols and lays it out. Takes no pages.
///
/// Names are looked up in this order: the image's own definitions; what `resolver` finds; zero, for a
/// weak symbol. Symbols that no relocation uses are not looked up.
///
/// # Errors
///
/// - [`LoadError::BadImage`] if a limit, index, offset, size or alignment is wrong.
/// - [`LoadError::DuplicateSymbol`] if the image defines a global symbol twice.
/// - [`LoadError::Undefined`] with all missing symbols (as many as fit a reply).
/// - [`LoadError::NoRoom`] if a group passes 1 GiB, or the heap is exhausted.
/// - What `resolver` returns.
pub fn plan<'image>(
    image: &'image ExtensionImage,
    resolver: &dyn Resolver,
) -> Result<Plan<'image>, LoadError> {
    validate(image)?;
    let names = Names::new(image)?;
    let mut binds = filled(image.symbols.len(), Binds::Unused)?;
    for relocation in &image.relocations {
        // Marked only: `bind` decides.
        binds[relocation.symbol as usize] = Binds::Got;
    }
    let (stubs, uses) = bind(image, &names, resolver, &mut binds)?;
    let Names { defined: exports, .. } = names;

    let mut got_slots = filled(image.symbols.len(), NO_SLOT)?;
    let mut veneer_slots = filled(image.symbols.len(), NO_SLOT)?;
    let (mut got_entries, mut veneers) = (0, 0);
    for relocation in &image.relocations {
        let symbol = relocation.symbol as usize;
        if uses_got_entry(relocation.kind) && got_slots[symbol] == NO_SLOT {
            got_slots[symbol] = got_entries;
            got_entries += 1;
        }
        // Addresses are not known yet: room is kept for every call that leaves the image.
        if matches!(binds[symbol], Binds::Fixed(_))
            && veneer_slots[symbol] == NO_SLOT
            && is_branch(image, relocation)
        {
            veneer_slots[symbol] = veneers;
            veneers += 1;
        }
    }
    let layout = layout(
        image,
        u64::from(got_entries),
        stubs.len() as u64,
        STUB_BYTES_MAX as u64,
        u64::from(veneers),
        VENEER_SLOT_BYTES as u64,
    )?;
    Ok(Plan { image, layout, binds, exports, stubs, got_slots, veneer_slots, uses })
}

/// Whether a relocation needs the symbol's entry in the global offset table.
fn uses_got_entry(kind: RelocationKind) -> bool {
    matches!(
        kind,
        RelocationKind::GotPcRel
            | RelocationKind::GotPcRelX
            | RelocationKind::RexGotPcRelX
            | RelocationKind::Got32
            | RelocationKind::Got64
            | RelocationKind::GotPcRel64
    )
}

/// Symbol indices, each list sorted by name.
struct Names {
    /// Global definitions.
    defined: Vec<u32>,
    /// Symbols that are defined elsewhere.
    undefined: Vec<u32>,
}

impl Names {
    /// Sorts the global names of a validated image and finds those defined twice.
    fn new(image: &ExtensionImage) -> Result<Self, LoadError> {
        let (mut defined, mut undefined) = (reserved(image.symbols.len())?, reserved(image.symbols.len())?);
        for (index, symbol) in (0u32..).zip(&image.symbols) {
            match symbol.definition {
                Definition::Undefined { .. } => undefined.push(index),
                _ if symbol.binding != Binding::Local => defined.push(index),
                _ => {}
            }
        }
        let name = |index: &u32| image.symbols[*index as usize].name.as_str();
        sort_by_name(&mut defined, image);
        sort_by_name(&mut undefined, image);
        if let Some(pair) = defined.windows(2).find(|pair| name(&pair[0]) == name(&pair[1])) {
            return Err(LoadError::DuplicateSymbol { name: name(&pair[0]).into() });
        }
        Ok(Self { defined, undefined })
    }

    /// The symbol that defines `name` for everybody.
    fn definition(&self, image: &ExtensionImage, name: &str) -> Option<Definition> {
        let found =
            self.defined.binary_search_by(|index| image.symbols[*index as usize].name.as_str().cmp(name));
        found.ok().map(|position| image.symbols[self.defined[position] as usize].definition)
    }
}

/// Binds every symbol of `binds` that is marked as used.
fn bind(
    image: &ExtensionImage,
    names: &Names,
    resolver: &dyn Resolver,
    binds: &mut [Binds],
) -> Result<(Vec<StubBytes>, Vec<Use>), LoadError> {
    for (bind, symbol) in binds.iter_mut().zip(&image.symbols) {
        if *bind != Binds::Unused
            && let Some(own) = own(symbol.definition)
        {
            *bind = own;
        }
    }
    let (mut stubs, mut uses, mut missing) = (Vec::new(), Vec::new(), Missing::default());
    let name_of = |index: &u32| image.symbols[*index as usize].name.as_str();
    // Several symbols of one name are one symbol: one lookup, one stub.
    for same in names.undefined.chunk_by(|left, right| name_of(left) == name_of(right)) {
        let mut used = same.iter().filter(|index| binds[**index as usize] != Binds::Unused);
        let Some(first) = used.next() else { continue };
        let symbol = &image.symbols[*first as usize];
        let hint = match symbol.definition {
            Definition::Undefined { hint } => hint,
            Definition::Section { .. } | Definition::Absolute(_) => None,
        };
        let bound = match names.definition(image, &symbol.name).and_then(own) {
            Some(own) => own,
            None if symbol.name == GOT_SYMBOL => Binds::Got,
            None => match resolver.resolve(&symbol.name, hint)? {
                Some(Target::Address(GuestAddress(address))) => Binds::Fixed(address),
                Some(Target::Extension { extension, address }) => {
                    uses.push(Use { extension, symbol: symbol.name.clone() });
                    Binds::Fixed(address.0)
                }
                Some(Target::Stub(stub)) => {
                    stubs.push(stub);
                    Binds::Stub(u32::try_from(stubs.len() - 1).unwrap_or(NO_SLOT))
                }
                None => {
                    let weak = |index: &u32| image.symbols[*index as usize].binding == Binding::Weak;
                    if !same.iter().all(weak) {
                        missing.add(&symbol.name, resolver);
                    }
                    Binds::Fixed(0)
                }
            },
        };
        for index in same {
            binds[*index as usize] = bound;
        }
    }
    if !missing.symbols.is_empty() {
        return Err(LoadError::Undefined(missing.symbols));
    }
    Ok((stubs, uses))
}

fn own(definition: Definition) -> Option<Binds> {
    match definition {
        Definition::Section { section, offset } => Some(Binds::Own { section, offset }),
        Definition::Absolute(value) => Some(Binds::Fixed(value)),
        Definition::Undefined { .. } => None,
    }
}

/// The missing symbols, as many as fit a reply.
#[derive(Default)]
struct Missing {
    symbols: Vec<MissingSymbol>,
    bytes: usize,
}

impl Missing {
    fn add(&mut self, name: &str, resolver: &dyn Resolver) {
        let cost = |name: &str| name.len() + LENGTH_BYTES;
        if self.bytes + cost(name) + LENGTH_BYTES > MISSING_BYTES_MAX {
            return;
        }
        self.bytes += cost(name) + LENGTH_BYTES;
        let mut near = if self.symbols.len() < NEAR_SYMBOLS_MAX { near(name, resolver) } else { Vec::new() };
        let near_bytes = near.iter().map(|name| cost(name)).sum::<usize>();
        if self.bytes + near_bytes > MISSING_BYTES_MAX {
            near.clear();
        } else {
            self.bytes += near_bytes;
        }
        self.symbols.push(MissingSymbol { name: name.into(), near });
    }
}

/// Name of a symbol for messages: a section symbol goes by its section's name.
pub(crate) fn display_name(image: &ExtensionImage, symbol: usize) -> alloc::string::String {
    let symbol = &image.symbols[symbol];
    match symbol.definition {
        Definition::Section { section, offset } if symbol.name.is_empty() => {
            format!("{}+{offset:#x}", image.sections[usize::from(section)].name)
        }
        _ => symbol.name.clone(),
    }
}

/// Whether a relocation patches code.
pub(crate) fn in_text(image: &ExtensionImage, section: u16) -> bool {
    image.sections[usize::from(section)].kind == SectionKind::Text
}
