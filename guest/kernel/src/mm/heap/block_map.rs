//! Where live blocks begin and end: two bits for each granule of a heap chunk, beside the allocator's own data.
//!
//! The allocator's lists cannot be walked block by block; these maps can, in the order of addresses, which is what the
//! heap's summary and the leak finder read. They cost a 128th of the heap and two bit operations a call.

/// The unit in which the allocator places blocks.
pub(super) const GRANULE_BYTES: u64 = talc::base::CHUNK_UNIT as u64;

const BITS: usize = 64;

/// Words of each of the two maps for `bytes` of heap.
pub(super) const fn words(bytes: u64) -> usize {
    (bytes / GRANULE_BYTES) as usize / BITS + 1
}

/// The maps of one chunk. Granules count from the start of its pool.
pub(super) struct BlockMap<'a> {
    /// A set bit is the first granule of a block.
    pub(super) starts: &'a mut [u64],
    /// A set bit is the last granule of a block.
    pub(super) ends: &'a mut [u64],
}

fn flip(map: &mut [u64], granule: usize) {
    if let Some(word) = map.get_mut(granule / BITS) {
        *word ^= 1 << (granule % BITS);
    }
}

/// First set bit at or after `from`.
fn next(map: &[u64], from: usize) -> Option<usize> {
    let mut index = from / BITS;
    let mut word = map.get(index)? & (u64::MAX << (from % BITS));
    while word == 0 {
        index += 1;
        word = *map.get(index)?;
    }
    Some(index * BITS + word.trailing_zeros() as usize)
}

impl BlockMap<'_> {
    /// Notes that the block of `bytes` bytes at `offset` has come to life, or that it has died.
    pub(super) fn toggle(&mut self, offset: u64, bytes: usize) {
        let first = (offset / GRANULE_BYTES) as usize;
        let last = ((offset + bytes.max(1) as u64 - 1) / GRANULE_BYTES) as usize;
        flip(self.starts, first);
        flip(self.ends, last);
    }

    /// The first live block that begins at `offset` or later: its offset and bytes, in whole granules.
    pub(super) fn next(&self, offset: u64) -> Option<(u64, u64)> {
        let first = next(self.starts, offset.div_ceil(GRANULE_BYTES) as usize)?;
        let last = next(self.ends, first)?;
        Some((first as u64 * GRANULE_BYTES, (last - first + 1) as u64 * GRANULE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL_BYTES: u64 = 1 << 16;

    fn blocks(map: &BlockMap<'_>) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut offset = 0;
        while let Some((start, bytes)) = map.next(offset) {
            found.push((start, bytes));
            offset = start + bytes;
        }
        found
    }

    #[test]
    fn live_blocks_come_in_order_and_dead_ones_do_not() {
        let (mut starts, mut ends) = (vec![0; words(POOL_BYTES)], vec![0; words(POOL_BYTES)]);
        let mut map = BlockMap { starts: &mut starts, ends: &mut ends };
        map.toggle(0, 1);
        map.toggle(GRANULE_BYTES, 2 * GRANULE_BYTES as usize);
        map.toggle(4096, 5000);
        map.toggle(POOL_BYTES - GRANULE_BYTES, GRANULE_BYTES as usize);
        assert_eq!(
            blocks(&map),
            [(0, 32), (32, 64), (4096, 5024), (POOL_BYTES - GRANULE_BYTES, GRANULE_BYTES)]
        );
        map.toggle(GRANULE_BYTES, 2 * GRANULE_BYTES as usize);
        assert_eq!(blocks(&map).len(), 3);
        assert_eq!(map.next(1), Some((4096, 5024)));
    }

    #[test]
    fn blocks_that_cross_words_are_whole() {
        let (mut starts, mut ends) = (vec![0; words(POOL_BYTES)], vec![0; words(POOL_BYTES)]);
        let mut map = BlockMap { starts: &mut starts, ends: &mut ends };
        map.toggle(62 * GRANULE_BYTES, 200 * GRANULE_BYTES as usize);
        assert_eq!(blocks(&map), [(62 * GRANULE_BYTES, 200 * GRANULE_BYTES)]);
    }
}
