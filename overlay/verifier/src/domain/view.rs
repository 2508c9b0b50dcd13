//! Numbers of one width: known bits with an unsigned and a signed interval, and arithmetic on them.
//!
//! Everything here exists once for both widths; a 32-bit view holds zero-extended numbers and sign-extended signed
//! bounds. Each operation gives bounds that contain every concrete result; what one component cannot express
//! another may, and [`View::tighten`] carries knowledge between them.

use uio_bpf::instruction::{Alu, Width};

use super::Bits;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) bits: Bits,
    pub(super) umin: u64,
    pub(super) umax: u64,
    pub(super) smin: i64,
    pub(super) smax: i64,
}

/// Largest unsigned number.
pub(super) const fn mask(width: Width) -> u64 {
    match width {
        Width::W32 => u32::MAX as u64,
        Width::W64 => u64::MAX,
    }
}

/// Number of bits.
pub(super) const fn bits(width: Width) -> u32 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

/// `number` of this width as a signed number.
pub(super) const fn signed(width: Width, number: u64) -> i64 {
    match width {
        Width::W32 => number as u32 as i32 as i64,
        Width::W64 => number as i64,
    }
}

const fn least(width: Width) -> i64 {
    match width {
        Width::W32 => i32::MIN as i64,
        Width::W64 => i64::MIN,
    }
}

const fn greatest(width: Width) -> i64 {
    match width {
        Width::W32 => i32::MAX as i64,
        Width::W64 => i64::MAX,
    }
}

impl View {
    pub(super) const fn unknown(width: Width) -> Self {
        Self {
            bits: Bits { value: 0, mask: mask(width) },
            umin: 0,
            umax: mask(width),
            smin: least(width),
            smax: greatest(width),
        }
    }

    pub(super) const fn constant(width: Width, number: u64) -> Self {
        let number = number & mask(width);
        let sign = signed(width, number);
        Self { bits: Bits::constant(number), umin: number, umax: number, smin: sign, smax: sign }
    }

    const fn of_bits(width: Width, bits: Bits) -> Self {
        Self { bits: bits.keep(mask(width)), ..Self::unknown(width) }
    }

    const fn of_unsigned(width: Width, umin: u64, umax: u64) -> Self {
        Self { umin, umax, ..Self::unknown(width) }
    }

    /// Signed bounds, if both fit the width.
    const fn of_signed(width: Width, smin: i128, smax: i128) -> Self {
        if smin < least(width) as i128 || smax > greatest(width) as i128 {
            Self::unknown(width)
        } else {
            Self { smin: smin as i64, smax: smax as i64, ..Self::unknown(width) }
        }
    }

    pub(super) const fn get(self) -> Option<u64> {
        if self.bits.mask == 0 { Some(self.bits.value) } else { None }
    }

    /// Carries knowledge between the components, once; `None` if a contradiction shows that the set is empty.
    pub(super) fn tighten(mut self, width: Width) -> Option<Self> {
        self.umin = self.umin.max(self.bits.value);
        self.umax = self.umax.min(self.bits.value | self.bits.mask);
        // Within one half of the numbers, signed and unsigned order are the same.
        let (first, last) = (signed(width, self.umin), signed(width, self.umax));
        if first <= last {
            self.smin = self.smin.max(first);
            self.smax = self.smax.min(last);
        }
        let (first, last) = (self.smin as u64 & mask(width), self.smax as u64 & mask(width));
        if first <= last {
            self.umin = self.umin.max(first);
            self.umax = self.umax.min(last);
        }
        if self.umin > self.umax || self.smin > self.smax {
            return None;
        }
        self.bits = self.bits.intersect(Bits::range(self.umin, self.umax))?;
        Some(self)
    }

    pub(super) fn intersect(self, other: Self) -> Option<Self> {
        Some(Self {
            bits: self.bits.intersect(other.bits)?,
            umin: self.umin.max(other.umin),
            umax: self.umax.min(other.umax),
            smin: self.smin.max(other.smin),
            smax: self.smax.min(other.smax),
        })
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self {
            bits: self.bits.union(other.bits),
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
        }
    }

    pub(super) const fn includes(self, other: Self) -> bool {
        self.bits.includes(other.bits)
            && self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
    }

    /// All results of `op`. Not normalised. `Move` gives the second operand.
    pub(super) fn arithmetic(op: Alu, width: Width, a: Self, b: Self) -> Self {
        match op {
            Alu::Add => Self::add(width, a, b),
            Alu::Subtract => Self::subtract(width, a, b),
            Alu::Multiply => Self::multiply(width, a, b),
            Alu::Divide => Self::divide(width, a, b),
            Alu::Modulo => Self::modulo(width, a, b),
            Alu::SignedDivide => Self::signed_divide(width, a, b),
            Alu::SignedModulo => Self::signed_modulo(width, a, b),
            Alu::And => {
                let umax = if a.umax < b.umax { a.umax } else { b.umax };
                Self { umax, ..Self::of_bits(width, a.bits.and(b.bits)) }
            }
            Alu::Or => {
                let umin = if a.umin > b.umin { a.umin } else { b.umin };
                Self { umin, ..Self::of_bits(width, a.bits.or(b.bits)) }
            }
            Alu::Xor => Self::of_bits(width, a.bits.xor(b.bits)),
            Alu::ShiftLeft => Self::shift_left(width, a, b),
            Alu::ShiftRight => Self::shift_right(width, a, b),
            Alu::ShiftRightArithmetic => Self::shift_right_arithmetic(width, a, b),
            Alu::Move => b,
        }
    }

    fn add(width: Width, a: Self, b: Self) -> Self {
        let modulus = 1i128 << bits(width);
        let sums = Self::of_signed(
            width,
            i128::from(a.smin) + i128::from(b.smin),
            i128::from(a.smax) + i128::from(b.smax),
        );
        let (min, max) = (i128::from(a.umin) + i128::from(b.umin), i128::from(a.umax) + i128::from(b.umax));
        Self { bits: a.bits.add(b.bits).keep(mask(width)), ..sums }.with_wrapped(width, min, max, modulus)
    }

    fn subtract(width: Width, a: Self, b: Self) -> Self {
        let modulus = 1i128 << bits(width);
        let differences = Self::of_signed(
            width,
            i128::from(a.smin) - i128::from(b.smax),
            i128::from(a.smax) - i128::from(b.smin),
        );
        let (min, max) = (i128::from(a.umin) - i128::from(b.umax), i128::from(a.umax) - i128::from(b.umin));
        Self { bits: a.bits.subtract(b.bits).keep(mask(width)), ..differences }
            .with_wrapped(width, min, max, modulus)
    }

    /// With unsigned bounds `min` to `max`, if none or all numbers between them wrap.
    fn with_wrapped(self, width: Width, min: i128, max: i128, modulus: i128) -> Self {
        let wraps = min.div_euclid(modulus);
        if wraps != max.div_euclid(modulus) {
            return self;
        }
        let umin = (min - wraps * modulus) as u64 & mask(width);
        let umax = (max - wraps * modulus) as u64 & mask(width);
        Self { umin, umax, ..self }
    }

    fn multiply(width: Width, a: Self, b: Self) -> Self {
        let corners = [(a.smin, b.smin), (a.smin, b.smax), (a.smax, b.smin), (a.smax, b.smax)]
            .map(|(x, y)| i128::from(x) * i128::from(y));
        let mut result = Self::of_signed(
            width,
            corners.into_iter().fold(i128::MAX, i128::min),
            corners.into_iter().fold(i128::MIN, i128::max),
        );
        let largest = u128::from(a.umax) * u128::from(b.umax);
        if largest <= u128::from(mask(width)) {
            result.umin = a.umin * b.umin;
            result.umax = largest as u64;
        }
        result.bits = a.bits.multiply(b.bits).keep(mask(width));
        result
    }

    fn divide(width: Width, a: Self, b: Self) -> Self {
        // Division by zero gives zero.
        match (b.umin, b.umax) {
            (_, 0) => Self::constant(width, 0),
            (0, _) => Self::of_unsigned(width, 0, a.umax),
            (min, max) => Self::of_unsigned(width, a.umin / max, a.umax / min),
        }
    }

    fn modulo(width: Width, a: Self, b: Self) -> Self {
        // The remainder by zero is the dividend; every other one is below the divisor and not above the dividend.
        if b.umax == 0 || (b.umin > a.umax) {
            return a;
        }
        if let (Some(dividend), Some(divisor)) = (a.get(), b.get()) {
            return Self::constant(width, dividend.checked_rem(divisor).unwrap_or(dividend));
        }
        let umax = if b.umin > 0 && b.umax - 1 < a.umax { b.umax - 1 } else { a.umax };
        Self::of_unsigned(width, 0, umax)
    }

    fn signed_divide(width: Width, a: Self, b: Self) -> Self {
        let Some(divisor) = b.get() else {
            return Self::unknown(width);
        };
        let divisor = i128::from(signed(width, divisor));
        if divisor == 0 {
            return Self::constant(width, 0);
        }
        // The minimum by -1 does not fit and leaves everything unknown.
        let (first, last) = (i128::from(a.smin) / divisor, i128::from(a.smax) / divisor);
        Self::of_signed(width, first.min(last), first.max(last))
    }

    fn signed_modulo(width: Width, a: Self, b: Self) -> Self {
        let Some(divisor) = b.get() else {
            return Self::unknown(width);
        };
        let divisor = i128::from(signed(width, divisor));
        if divisor == 0 {
            return a;
        }
        // The remainder has the dividend's sign and is smaller than the divisor.
        let most = divisor.abs() - 1;
        let smin = if a.smin < 0 { (-most).max(i128::from(a.smin)) } else { 0 };
        let smax = if a.smax > 0 { most.min(i128::from(a.smax)) } else { 0 };
        Self::of_signed(width, smin, smax)
    }

    /// Smallest and largest count of a shift; counts are taken modulo the width.
    fn counts(width: Width, b: Self) -> (u32, u32) {
        let most = u64::from(bits(width)) - 1;
        match b.get() {
            Some(count) => ((count & most) as u32, (count & most) as u32),
            None if b.umax <= most => (b.umin as u32, b.umax as u32),
            None => (0, most as u32),
        }
    }

    fn shift_left(width: Width, a: Self, b: Self) -> Self {
        let (least_count, most_count) = Self::counts(width, b);
        let mut result = Self::unknown(width);
        if u128::from(a.umax) << most_count <= u128::from(mask(width)) {
            result.umin = a.umin << least_count;
            result.umax = a.umax << most_count;
        }
        if least_count == most_count {
            let shifted =
                Self::of_signed(width, i128::from(a.smin) << least_count, i128::from(a.smax) << least_count);
            result.smin = shifted.smin;
            result.smax = shifted.smax;
            result.bits = a.bits.shift_left(least_count).keep(mask(width));
        }
        result
    }

    fn shift_right(width: Width, a: Self, b: Self) -> Self {
        let (least_count, most_count) = Self::counts(width, b);
        let mut result = Self::of_unsigned(width, a.umin >> most_count, a.umax >> least_count);
        if least_count == most_count {
            result.bits = a.bits.shift_right(least_count);
        }
        result
    }

    fn shift_right_arithmetic(width: Width, a: Self, b: Self) -> Self {
        let (least_count, most_count) = Self::counts(width, b);
        // A larger count brings a number nearer to 0 or -1.
        let smin = a.smin >> if a.smin < 0 { least_count } else { most_count };
        let smax = a.smax >> if a.smax < 0 { most_count } else { least_count };
        let mut result = Self::of_signed(width, smin.into(), smax.into());
        if least_count == most_count {
            let extended = a.bits.sign_extend(bits(width));
            result.bits = Bits {
                value: ((extended.value as i64) >> least_count) as u64,
                mask: ((extended.mask as i64) >> least_count) as u64,
            }
            .keep(mask(width));
        }
        result
    }
}
