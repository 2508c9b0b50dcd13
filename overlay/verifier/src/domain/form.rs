//! How proofs write sets of numbers: in the shortest form that says all.

use serde::{Deserialize, Serialize};

use super::{Bits, Scalar};

/// A set of numbers on the wire.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Form {
    Unknown,
    Constant(u64),
    /// From 0.
    UpTo(u64),
    Unsigned(u64, u64),
    Signed(i64, i64),
    /// Value and mask.
    Bits(u64, u64),
    All {
        bits: (u64, u64),
        unsigned: (u64, u64),
        signed: (i64, i64),
        low: (u32, u32),
        low_signed: (i32, i32),
    },
}

/// The set is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Empty;

impl core::fmt::Display for Empty {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("no number has all of these properties")
    }
}

impl From<Scalar> for Form {
    fn from(scalar: Scalar) -> Self {
        let bits = (scalar.bits().value, scalar.bits().mask);
        if let Some(number) = scalar.get() {
            return Self::Constant(number);
        }
        let short = [
            Self::Unknown,
            Self::UpTo(scalar.umax()),
            Self::Unsigned(scalar.umin(), scalar.umax()),
            Self::Signed(scalar.smin(), scalar.smax()),
            Self::Bits(bits.0, bits.1),
        ];
        short.into_iter().find(|form| Scalar::try_from(*form) == Ok(scalar)).unwrap_or(Self::All {
            bits,
            unsigned: (scalar.umin(), scalar.umax()),
            signed: (scalar.smin(), scalar.smax()),
            low: scalar.low(),
            low_signed: scalar.low_signed(),
        })
    }
}

impl TryFrom<Form> for Scalar {
    type Error = Empty;

    fn try_from(form: Form) -> Result<Self, Empty> {
        const ALL: (u64, u64) = (0, u64::MAX);
        const SIGNED: (i64, i64) = (i64::MIN, i64::MAX);
        const LOW: (u32, u32) = (0, u32::MAX);
        const LOW_SIGNED: (i32, i32) = (i32::MIN, i32::MAX);
        let scalar = match form {
            Form::Unknown => Some(Self::UNKNOWN),
            Form::Constant(number) => Some(Self::constant(number)),
            Form::UpTo(max) => Self::new(Bits::UNKNOWN, (0, max), SIGNED, LOW, LOW_SIGNED),
            Form::Unsigned(min, max) => Self::new(Bits::UNKNOWN, (min, max), SIGNED, LOW, LOW_SIGNED),
            Form::Signed(min, max) => Self::new(Bits::UNKNOWN, ALL, (min, max), LOW, LOW_SIGNED),
            Form::Bits(value, mask) => Self::new(Bits::new(value, mask), ALL, SIGNED, LOW, LOW_SIGNED),
            Form::All { bits, unsigned, signed, low, low_signed } => {
                Self::new(Bits::new(bits.0, bits.1), unsigned, signed, low, low_signed)
            }
        };
        scalar.ok_or(Empty)
    }
}
