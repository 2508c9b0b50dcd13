//! Stacks in domains, and the calls that run on them.

use alloc::format;

use uio_isolation::domain::{Domain as KeyDomain, ReadPolicy};
use uio_isolation::pkru::{Pkru, ProtectionKey};
use uio_protocol::GuestAddress;
use uio_protocol::inspect::{Access, ExtensionId, Isolation};
use uio_protocol::limits::EXTENSION_STACK_BYTES;

use crate::platform::{DomainCall, OutOfMemory, PAGE_BYTES, Platform};
use crate::shared::{Domain, Shared, Stack};

const STACK_PAGES: u32 = (EXTENSION_STACK_BYTES as u64 / PAGE_BYTES) as u32;

/// Stacks in no use that an extension keeps: one for each of a few runs in turn.
const IDLE_STACKS_MAX: usize = 4;

/// Takes a stack of an extension, an idle one or a new one.
pub(crate) fn take(shared: &Shared, extension: ExtensionId) -> Result<Stack, OutOfMemory> {
    let missing = OutOfMemory { bytes: EXTENSION_STACK_BYTES as u64 };
    enum Found {
        Idle(Stack),
        New { owner: alloc::string::String, key: u8, ring3: bool },
    }
    let found = shared.with(|state| {
        let domain = state.domains.get_mut(&extension)?;
        Some(match domain.stacks.iter_mut().find(|stack| !stack.in_use) {
            Some(stack) => {
                stack.in_use = true;
                Found::Idle(*stack)
            }
            None => Found::New {
                owner: format!("extension {} stack", domain.name),
                key: domain.key,
                ring3: domain.isolation == Isolation::Ring3,
            },
        })
    });
    match found.ok_or(missing)? {
        Found::Idle(stack) => Ok(stack),
        Found::New { owner, key, ring3 } => {
            let stack = map(shared.platform, &owner, key, ring3)?;
            let kept = shared.with(|state| {
                state.domains.get_mut(&extension).map(|domain| domain.stacks.push(stack)).is_some()
            });
            if !kept {
                shared.platform.unmap(stack.bottom, stack.pages);
                return Err(missing);
            }
            Ok(stack)
        }
    }
}

/// A stack for the guest's own code, outside of any domain.
pub(crate) fn take_trusted(shared: &Shared) -> Result<Stack, OutOfMemory> {
    map(shared.platform, "stack of a call", crate::platform::KEY_KERNEL, false)
}

fn map(platform: &dyn Platform, owner: &str, key: u8, ring3: bool) -> Result<Stack, OutOfMemory> {
    let bottom = platform.map(STACK_PAGES, owner, true)?;
    let access = Access { write: true, execute: false };
    if platform.protect(bottom, STACK_PAGES, access, key, ring3).is_err() {
        platform.unmap(bottom, STACK_PAGES);
        return Err(OutOfMemory { bytes: EXTENSION_STACK_BYTES as u64 });
    }
    Ok(Stack { bottom, pages: STACK_PAGES, in_use: true })
}

/// Gives a stack back: to its extension, or to the kernel if that has enough idle ones or is gone.
pub(crate) fn release(shared: &Shared, extension: Option<ExtensionId>, stack: Stack) {
    let kept = shared.with(|state| {
        let Some(domain) = extension.and_then(|extension| state.domains.get_mut(&extension)) else {
            return false;
        };
        let idle = domain.stacks.iter().filter(|stack| !stack.in_use).count();
        let Some(index) = domain.stacks.iter().position(|other| other.bottom == stack.bottom) else {
            return false;
        };
        if idle >= IDLE_STACKS_MAX {
            domain.stacks.swap_remove(index);
            return false;
        }
        domain.stacks[index].in_use = false;
        true
    });
    if !kept {
        shared.platform.unmap(stack.bottom, stack.pages);
    }
}

/// The register value with which code of an extension runs.
pub(crate) fn pkru(domain: &Domain) -> u32 {
    let restricted = ProtectionKey::new(domain.key)
        .filter(|_| domain.isolation != Isolation::None)
        .and_then(|key| KeyDomain::new(key, ReadPolicy::Everything).ok());
    restricted.map_or(Pkru::ALLOW_ALL, KeyDomain::pkru).bits()
}

/// A call on a fresh stack.
pub(crate) fn domain_call(
    function: GuestAddress,
    arguments: [u64; 6],
    stack: Stack,
    pkru: u32,
) -> DomainCall {
    DomainCall { function, arguments, stack_top: stack.top(), stack_bottom: stack.bottom, pkru }
}
