//! Bytes that look random and are the same at each run.

/// A generator of pseudo-random numbers (xorshift64*, Vigna 2016): what a test sends can be sent again from its seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that it would never leave.
        Self { state: seed | 1 << 63 }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() >> 16) as usize % limit
    }

    /// `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_value_comes_about_equally_often_and_again_from_the_same_seed() {
        let bytes = Random::new(7).bytes(256 * 256);
        assert_eq!(bytes, Random::new(7).bytes(256 * 256));
        assert_ne!(bytes, Random::new(8).bytes(256 * 256));
        let mut seen = [0_usize; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] += 1);
        assert!(seen.iter().all(|times| (128..384).contains(times)), "{seen:?}");
    }
}
