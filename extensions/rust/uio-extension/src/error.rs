//! Error numbers of the guest.

use core::fmt;

/// Why a gate refused: a Linux error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The memory is not the caller's, and not the application's.
    pub const PERM: Self = Self(1);
    /// No such file.
    pub const NOENT: Self = Self(2);
    /// The file's server failed.
    pub const IO: Self = Self(5);
    /// The file's mode or mount forbids it.
    pub const ACCES: Self = Self(13);
    /// Not mapped, or not writable by anybody.
    pub const FAULT: Self = Self(14);
    /// Not a path.
    pub const INVAL: Self = Self(22);

    /// Turns what a gate returned into a result.
    pub(crate) fn check(value: i64) -> Result<u64, Self> {
        u64::try_from(value).map_err(|_| Self(i32::try_from(value.unsigned_abs()).unwrap_or(Self::IO.0)))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match *self {
            Self::PERM => "not yours to write",
            Self::NOENT => "no such file",
            Self::IO => "input/output error",
            Self::ACCES => "not allowed",
            Self::FAULT => "bad address",
            Self::INVAL => "bad path",
            Self(number) => return write!(formatter, "error {number}"),
        };
        formatter.write_str(what)
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_values_are_errors() {
        assert_eq!(Errno::check(0), Ok(0));
        assert_eq!(Errno::check(i64::MAX), Ok(i64::MAX as u64));
        assert_eq!(Errno::check(-14), Err(Errno::FAULT));
        assert_eq!(Errno::check(i64::MIN), Err(Errno::IO));
    }
}
