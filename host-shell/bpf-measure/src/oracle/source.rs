//! Where the generator's choices come from: a seed, or a fuzzer's bytes.

/// A stream of choices.
pub trait Source {
    /// The next 64 bits.
    fn next(&mut self) -> u64;

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True `percent` times out of 100.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which are not none.
    fn pick<T: Copy>(&mut self, choices: &[T]) -> T
    where
        Self: Sized,
    {
        choices[self.below(choices.len())]
    }
}

/// SplitMix64: an endless stream from a seed.
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Source for Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// A fuzzer's bytes, two a choice so that few of them say much; then the same program's seed goes on.
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    left: &'a [u8],
    rest: Seeded,
}

impl<'a> Bytes<'a> {
    /// Choices from `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, rest: Seeded(bytes.len() as u64) }
    }
}

impl Source for Bytes<'_> {
    fn next(&mut self) -> u64 {
        match self.left.split_at_checked(2) {
            Some((now, left)) => {
                self.left = left;
                u64::from(u16::from_le_bytes([now[0], now[1]]))
            }
            None => self.rest.next(),
        }
    }
}
