//! Lists in pages that fit a frame.

use alloc::vec::Vec;

use serde::Serialize;
use uio_protocol::limits::FRAME_BYTES_MAX;
use uio_protocol::message;

/// Bytes of a serialized message that surely fit a frame: COBS adds one byte in 254, header and
/// checksum take 16, and the variants around a list a few more.
pub(crate) const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_BYTES_MAX / 254 - 64;

/// The items after the first `skip`, as many as fit a frame, and whether there are more. At least one
/// item is taken, so that a reader who goes on where the page ended makes progress.
pub(crate) fn page<T: Serialize>(items: impl IntoIterator<Item = T>, skip: u32) -> (Vec<T>, bool) {
    page_within(items.into_iter().skip(skip as usize), BODY_BYTES_MAX)
}

/// The first items whose serialized sizes sum up to at most `bytes`, and whether there are more.
pub(crate) fn page_within<T: Serialize>(items: impl IntoIterator<Item = T>, bytes: usize) -> (Vec<T>, bool) {
    let mut room = bytes;
    let mut taken = Vec::new();
    for item in items {
        let size = serialize(&item).map_or(usize::MAX, |bytes| bytes.len());
        if size > room && !taken.is_empty() {
            return (taken, true);
        }
        room = room.saturating_sub(size);
        taken.push(item);
    }
    (taken, false)
}

/// Serializes a message. All of the crate goes through here: each other way in which postcard can do
/// it is a second copy of the code for every message.
pub(crate) fn serialize<T: Serialize>(item: &T) -> Option<Vec<u8>> {
    message::append(item, Vec::new()).ok()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use uio_protocol::frame::{Channel, Header, Kind, encode};

    use super::*;

    #[test]
    fn a_list_comes_whole_in_pages_that_fit() {
        let items: Vec<String> = (0..3000).map(|n| "x".repeat(n % 97)).collect();
        let header = Header { channel: Channel::Rpc, kind: Kind::Response, session: u32::MAX, id: u32::MAX };
        let mut seen = Vec::new();
        loop {
            let (part, more) = page(items.iter().cloned(), seen.len() as u32);
            assert!(encode(header, &part).is_ok());
            assert!(!part.is_empty());
            seen.extend(part);
            if !more {
                break;
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn an_oversized_item_comes_alone() {
        let items = vec![vec![0_u8; 2 * FRAME_BYTES_MAX], vec![1]];
        let (part, more) = page(items, 0);
        assert_eq!((part.len(), more), (1, true));
    }

    #[test]
    fn the_body_limit_is_what_a_frame_takes() {
        let header = Header { channel: Channel::Rpc, kind: Kind::Response, session: u32::MAX, id: u32::MAX };
        let worst = vec![1_u8; BODY_BYTES_MAX];
        assert!(encode(header, &worst).is_ok());
    }
}
