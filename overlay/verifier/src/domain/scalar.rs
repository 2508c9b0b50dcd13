//! Sets of 64-bit numbers.

use serde::{Deserialize, Serialize};
use uio_bpf::instruction::{Alu, ByteOrder, Condition, Width};

use super::Bits;
use super::form::Form;
use super::view::{View, mask, signed};

/// Rounds of tightening: knowledge passes between the components at most this often. Less is only less precise.
const ROUNDS: u32 = 4;

/// A set of numbers: those that all components allow.
///
/// The bounds of the low half are kept beside those of the whole, because a comparison of halves says nothing about
/// the whole unless the upper half is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Form", try_from = "Form")]
pub struct Scalar {
    bits: Bits,
    umin: u64,
    umax: u64,
    smin: i64,
    smax: i64,
    low_umin: u32,
    low_umax: u32,
    low_smin: i32,
    low_smax: i32,
}

impl Scalar {
    /// All numbers.
    pub const UNKNOWN: Self = Self {
        bits: Bits::UNKNOWN,
        umin: 0,
        umax: u64::MAX,
        smin: i64::MIN,
        smax: i64::MAX,
        low_umin: 0,
        low_umax: u32::MAX,
        low_smin: i32::MIN,
        low_smax: i32::MAX,
    };

    /// Exactly `number`.
    #[must_use]
    pub const fn constant(number: u64) -> Self {
        Self {
            bits: Bits::constant(number),
            umin: number,
            umax: number,
            smin: number as i64,
            smax: number as i64,
            low_umin: number as u32,
            low_umax: number as u32,
            low_smin: number as i32,
            low_smax: number as i32,
        }
    }

    /// `min` to `max`, unsigned. All numbers if `min` is larger.
    #[must_use]
    pub fn unsigned(min: u64, max: u64) -> Self {
        if min > max {
            return Self::UNKNOWN;
        }
        Self { umin: min, umax: max, ..Self::UNKNOWN }.normalise().unwrap_or(Self::UNKNOWN)
    }

    /// `min` to `max`, signed. All numbers if `min` is larger.
    #[must_use]
    pub fn signed(min: i64, max: i64) -> Self {
        if min > max {
            return Self::UNKNOWN;
        }
        Self { smin: min, smax: max, ..Self::UNKNOWN }.normalise().unwrap_or(Self::UNKNOWN)
    }

    /// What agrees with `bits` and all bounds; `None` if nothing does.
    #[must_use]
    pub fn new(
        bits: Bits,
        unsigned: (u64, u64),
        signed: (i64, i64),
        low: (u32, u32),
        low_signed: (i32, i32),
    ) -> Option<Self> {
        Self {
            bits: Bits::new(bits.value, bits.mask),
            umin: unsigned.0,
            umax: unsigned.1,
            smin: signed.0,
            smax: signed.1,
            low_umin: low.0,
            low_umax: low.1,
            low_smin: low_signed.0,
            low_smax: low_signed.1,
        }
        .normalise()
    }

    /// The only number, if there is only one.
    #[must_use]
    pub const fn get(&self) -> Option<u64> {
        if self.bits.mask == 0 { Some(self.bits.value) } else { None }
    }

    /// Known bits.
    #[must_use]
    pub const fn bits(&self) -> Bits {
        self.bits
    }

    /// Smallest, unsigned.
    #[must_use]
    pub const fn umin(&self) -> u64 {
        self.umin
    }

    /// Largest, unsigned.
    #[must_use]
    pub const fn umax(&self) -> u64 {
        self.umax
    }

    /// Smallest, signed.
    #[must_use]
    pub const fn smin(&self) -> i64 {
        self.smin
    }

    /// Largest, signed.
    #[must_use]
    pub const fn smax(&self) -> i64 {
        self.smax
    }

    /// Bounds of the low half, unsigned.
    #[must_use]
    pub const fn low(&self) -> (u32, u32) {
        (self.low_umin, self.low_umax)
    }

    /// Bounds of the low half, signed.
    #[must_use]
    pub const fn low_signed(&self) -> (i32, i32) {
        (self.low_smin, self.low_smax)
    }

    /// Whether `number` is one of them.
    #[must_use]
    pub const fn contains(&self, number: u64) -> bool {
        self.bits.contains(number)
            && number >= self.umin
            && number <= self.umax
            && number as i64 >= self.smin
            && number as i64 <= self.smax
            && number as u32 >= self.low_umin
            && number as u32 <= self.low_umax
            && number as i32 >= self.low_smin
            && number as i32 <= self.low_smax
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn includes(&self, other: &Self) -> bool {
        self.view(Width::W64).includes(other.view(Width::W64))
            && self.view(Width::W32).includes(other.view(Width::W32))
    }

    /// The smallest set expressible that holds all of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::join(
            self.view(Width::W64).union(other.view(Width::W64)),
            self.view(Width::W32).union(other.view(Width::W32)),
        )
    }

    /// What both allow; `None` if that is nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::join(
            self.view(Width::W64).intersect(other.view(Width::W64))?,
            self.view(Width::W32).intersect(other.view(Width::W32))?,
        )
        .normalise()
    }

    /// The low `bytes` of each, zero-extended.
    #[must_use]
    pub fn truncate(&self, bytes: u8) -> Self {
        match bytes {
            8 => *self,
            4 => Self::extend(self.view(Width::W32)),
            _ => arithmetic(Alu::And, Width::W64, self, &Self::constant((1 << (u32::from(bytes) * 8)) - 1)),
        }
    }

    /// The low `bits` (8, 16, 32) of each, sign-extended to `width`.
    #[must_use]
    pub fn sign_extend(&self, bits: u8, width: Width) -> Self {
        let half = 1i64 << (bits - 1);
        if width == Width::W32 && i64::from(self.low_smin) >= -half && i64::from(self.low_smax) < half {
            return Self::extend(self.view(Width::W32));
        }
        let extended = if self.smin >= -half && self.smax < half {
            *self
        } else {
            let (smin, smax) = match bits {
                32 => (self.low_smin.into(), self.low_smax.into()),
                _ => (-half, half - 1),
            };
            let bits = self.bits.sign_extend(bits.into());
            let extended = Self { smin, smax, ..Self::UNKNOWN };
            // An inconsistency can only come from an empty set, of which anything may be said.
            Self { bits, ..extended }.normalise().unwrap_or(extended)
        };
        match width {
            Width::W32 => Self::extend(extended.view(Width::W32)),
            Width::W64 => extended,
        }
    }

    /// With the byte order of the low `bits` (16, 32, 64) converted, zero-extended.
    #[must_use]
    pub fn convert(&self, order: ByteOrder, bits: u8) -> Self {
        match order {
            ByteOrder::ToLittle => self.truncate(bits / 8),
            ByteOrder::ToBig | ByteOrder::Swap => {
                let swapped = self.bits.swap_bytes().shift_right(64 - u32::from(bits));
                Self { bits: swapped, ..Self::UNKNOWN }.normalise().unwrap_or(Self::UNKNOWN)
            }
        }
    }

    const fn view(&self, width: Width) -> View {
        match width {
            Width::W64 => {
                View { bits: self.bits, umin: self.umin, umax: self.umax, smin: self.smin, smax: self.smax }
            }
            Width::W32 => View {
                bits: self.bits.keep(mask(Width::W32)),
                umin: self.low_umin as u64,
                umax: self.low_umax as u64,
                smin: self.low_smin as i64,
                smax: self.low_smax as i64,
            },
        }
    }

    /// Both widths' views. The known bits are those of the whole.
    const fn join(whole: View, low: View) -> Self {
        Self {
            bits: whole.bits,
            umin: whole.umin,
            umax: whole.umax,
            smin: whole.smin,
            smax: whole.smax,
            low_umin: low.umin as u32,
            low_umax: low.umax as u32,
            low_smin: low.smin as i32,
            low_smax: low.smax as i32,
        }
    }

    /// 32-bit numbers, zero-extended.
    fn extend(low: View) -> Self {
        let low = low
            .tighten(Width::W32)
            .and_then(|low| low.tighten(Width::W32))
            .unwrap_or(View::unknown(Width::W32));
        let whole = View {
            bits: low.bits,
            umin: low.umin,
            umax: low.umax,
            smin: low.umin as i64,
            smax: low.umax as i64,
        };
        Self::join(whole, low)
    }

    /// The same set with tighter components; `None` if a contradiction shows that it is empty.
    fn normalise(self) -> Option<Self> {
        let mut scalar = self;
        for _ in 0..ROUNDS {
            let mut whole = scalar.view(Width::W64).tighten(Width::W64)?;
            let mut low = scalar.view(Width::W32);
            low.bits = whole.bits.keep(mask(Width::W32));
            // Where the upper half is the same for all, the low half is ordered as the whole. Both bounds come from
            // the same interval: one alone says nothing.
            for (min, max) in [(whole.umin, whole.umax), (whole.smin as u64, whole.smax as u64)] {
                if min >> 32 == max >> 32 {
                    low.umin = low.umin.max(min & mask(Width::W32));
                    low.umax = low.umax.min(max & mask(Width::W32));
                }
            }
            low = low.tighten(Width::W32)?;
            if whole.umin >> 32 == whole.umax >> 32 {
                let upper = whole.umin & !mask(Width::W32);
                whole.umin = whole.umin.max(upper | low.umin);
                whole.umax = whole.umax.min(upper | low.umax);
            }
            if whole.smin >= i64::from(i32::MIN) && whole.smax <= i64::from(i32::MAX) {
                whole.smin = whole.smin.max(low.smin);
                whole.smax = whole.smax.min(low.smax);
            }
            if whole.umin > whole.umax || whole.smin > whole.smax {
                return None;
            }
            whole.bits =
                whole.bits.intersect(Bits::new(low.bits.value, low.bits.mask | !mask(Width::W32)))?;
            let next = Self::join(whole, low);
            if next == scalar {
                break;
            }
            scalar = next;
        }
        Some(scalar)
    }
}

/// All results of `op` on numbers of both sets. `Move` gives the second.
#[must_use]
pub(crate) fn arithmetic(op: Alu, width: Width, a: &Scalar, b: &Scalar) -> Scalar {
    match width {
        Width::W32 => Scalar::extend(View::arithmetic(op, width, a.view(Width::W32), b.view(Width::W32))),
        Width::W64 => {
            let whole = View::arithmetic(op, width, a.view(Width::W64), b.view(Width::W64));
            let low = match op {
                // The low half of the result depends on the low halves only.
                Alu::Add | Alu::Subtract | Alu::Multiply | Alu::And | Alu::Or | Alu::Xor | Alu::Move => {
                    View::arithmetic(op, Width::W32, a.view(Width::W32), b.view(Width::W32))
                }
                _ => View::unknown(Width::W32),
            };
            let result = Scalar::join(whole, low);
            // Only an empty operand can give a contradiction.
            result.normalise().unwrap_or(Scalar::UNKNOWN)
        }
    }
}

/// What is left of two numbers after the comparison `condition` between them came out as `holds`; `None` if it
/// cannot have.
#[must_use]
pub(crate) fn refine(
    condition: Condition,
    holds: bool,
    width: Width,
    a: &Scalar,
    b: &Scalar,
) -> Option<(Scalar, Scalar)> {
    let (mut x, mut y) = (a.view(width), b.view(width));
    compare(condition, holds, width, &mut x, &mut y)?;
    Some((replace(a, width, x)?, replace(b, width, y)?))
}

/// `scalar` with the view of `width` tightened to `view`.
fn replace(scalar: &Scalar, width: Width, view: View) -> Option<Scalar> {
    if view == scalar.view(width) {
        return Some(*scalar);
    }
    let tightened = match width {
        Width::W64 => Scalar::join(view, scalar.view(Width::W32)),
        Width::W32 => {
            let bits =
                scalar.bits.intersect(Bits::new(view.bits.value, view.bits.mask | !mask(Width::W32)))?;
            Scalar { bits, ..Scalar::join(scalar.view(Width::W64), view) }
        }
    };
    tightened.normalise()
}

fn compare(condition: Condition, holds: bool, width: Width, a: &mut View, b: &mut View) -> Option<()> {
    match (condition, holds) {
        (Condition::Equal, true) | (Condition::NotEqual, false) => {
            *a = a.intersect(*b)?;
            *b = *a;
            Some(())
        }
        (Condition::Equal, false) | (Condition::NotEqual, true) => {
            if let Some(number) = b.get() {
                exclude(a, width, number)?;
            }
            if let Some(number) = a.get() {
                exclude(b, width, number)?;
            }
            Some(())
        }
        (Condition::Less, true) | (Condition::GreaterOrEqual, false) => below(a, b, 1),
        (Condition::LessOrEqual, true) | (Condition::Greater, false) => below(a, b, 0),
        (Condition::Greater, true) | (Condition::LessOrEqual, false) => below(b, a, 1),
        (Condition::GreaterOrEqual, true) | (Condition::Less, false) => below(b, a, 0),
        (Condition::SignedLess, true) | (Condition::SignedGreaterOrEqual, false) => signed_below(a, b, 1),
        (Condition::SignedLessOrEqual, true) | (Condition::SignedGreater, false) => signed_below(a, b, 0),
        (Condition::SignedGreater, true) | (Condition::SignedLessOrEqual, false) => signed_below(b, a, 1),
        (Condition::SignedGreaterOrEqual, true) | (Condition::SignedLess, false) => signed_below(b, a, 0),
        (Condition::BitsSet, true) => {
            bit_set(a, *b)?;
            bit_set(b, *a)
        }
        (Condition::BitsSet, false) => {
            // What is 1 in one must be 0 in the other.
            let (ones, others) = (a.bits.value, b.bits.value);
            a.bits = a.bits.intersect(Bits::new(0, !others))?;
            b.bits = b.bits.intersect(Bits::new(0, !ones))?;
            Some(())
        }
    }
}

/// `a + gap <= b`, unsigned.
fn below(a: &mut View, b: &mut View, gap: u64) -> Option<()> {
    a.umax = a.umax.min(b.umax.checked_sub(gap)?);
    b.umin = b.umin.max(a.umin.checked_add(gap)?);
    (a.umin <= a.umax && b.umin <= b.umax).then_some(())
}

/// `a + gap <= b`, signed.
fn signed_below(a: &mut View, b: &mut View, gap: i64) -> Option<()> {
    a.smax = a.smax.min(b.smax.checked_sub(gap)?);
    b.smin = b.smin.max(a.smin.checked_add(gap)?);
    (a.smin <= a.smax && b.smin <= b.smax).then_some(())
}

/// Without `number`, where it is a bound.
fn exclude(view: &mut View, width: Width, number: u64) -> Option<()> {
    let sign = signed(width, number);
    if view.get() == Some(number) {
        return None;
    }
    if view.umin == number {
        view.umin = view.umin.checked_add(1)?;
    }
    if view.umax == number {
        view.umax = view.umax.checked_sub(1)?;
    }
    if view.smin == sign {
        view.smin = view.smin.checked_add(1)?;
    }
    if view.smax == sign {
        view.smax = view.smax.checked_sub(1)?;
    }
    Some(())
}

/// `view` has a bit in common with a number of `other`.
fn bit_set(view: &mut View, other: View) -> Option<()> {
    let possible = other.bits.value | other.bits.mask;
    if (view.bits.value | view.bits.mask) & possible == 0 {
        return None;
    }
    if possible.is_power_of_two() {
        view.bits = view.bits.intersect(Bits::new(possible, !possible))?;
    }
    view.umin = view.umin.max(1);
    Some(())
}

#[cfg(test)]
#[path = "scalar_tests.rs"]
mod tests;
