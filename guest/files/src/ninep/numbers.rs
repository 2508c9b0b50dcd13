//! Small numbers that are given out and come back: tags and fids.

/// The numbers below `64 * WORDS`, one bit each.
#[derive(Debug)]
pub(super) struct Numbers<const WORDS: usize> {
    taken: [u64; WORDS],
}

impl<const WORDS: usize> Numbers<WORDS> {
    /// All numbers free.
    pub(super) const fn new() -> Self {
        Self { taken: [0; WORDS] }
    }

    /// Takes the smallest free number.
    pub(super) fn take(&mut self) -> Option<u32> {
        let (index, word) = self.taken.iter_mut().enumerate().find(|(_, word)| **word != u64::MAX)?;
        let bit = word.trailing_ones();
        *word |= 1 << bit;
        Some(index as u32 * u64::BITS + bit)
    }

    /// Gives a number back.
    pub(super) fn give(&mut self, number: u32) {
        let index = (number / u64::BITS) as usize;
        debug_assert!(self.taken[index] >> (number % u64::BITS) & 1 == 1, "number {number} was free");
        self.taken[index] &= !(1 << (number % u64::BITS));
    }

    /// Numbers that are out.
    pub(super) fn count(&self) -> u32 {
        self.taken.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn gives_each_number_once() {
        let mut numbers = Numbers::<2>::new();
        let all: Vec<u32> = core::iter::from_fn(|| numbers.take()).collect();
        assert_eq!(all, (0..128).collect::<Vec<u32>>());
        for number in [127, 3, 64] {
            numbers.give(number);
        }
        assert_eq!(numbers.count(), 125);
        assert_eq!(
            [numbers.take(), numbers.take(), numbers.take(), numbers.take()],
            [Some(3), Some(64), Some(127), None]
        );
    }
}
