//! The bytes of one file in memory: blocks of equal size, holes left out.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use uio_protocol::error::FileError;

use crate::errno::EFBIG;

/// Bytes of a block. A page: small files waste less than one, and growing never copies.
pub const BLOCK_BYTES: usize = 4096;

/// Largest file size in bytes: Linux's, whose file offsets are signed.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Contents of a file.
#[derive(Default)]
pub(super) struct Content {
    size: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Content {
    /// Size in bytes, holes included.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of memory held, in whole blocks.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// Reads from `offset` on; returns the count, 0 at or beyond the end.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        for piece in pieces(offset, length) {
            let target = &mut buffer[piece.at..piece.at + piece.length];
            match self.blocks.get(&piece.block) {
                Some(block) => target.copy_from_slice(&block[piece.start..piece.start + piece.length]),
                None => target.fill(0),
            }
        }
        length
    }

    /// Writes `bytes` from `offset` on, taking at most `budget_bytes` of new memory. On an error
    /// nothing has changed.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8], budget_bytes: u64) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= SIZE_MAX)
            .ok_or(FileError::Errno(EFBIG))?;
        let missing: Vec<u64> = pieces(offset, bytes.len())
            .map(|piece| piece.block)
            .filter(|block| !self.blocks.contains_key(block))
            .collect();
        if (missing.len() * BLOCK_BYTES) as u64 > budget_bytes {
            return Err(FileError::NoSpace);
        }
        let mut fresh = Vec::new();
        fresh.try_reserve_exact(missing.len()).map_err(|_| FileError::NoSpace)?;
        for _ in &missing {
            fresh.push(empty_block()?);
        }
        self.blocks.extend(missing.into_iter().zip(fresh));
        for piece in pieces(offset, bytes.len()) {
            if let Some(block) = self.blocks.get_mut(&piece.block) {
                block[piece.start..piece.start + piece.length]
                    .copy_from_slice(&bytes[piece.at..piece.at + piece.length]);
            }
        }
        self.size = self.size.max(end);
        Ok(())
    }

    /// Cuts or extends to `size` bytes.
    pub(super) fn truncate(&mut self, size: u64) -> Result<(), FileError> {
        if size > SIZE_MAX {
            return Err(FileError::Errno(EFBIG));
        }
        if size < self.size {
            let unit = BLOCK_BYTES as u64;
            drop(self.blocks.split_off(&size.div_ceil(unit)));
            // What lies behind the new end must read as zeros if the file grows again.
            if let Some(block) = self.blocks.get_mut(&(size / unit)) {
                block[(size % unit) as usize..].fill(0);
            }
        }
        self.size = size;
        Ok(())
    }
}

/// One block's share of a range of a file.
struct Piece {
    /// Index of the block.
    block: u64,
    /// First byte within the block.
    start: usize,
    /// First byte within the caller's buffer.
    at: usize,
    /// Bytes.
    length: usize,
}

/// Splits `length` bytes from `offset` on into blocks. The caller has checked that the end does
/// not overflow.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = Piece> {
    let unit = BLOCK_BYTES as u64;
    let mut at = 0;
    core::iter::from_fn(move || {
        (at < length).then(|| {
            let position = offset + at as u64;
            let start = (position % unit) as usize;
            let piece =
                Piece { block: position / unit, start, at, length: (BLOCK_BYTES - start).min(length - at) };
            at += piece.length;
            piece
        })
    })
}

fn empty_block() -> Result<Box<[u8]>, FileError> {
    let mut block = Vec::new();
    block.try_reserve_exact(BLOCK_BYTES).map_err(|_| FileError::NoSpace)?;
    block.resize(BLOCK_BYTES, 0);
    Ok(block.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn budget_is_kept_and_failure_changes_nothing() {
        let mut content = Content::default();
        assert_eq!(content.write_at(1, &[7; BLOCK_BYTES], BLOCK_BYTES as u64), Err(FileError::NoSpace));
        assert_eq!((content.size(), content.held_bytes()), (0, 0));
        assert_eq!(content.write_at(0, &[7; BLOCK_BYTES], BLOCK_BYTES as u64), Ok(()));
        assert_eq!(content.write_at(0, &[8; BLOCK_BYTES], 0), Ok(()));
        assert_eq!(content.write_at(u64::MAX, &[1], 1 << 20), Err(FileError::Errno(EFBIG)));
        assert_eq!(content.write_at(SIZE_MAX, &[1], 1 << 20), Err(FileError::Errno(EFBIG)));
        assert_eq!(content.held_bytes(), BLOCK_BYTES as u64);
    }

    #[test]
    fn a_hole_costs_nothing() {
        let mut content = Content::default();
        content.truncate(1 << 40).unwrap();
        assert_eq!((content.size(), content.held_bytes()), (1 << 40, 0));
        let mut buffer = [1; 10];
        assert_eq!(content.read_at((1 << 40) - 4, &mut buffer), 4);
        assert_eq!(buffer[..4], [0; 4]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0..3 * BLOCK_BYTES as u64;
        prop_oneof![
            (place.clone(), proptest::collection::vec(1u8.., 0..2 * BLOCK_BYTES))
                .prop_map(|(o, b)| Step::Write(o, b)),
            place.prop_map(Step::Truncate),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(
            steps in proptest::collection::vec(step(), 1..12),
            from in 0usize..5 * BLOCK_BYTES,
            length in 0usize..3 * BLOCK_BYTES,
        ) {
            let mut content = Content::default();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        content.write_at(offset, &bytes, u64::MAX).unwrap();
                        if !bytes.is_empty() {
                            let end = offset as usize + bytes.len();
                            model.resize(model.len().max(end), 0);
                            model[offset as usize..end].copy_from_slice(&bytes);
                        }
                    }
                    Step::Truncate(size) => {
                        content.truncate(size).unwrap();
                        model.resize(size as usize, 0);
                    }
                }
                prop_assert!(content.held_bytes() <= (model.len().div_ceil(BLOCK_BYTES) * BLOCK_BYTES) as u64);
            }
            prop_assert_eq!(content.size(), model.len() as u64);
            let expected = model.get(from..).unwrap_or(&[]);
            let expected = &expected[..expected.len().min(length)];
            let mut buffer = vec![0xee; length];
            let count = content.read_at(from as u64, &mut buffer);
            prop_assert_eq!(&buffer[..count], expected);
        }
    }
}
