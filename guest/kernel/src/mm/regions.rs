//! Whose memory an address is: what `mem` lists and fault reports name.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::inspect::Region;

use super::heap;
use super::paging::Permissions;
use crate::sync::InterruptLock;

/// Regions known before there is a heap: image sections and device pages.
const EARLY_MAX: usize = 8;

struct Entry {
    size: u64,
    permissions: Permissions,
    owner: String,
}

/// A region before there is a heap: start, size, permissions, owner.
type EarlyRegion = (u64, u64, Permissions, &'static str);

struct Regions {
    early: [Option<EarlyRegion>; EARLY_MAX],
    map: BTreeMap<u64, Entry>,
}

static REGIONS: InterruptLock<Regions> =
    InterruptLock::new(Regions { early: [None; EARLY_MAX], map: BTreeMap::new() });

/// Records a region of the image before there is a heap.
pub(super) fn add_early(start: u64, size: u64, permissions: Permissions, owner: &'static str) {
    REGIONS.with(|regions| {
        if let Some(slot) = regions.early.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some((start, size, permissions, owner));
        }
    });
}

/// Records a region.
pub(crate) fn add(start: u64, size: u64, permissions: Permissions, owner: &str) {
    let entry = Entry { size, permissions, owner: owner.to_owned() };
    REGIONS.with(|regions| regions.map.insert(start, entry));
}

/// Changes what a part of a region allows: the region is split around it.
pub(crate) fn set_permissions(start: u64, size: u64, permissions: Permissions) {
    REGIONS.with(|regions| {
        let Some((&first, entry)) = regions.map.range_mut(..=start).next_back() else {
            return;
        };
        let (end, part_end) = (first + entry.size, start + size);
        if part_end > end {
            return;
        }
        let (owner, old) = (entry.owner.clone(), entry.permissions);
        entry.size = start - first;
        if entry.size == 0 {
            regions.map.remove(&first);
        }
        regions.map.insert(start, Entry { size, permissions, owner: owner.clone() });
        if part_end < end {
            regions.map.insert(part_end, Entry { size: end - part_end, permissions: old, owner });
        }
    });
}

/// Forgets the regions that begin in a range.
pub(crate) fn remove(start: u64, size: u64) {
    while let Some(removed) = REGIONS.with(|regions| {
        let (&first, _) = regions.map.range(start..start + size).next()?;
        regions.map.remove(&first)
    }) {
        drop(removed);
    }
}

/// The owner of the region that holds `address`.
#[must_use]
pub fn owner(address: u64) -> Option<String> {
    if heap::contains(address) {
        return Some("heap".to_owned());
    }
    REGIONS
        .with(|regions| {
            let (start, entry) = regions.map.range(..=address).next_back()?;
            if address - start < entry.size {
                return Some(entry.owner.clone());
            }
            None
        })
        .or_else(|| early(address).map(ToOwned::to_owned))
}

fn early(address: u64) -> Option<&'static str> {
    REGIONS.with(|regions| {
        regions
            .early
            .iter()
            .flatten()
            .find(|(start, size, ..)| address >= *start && address - start < *size)
            .map(|(.., owner)| *owner)
    })
}

/// All regions in the order of their addresses.
#[must_use]
pub fn list() -> Vec<Region> {
    let region = |start: u64, size: u64, permissions: Permissions, owner: String| Region {
        start: GuestAddress(start),
        size,
        access: permissions.access,
        key: permissions.key,
        owner,
    };
    let chunks = heap::chunks();
    REGIONS.with(|regions| {
        let chunks = chunks
            .iter()
            .map(|(start, bytes)| region(*start, *bytes, Permissions::KERNEL_DATA, "heap".to_owned()));
        let early = regions.early.iter().flatten().map(|(start, size, permissions, owner)| {
            region(*start, *size, *permissions, (*owner).to_owned())
        });
        let mut all: Vec<_> = chunks
            .chain(early)
            .chain(
                regions
                    .map
                    .iter()
                    .map(|(start, entry)| region(*start, entry.size, entry.permissions, entry.owner.clone())),
            )
            .collect();
        all.sort_by_key(|region| region.start);
        all
    })
}
