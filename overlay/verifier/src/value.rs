//! What is known of one register or one slot of stack.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Scalar;

/// Names a number or a null-ness that several values share; 0 names nothing.
pub(crate) type Id = u32;

/// What a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Region {
    /// The program's context.
    Context,
    /// The stack of the function with this depth, the entry's being 0. Offsets are below its R10.
    Stack(u8),
    /// The packet, from its first byte.
    Packet,
    /// Metadata in front of the packet, from its first byte.
    PacketMeta,
    /// One past the packet's last byte.
    PacketEnd,
    /// The map with this index, itself.
    Map(u32),
    /// A value of the map with this index.
    MapValue(u32),
    /// A record from a ring buffer.
    Record {
        /// Names what has to be given back.
        reference: Id,
        /// Its size.
        bytes: u32,
    },
    /// Plain memory of this size.
    Memory(u32),
    /// The function that starts at this slot.
    Function(u32),
}

/// An address: the region's start plus `fixed` plus a number in `variable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub(crate) region: Region,
    /// Whether it may be null instead. Values with the same identity are null together.
    pub(crate) nullable: bool,
    pub(crate) fixed: i32,
    /// In packets the value's identity, if any, names this number.
    pub(crate) variable: Scalar,
}

/// How far a value is from what a loop's counter was when its head was passed last. Says nothing while that loop
/// is not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Slot of the loop's head.
    pub(crate) head: u32,
    /// Where the counter was, as [`Location`].
    pub(crate) origin: Location,
    /// Least distance, modulo 2^64.
    pub(crate) min: i32,
    /// Largest distance.
    pub(crate) max: i32,
}

/// Where a value is in the current function: registers by number, slots of stack from [`Location::STACK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Location(pub(crate) u8);

impl Location {
    /// The lowest slot of stack.
    pub(crate) const STACK: u8 = 16;
}

/// Loops that a value can count at once; more are forgotten.
pub(crate) const LOOPS: usize = 2;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Nothing that may be read.
    Unusable,
    /// A number.
    Scalar(Scalar),
    /// An address.
    Pointer(Pointer),
}

/// A register or a slot of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) content: Content,
    pub(crate) id: Id,
    /// If not 0, this number is the one with that identity, which has no more than 32 bits, shifted left by 32: half
    /// of how compilers extend it.
    #[serde(skip)]
    pub(crate) shifted: Id,
    pub(crate) progress: [Option<Progress>; LOOPS],
}

impl Value {
    pub(crate) const UNUSABLE: Self =
        Self { content: Content::Unusable, id: 0, shifted: 0, progress: [None; LOOPS] };

    pub(crate) const fn scalar(scalar: Scalar) -> Self {
        Self { content: Content::Scalar(scalar), id: 0, shifted: 0, progress: [None; LOOPS] }
    }

    /// The start of `region`, certainly not null.
    pub(crate) const fn pointer(region: Region) -> Self {
        Self {
            content: Content::Pointer(Pointer {
                region,
                nullable: false,
                fixed: 0,
                variable: Scalar::constant(0),
            }),
            id: 0,
            shifted: 0,
            progress: [None; LOOPS],
        }
    }

    pub(crate) const fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::Unusable | Content::Pointer(_) => None,
        }
    }

    pub(crate) const fn as_pointer(&self) -> Option<&Pointer> {
        match &self.content {
            Content::Pointer(pointer) => Some(pointer),
            Content::Unusable | Content::Scalar(_) => None,
        }
    }

    pub(crate) const fn is_pointer(&self) -> bool {
        matches!(self.content, Content::Pointer(_))
    }

    /// This value's progress, `min` to `max` further; nothing where that is too far.
    pub(crate) fn advanced(&self, min: i64, max: i64) -> [Option<Progress>; LOOPS] {
        self.progress.map(|progress| {
            let progress = progress?;
            Some(Progress {
                min: i32::try_from(i64::from(progress.min).checked_add(min)?).ok()?,
                max: i32::try_from(i64::from(progress.max).checked_add(max)?).ok()?,
                ..progress
            })
        })
    }

    /// Notes that this is the counter of the loop at `head`, as it is now.
    pub(crate) fn begin(&mut self, head: u32, origin: Location) {
        let entry = Some(Progress { head, origin, min: 0, max: 0 });
        if let Some(free) = self.progress.iter_mut().find(|progress| progress.is_none()) {
            *free = entry;
        }
    }
}

impl Pointer {
    /// Smallest and largest offset of an access `offset` further, if they are reasonable.
    pub(crate) fn offsets(&self, offset: i64) -> Option<(i64, i64)> {
        let fixed = i64::from(self.fixed).checked_add(offset)?;
        let min = self.variable.smin().checked_add(fixed)?;
        let max = self.variable.smax().checked_add(fixed)?;
        Some((min, max))
    }

    /// The offset, if only one is possible.
    pub(crate) fn constant_offset(&self) -> Option<i64> {
        Some(i64::from(self.fixed) + self.variable.get()? as i64)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Unusable => out.write_str("nothing"),
            Content::Scalar(scalar) => write!(out, "{scalar}"),
            Content::Pointer(pointer) => write!(out, "{pointer}"),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.get() {
            return if number <= 9 { write!(out, "{number}") } else { write!(out, "{number} ({number:#x})") };
        }
        let whole = Self::UNKNOWN;
        if *self == whole {
            return out.write_str("any number");
        }
        if self.umin() != 0 || self.umax() != u64::MAX {
            write!(out, "a number from {} to {}", self.umin(), self.umax())?;
        } else if self.smin() != i64::MIN || self.smax() != i64::MAX {
            write!(out, "a number from {} to {}", self.smin(), self.smax())?;
        } else if self.low() != (0, u32::MAX) {
            write!(out, "a number with a low half from {} to {}", self.low().0, self.low().1)?;
        } else {
            out.write_str("a number")?;
        }
        let known = !self.bits().mask & !(!0u64).checked_shl(64 - self.umax().leading_zeros()).unwrap_or(0);
        if known != 0 {
            write!(out, " (bits {known:#x} are {:#x})", self.bits().value & known)?;
        }
        Ok(())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nullable {
            out.write_str("null or ")?;
        }
        match self.region {
            Region::Context => out.write_str("the context")?,
            Region::Stack(frame) => write!(out, "stack of frame {frame}")?,
            Region::Packet => out.write_str("the packet")?,
            Region::PacketMeta => out.write_str("the packet's metadata")?,
            Region::PacketEnd => out.write_str("the packet's end")?,
            Region::Map(map) => write!(out, "map {map}")?,
            Region::MapValue(map) => write!(out, "a value of map {map}")?,
            Region::Record { bytes, .. } => write!(out, "a ring record of {bytes} bytes")?,
            Region::Memory(bytes) => write!(out, "memory of {bytes} bytes")?,
            Region::Function(slot) => write!(out, "the function at {slot}")?,
        }
        if self.fixed != 0 {
            write!(out, " {:+}", self.fixed)?;
        }
        if self.variable.get() != Some(0) {
            write!(out, " + {}", self.variable)?;
        }
        Ok(())
    }
}
