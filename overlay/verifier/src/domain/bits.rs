//! Known bits ("tristate numbers"): every bit is 0, 1 or unknown.

/// The numbers that agree with `value` in every bit that `mask` does not name. `value & mask` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The known ones.
    pub value: u64,
    /// The unknown bits.
    pub mask: u64,
}

impl Bits {
    /// Nothing known.
    pub const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    /// Exactly `value`.
    #[must_use]
    pub const fn constant(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    /// `value` with the bits in `mask` unknown.
    #[must_use]
    pub const fn new(value: u64, mask: u64) -> Self {
        Self { value: value & !mask, mask }
    }

    /// What all numbers from `min` to `max` have in common.
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Self {
        let differing = min ^ max;
        let mask = match differing.leading_zeros() {
            0 => u64::MAX,
            64 => 0,
            zeros => u64::MAX >> zeros,
        };
        Self::new(min, mask)
    }

    /// Whether `number` is one of them.
    #[must_use]
    pub const fn contains(self, number: u64) -> bool {
        number & !self.mask == self.value
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// What both allow; `None` if they contradict each other.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Option<Self> {
        if (self.value ^ other.value) & !self.mask & !other.mask != 0 {
            return None;
        }
        Some(Self::new(self.value | other.value, self.mask & other.mask))
    }

    /// What allows all of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self::new(self.value, self.mask | other.mask | (self.value ^ other.value))
    }

    /// The bits in `mask`, the others zero.
    #[must_use]
    pub const fn keep(self, mask: u64) -> Self {
        Self { value: self.value & mask, mask: self.mask & mask }
    }

    /// Sums. A bit is unknown if it is in an operand, or if the carry into it differs between the smallest and
    /// the largest sum.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        let smallest = self.value.wrapping_add(other.value);
        let unknown = self.mask.wrapping_add(other.mask);
        let largest = smallest.wrapping_add(unknown);
        Self::new(smallest, smallest ^ largest | self.mask | other.mask)
    }

    /// Differences.
    #[must_use]
    pub const fn subtract(self, other: Self) -> Self {
        let middle = self.value.wrapping_sub(other.value);
        let largest = middle.wrapping_add(self.mask);
        let smallest = middle.wrapping_sub(other.mask);
        Self::new(middle, largest ^ smallest | self.mask | other.mask)
    }

    /// Bitwise and.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let possible = (self.value | self.mask) & (other.value | other.mask);
        let certain = self.value & other.value;
        Self { value: certain, mask: possible & !certain }
    }

    /// Bitwise or.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        let certain = self.value | other.value;
        Self { value: certain, mask: (self.mask | other.mask) & !certain }
    }

    /// Bitwise exclusive or.
    #[must_use]
    pub const fn xor(self, other: Self) -> Self {
        Self::new(self.value ^ other.value, self.mask | other.mask)
    }

    /// Shifted left by `count` below 64.
    #[must_use]
    pub const fn shift_left(self, count: u32) -> Self {
        Self { value: self.value << count, mask: self.mask << count }
    }

    /// Shifted right by `count` below 64.
    #[must_use]
    pub const fn shift_right(self, count: u32) -> Self {
        Self { value: self.value >> count, mask: self.mask >> count }
    }

    /// Products: only the trailing zeros that they must have.
    #[must_use]
    pub const fn multiply(self, other: Self) -> Self {
        if self.mask == 0 && other.mask == 0 {
            return Self::constant(self.value.wrapping_mul(other.value));
        }
        let zeros = (self.value | self.mask).trailing_zeros() + (other.value | other.mask).trailing_zeros();
        if zeros >= 64 { Self::constant(0) } else { Self { value: 0, mask: u64::MAX << zeros } }
    }

    /// Sign-extended from the low `width` bits, 1 to 64.
    #[must_use]
    pub const fn sign_extend(self, width: u32) -> Self {
        let unused = 64 - width;
        // The copies of an unknown sign bit are unknown, so that value and mask extend alike.
        Self {
            value: (((self.value << unused) as i64) >> unused) as u64,
            mask: (((self.mask << unused) as i64) >> unused) as u64,
        }
    }

    /// With its bytes in the opposite order.
    #[must_use]
    pub const fn swap_bytes(self) -> Self {
        Self { value: self.value.swap_bytes(), mask: self.mask.swap_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Known bits and one number that agrees with them.
    fn member() -> impl Strategy<Value = (Bits, u64)> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(value, mask, other, sparse)| {
            let mask = if sparse { mask & mask.rotate_left(7) & mask.rotate_left(19) } else { mask };
            (Bits::new(value, mask), value & !mask | other & mask)
        })
    }

    proptest! {
        #[test]
        fn operations_contain_every_concrete_result((a, x) in member(), (b, y) in member(), count in 0u32..64, width in 1u32..=64) {
            prop_assert!(a.contains(x));
            prop_assert!(a.add(b).contains(x.wrapping_add(y)));
            prop_assert!(a.subtract(b).contains(x.wrapping_sub(y)));
            prop_assert!(a.multiply(b).contains(x.wrapping_mul(y)));
            prop_assert!(a.and(b).contains(x & y));
            prop_assert!(a.or(b).contains(x | y));
            prop_assert!(a.xor(b).contains(x ^ y));
            prop_assert!(a.shift_left(count).contains(x << count));
            prop_assert!(a.shift_right(count).contains(x >> count));
            prop_assert!(a.swap_bytes().contains(x.swap_bytes()));
            let unused = 64 - width;
            prop_assert!(a.sign_extend(width).contains(((x << unused) as i64 >> unused) as u64));
            prop_assert!(a.union(b).contains(x) && a.union(b).contains(y));
            prop_assert!(a.union(b).includes(a) && a.union(b).includes(b));
            let (min, max) = (x.min(y), x.max(y));
            let range = Bits::range(min, max);
            prop_assert!(range.contains(min) && range.contains(max) && range.contains(min / 2 + max / 2));
        }

        #[test]
        fn the_invariant_holds((a, _) in member(), (b, _) in member(), count in 0u32..64, width in 1u32..=64) {
            for result in [a.add(b), a.subtract(b), a.multiply(b), a.and(b), a.or(b), a.xor(b), a.union(b),
                a.shift_left(count), a.shift_right(count), a.sign_extend(width), a.swap_bytes()]
            {
                prop_assert_eq!(result.value & result.mask, 0);
            }
        }

        #[test]
        fn intersection_keeps_what_both_contain((a, x) in member(), mask in any::<u64>()) {
            let b = Bits::new(x, mask);
            let both = a.intersect(b);
            prop_assert!(both.is_some_and(|both| both.contains(x) && a.includes(both) && b.includes(both)));
        }
    }
}
