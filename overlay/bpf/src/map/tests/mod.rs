//! Maps against models.

mod hash;
mod lpm;
mod plain;
pub(crate) mod references;
mod ring;

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use uio_protocol::bpf::{MapKind, MapSpec};

use super::Map;

pub(crate) fn spec(kind: MapKind, key_bytes: u32, value_bytes: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        name: "test".to_string(),
        kind,
        key_bytes,
        value_bytes,
        max_entries,
        flags: 0,
        read_only: false,
        pinned: false,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    }
}

pub(crate) fn map(kind: MapKind, key_bytes: u32, value_bytes: u32, max_entries: u32) -> Arc<Map> {
    Map::new(&spec(kind, key_bytes, value_bytes, max_entries), None, 7).expect("a possible map")
}

/// The value of `key` as the shell reads it.
pub(crate) fn value(map: &Map, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = std::vec![0; map.spec().value_bytes as usize];
    map.lookup(key, &mut value).ok().map(|()| value)
}

/// All entries, in pages of `entries_max`.
pub(crate) fn entries(map: &Map, entries_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        let page = map.page(at, entries_max, usize::MAX).expect("a page");
        assert!(page.entries.len() <= entries_max);
        all.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
        cursor = page.next;
    }
    all
}
