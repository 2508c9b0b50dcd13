//! Where the undefined symbols of an extension come from: the guest's exports, other extensions'
//! exports, the guest's symbols.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use uio_isolation::backend;
use uio_isolation::gate::{StubKind, stub};
use uio_linker::{Resolver, StubBytes, Target};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::inspect::{ExtensionId, Isolation};

use crate::extensions::Extensions;
use crate::shared::{Link, Shared};

/// Functions of an extension that the guest calls; others do not link to them.
const ENTRIES: [&str; 3] = ["main", "init", "exit"];

/// Functions that compilers call unasked, as code for the extension itself: x86-64, System V ABI,
/// position-independent. In ring 3, where the guest's own are out of reach, and for images whose
/// symbol table does not name them.
const INTRINSICS: [(&str, &[u8]); 6] = [
    // mov rax, rdi; mov rcx, rdx; rep movsb; ret
    ("memcpy", &[0x48, 0x89, 0xf8, 0x48, 0x89, 0xd1, 0xf3, 0xa4, 0xc3]),
    // mov rax, rdi; mov rcx, rdx; cmp rdi, rsi; ja 1f; rep movsb; ret
    // 1: lea rdi, [rdi + rcx - 1]; lea rsi, [rsi + rcx - 1]; std; rep movsb; cld; ret
    (
        "memmove",
        &[
            0x48, 0x89, 0xf8, 0x48, 0x89, 0xd1, 0x48, 0x39, 0xf7, 0x77, 0x03, 0xf3, 0xa4, 0xc3, 0x48, 0x8d,
            0x7c, 0x0f, 0xff, 0x48, 0x8d, 0x74, 0x0e, 0xff, 0xfd, 0xf3, 0xa4, 0xfc, 0xc3,
        ],
    ),
    // mov r8, rdi; mov eax, esi; mov rcx, rdx; rep stosb; mov rax, r8; ret
    ("memset", &[0x49, 0x89, 0xf8, 0x89, 0xf0, 0x48, 0x89, 0xd1, 0xf3, 0xaa, 0x4c, 0x89, 0xc0, 0xc3]),
    ("memcmp", MEMCMP),
    ("bcmp", MEMCMP),
    // xor eax, eax; 1: cmp byte [rdi + rax], 0; je 2f; inc rax; jmp 1b; 2: ret
    ("strlen", &[0x31, 0xc0, 0x80, 0x3c, 0x07, 0x00, 0x74, 0x05, 0x48, 0xff, 0xc0, 0xeb, 0xf5, 0xc3]),
];

/// mov rcx, rdx; xor eax, eax; repe cmpsb; je 1f; movzx eax, byte [rdi - 1]; movzx ecx, byte [rsi - 1];
/// sub eax, ecx; 1: ret
const MEMCMP: &[u8] = &[
    0x48, 0x89, 0xd1, 0x31, 0xc0, 0xf3, 0xa6, 0x74, 0x0a, 0x0f, 0xb6, 0x47, 0xff, 0x0f, 0xb6, 0x4e, 0xff,
    0x29, 0xc8, 0xc3,
];

/// Resolves for one load, and remembers what it used.
pub(crate) struct GuestResolver<'a> {
    shared: &'static Shared,
    extensions: &'a Extensions,
    isolation: Isolation,
    used: RefCell<Used>,
}

/// What a load has used of other extensions.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Slots of [`crate::shared::State::links`] that it took.
    pub(crate) links: Vec<usize>,
    /// Extensions that it links to.
    pub(crate) extensions: Vec<ExtensionId>,
    /// Functions that are there and may not be linked to, with the extension that has them and how
    /// that is isolated.
    withheld: Vec<(String, String, Isolation)>,
}

impl<'a> GuestResolver<'a> {
    pub(crate) fn new(shared: &'static Shared, extensions: &'a Extensions, isolation: Isolation) -> Self {
        Self { shared, extensions, isolation, used: RefCell::default() }
    }

    /// What was used. The caller gives the links back with [`release_links`] if the load fails.
    pub(crate) fn into_used(self) -> Used {
        self.used.into_inner()
    }

    /// The error for a load that `error` ended: says so where a function is there and withheld.
    pub(crate) fn explain(&self, error: LoadError) -> LoadError {
        let LoadError::Undefined(missing) = &error else { return error };
        let used = self.used.borrow();
        let withheld =
            used.withheld.iter().find(|(name, ..)| missing.iter().any(|symbol| symbol.name == *name));
        match withheld {
            Some((name, owner, isolation)) => LoadError::NoIsolation {
                reason: format!(
                    "`{name}` is a function of extension `{owner}`, which is isolated by {} only; one that is \
                     isolated more strictly must not call it",
                    noun(*isolation)
                ),
            },
            None => error,
        }
    }

    /// A stub that calls the gate of this index from the extension's domain.
    fn gate(&self, name: &str, index: usize) -> Result<StubBytes, LoadError> {
        let kind = match self.isolation {
            Isolation::Ring3 => StubKind::Ring3,
            Isolation::Mpk | Isolation::None => StubKind::Ring0(backend::selected()),
        };
        let made = u32::try_from(index).ok().and_then(|index| stub(kind, index).ok());
        made.and_then(|stub| StubBytes::new(stub.as_bytes()))
            .ok_or_else(|| LoadError::BadImage { reason: format!("no gate can be made for `{name}`") })
    }

    fn link(&self, name: &str, link: Link) -> Result<StubBytes, LoadError> {
        let slot = self.shared.with(|state| {
            let free = state.links.iter().position(Option::is_none);
            let slot = free.unwrap_or_else(|| {
                state.links.push(None);
                state.links.len() - 1
            });
            state.links[slot] = Some(link);
            slot
        });
        self.used.borrow_mut().links.push(slot);
        self.gate(name, self.shared.exports.len() + slot)
    }
}

impl Resolver for GuestResolver<'_> {
    fn resolve(&self, name: &str, hint: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        if let Some(index) = self.shared.exports.iter().position(|export| export.name == name) {
            return self.gate(name, index).map(|stub| Some(Target::Stub(stub)));
        }
        if !ENTRIES.contains(&name) {
            let found = self.extensions.ready().find_map(|(id, extension)| {
                extension.linked.export(name).map(|export| (id, extension, export))
            });
            if let Some((_, defined, _)) = found
                && defined.linked.entry(name).is_some()
                && strictness(defined.isolation) < strictness(self.isolation)
            {
                // It would act on this extension's pointers, code pointers too, with its own wider rights.
                let withheld = (name.into(), defined.name.clone(), defined.isolation);
                self.used.borrow_mut().withheld.push(withheld);
            } else if let Some((extension, defined, export)) = found {
                let mut used = self.used.borrow_mut();
                if !used.extensions.contains(&extension) {
                    used.extensions.push(extension);
                }
                drop(used);
                // Code is entered through a gate; what lies elsewhere is data, which domains may read.
                return match defined.linked.entry(name) {
                    Some(function) => self
                        .link(name, Link { name: name.into(), extension, function })
                        .map(|stub| Some(Target::Stub(stub))),
                    None => Ok(Some(Target::Extension { extension, address: export.address })),
                };
            }
        }
        if (self.isolation == Isolation::Ring3 || hint.is_none())
            && let Some((_, code)) = INTRINSICS.iter().find(|(intrinsic, _)| *intrinsic == name)
        {
            return Ok(StubBytes::new(code).map(Target::Stub));
        }
        match hint {
            None => Ok(None),
            Some(address) if self.shared.platform.in_image(address) => Ok(Some(Target::Address(address))),
            Some(address) => Err(LoadError::BadHint { name: name.into(), address }),
        }
    }

    fn candidates(&self, visit: &mut dyn FnMut(&str)) {
        self.shared.exports.iter().for_each(|export| visit(export.name));
        for (_, extension) in self.extensions.ready() {
            let names = extension.linked.exports.iter().map(|export| export.name.as_str());
            names.filter(|name| !ENTRIES.contains(name)).for_each(&mut *visit);
        }
    }
}

/// How much an isolation keeps from the code under it.
fn strictness(isolation: Isolation) -> u8 {
    match isolation {
        Isolation::None => 0,
        Isolation::Mpk => 1,
        Isolation::Ring3 => 2,
    }
}

fn noun(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::None => "nothing",
        Isolation::Mpk => "protection keys",
        Isolation::Ring3 => "ring 3",
    }
}

/// Gives link slots back.
pub(crate) fn release_links(shared: &Shared, links: &[usize]) {
    shared.with(|state| {
        for &slot in links {
            if let Some(link) = state.links.get_mut(slot) {
                *link = None;
            }
        }
        while state.links.last().is_some_and(Option::is_none) {
            state.links.pop();
        }
    });
}
