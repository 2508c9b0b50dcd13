//! Messages as bytes, and back, by postcard.
//!
//! postcard's own sources and sinks are inlined into the code of every field of every message. In a guest that
//! code is most of what this crate weighs, so these are not.

use alloc::vec::Vec;

use postcard::de_flavors::Flavor as Source;
use postcard::ser_flavors::Flavor as Sink;
use postcard::{Deserializer, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Serializes a message behind what `bytes` holds already.
///
/// # Errors
///
/// As postcard, for types that it has no form for.
pub fn append<T: Serialize + ?Sized>(message: &T, bytes: Vec<u8>) -> Result<Vec<u8>> {
    postcard::serialize_with_flavor(message, Output(bytes))
}

/// Reads a message from the front of `bytes`; gives it, and what is left.
///
/// # Errors
///
/// As postcard, if the bytes are no such message.
pub fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8])> {
    let mut deserializer = Deserializer::from_flavor(Input(bytes));
    let message = T::deserialize(&mut deserializer)?;
    Ok((message, deserializer.finalize()?))
}

struct Output(Vec<u8>);

impl Sink for Output {
    type Output = Vec<u8>;

    #[inline(never)]
    fn try_push(&mut self, data: u8) -> Result<()> {
        self.0.push(data);
        Ok(())
    }

    #[inline(never)]
    fn try_extend(&mut self, data: &[u8]) -> Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn finalize(self) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

struct Input<'de>(&'de [u8]);

impl<'de> Source<'de> for Input<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline(never)]
    fn pop(&mut self) -> Result<u8> {
        let (&first, rest) = self.0.split_first().ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(first)
    }

    // What bounds the memory that a damaged length can ask for.
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }

    #[inline(never)]
    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn finalize(self) -> Result<&'de [u8]> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    type Sample = (u64, i64, String, Vec<u32>, Option<bool>, [u8; 3]);

    proptest! {
        #[test]
        fn the_bytes_are_postcards(sample: Sample) {
            let bytes = append(&sample, vec![9, 9]).unwrap();
            prop_assert_eq!(&bytes[..2], &[9, 9]);
            prop_assert_eq!(&bytes[2..], postcard::to_allocvec(&sample).unwrap());
            prop_assert_eq!(take::<Sample>(&bytes[2..]), Ok((sample, &[][..])));
        }

        #[test]
        fn any_bytes_are_read_as_postcard_reads_them(bytes: Vec<u8>) {
            prop_assert_eq!(take::<Sample>(&bytes), postcard::take_from_bytes::<Sample>(&bytes));
        }
    }
}
