//! The two short lists of the protocol: names of a `Twalk`, qids of an `Rwalk`.

use super::attributes::Qid;
use super::cursor::{Reader, Writer};
use super::{WALK_NAMES_MAX, WireError};

/// Names of one `Twalk`, at most [`WALK_NAMES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    names: [&'a str; WALK_NAMES_MAX],
    count: usize,
}

impl<'a> Names<'a> {
    /// Takes names from the front of `names`, as many as fit into one walk.
    pub fn take_from(names: &mut impl Iterator<Item = &'a str>) -> Self {
        let mut taken = Self::default();
        for name in names.by_ref().take(WALK_NAMES_MAX) {
            taken.names[taken.count] = name;
            taken.count += 1;
        }
        taken
    }

    /// The names in order.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a str] {
        &self.names[..self.count]
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.u16(self.count as u16)?;
        self.as_slice().iter().try_for_each(|name| writer.string(name))
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut names = Self { count: count(reader)?, ..Self::default() };
        for name in &mut names.names[..names.count] {
            *name = reader.string()?;
        }
        Ok(names)
    }
}

/// Qids of one `Rwalk`, at most [`WALK_NAMES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qids {
    qids: [Qid; WALK_NAMES_MAX],
    count: usize,
}

impl Qids {
    /// Appends a qid.
    ///
    /// # Errors
    ///
    /// [`WireError::TooManyNames`] if the list is full.
    pub fn push(&mut self, qid: Qid) -> Result<(), WireError> {
        let place =
            self.qids.get_mut(self.count).ok_or(WireError::TooManyNames { names: WALK_NAMES_MAX + 1 })?;
        *place = qid;
        self.count += 1;
        Ok(())
    }

    /// The qids in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Qid] {
        &self.qids[..self.count]
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.u16(self.count as u16)?;
        self.as_slice().iter().try_for_each(|qid| qid.encode(writer))
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut qids = Self { count: count(reader)?, ..Self::default() };
        for qid in &mut qids.qids[..qids.count] {
            *qid = Qid::decode(reader)?;
        }
        Ok(qids)
    }
}

fn count(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    let names = usize::from(reader.u16()?);
    if names > WALK_NAMES_MAX { Err(WireError::TooManyNames { names }) } else { Ok(names) }
}
