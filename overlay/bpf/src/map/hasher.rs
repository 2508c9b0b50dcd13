//! Seeded hash of fixed-size keys.
//!
//! Folded multiplication: the two halves of a 128-bit product, combined. One multiplication for up to 16 bytes.
//! Who does not know the seeds cannot choose keys that collide other than by chance.

/// Seeds of one map.
#[derive(Clone, Copy)]
pub(super) struct Hasher {
    first: u64,
    second: u64,
}

const fn fold(left: u64, right: u64) -> u64 {
    let product = left as u128 * right as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Steps a seed so that each number of the sequence looks independent (the generator `splitmix64`).
const fn spread(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Hasher {
    pub(super) const fn new(seed: u64) -> Self {
        let first = spread(seed);
        Self { first, second: spread(first ^ seed.rotate_left(32)) }
    }

    /// Of two words, the second 0 for shorter keys.
    #[inline]
    pub(super) const fn pair(self, low: u64, high: u64) -> u64 {
        fold(low ^ self.first, high ^ self.second)
    }

    /// Of many words, given two at a time.
    pub(super) fn words(self, pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
        pairs.fold(self.first, |state, (low, high)| fold(low ^ state, high ^ self.second).rotate_left(23))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neighbouring keys, as counters and addresses are, must not crowd few buckets.
    #[test]
    fn spreads_neighbours() {
        for seed in 0..8 {
            let hasher = Hasher::new(seed);
            for shift in [0, 8, 16, 32, 48] {
                let mut buckets = [0u32; 256];
                for key in 0..4096u64 {
                    buckets[hasher.pair(key << shift, 0) as usize & 255] += 1;
                }
                // 16 expected; a random function stays below 40 with a wide margin.
                assert!(buckets.iter().all(|&count| count < 48), "seed {seed} shift {shift}: {buckets:?}");
            }
        }
    }

    #[test]
    fn seeds_matter() {
        let same = (0..1000)
            .filter(|&seed| Hasher::new(seed).pair(1, 2) & 1023 == Hasher::new(seed + 1).pair(1, 2) & 1023);
        assert!(same.count() < 20);
    }
}
