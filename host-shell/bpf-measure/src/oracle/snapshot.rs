//! What a run left, in a form that can be compared between engines.

use std::ops::ControlFlow;
use std::sync::Arc;

use uio_bpf::map::Map;
use uio_protocol::bpf::MapKind;

/// Contents of a map: keys with values, sorted; records in order.
pub(super) type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// Contents of all maps.
pub(super) fn contents(maps: &[Arc<Map>]) -> Vec<Contents> {
    maps.iter().map(|map| of(map)).collect()
}

fn of(map: &Map) -> Contents {
    let mut all = Vec::new();
    if map.kind() == MapKind::RingBuffer {
        let _ = map.drain(usize::MAX, |record| {
            all.push((Vec::new(), record.to_vec()));
            ControlFlow::Continue(())
        });
        return all;
    }
    let mut cursor = Some(0);
    while let Some(next) = cursor {
        let Ok(page) = map.page(next, usize::MAX, usize::MAX) else { break };
        all.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
        cursor = page.next;
    }
    all.sort();
    all
}
