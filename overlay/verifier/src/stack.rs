//! One function's stack: which bytes hold what.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::domain::Scalar;
use crate::value::{Content, Value};

/// Bytes of stack that a function may use.
pub(crate) const FRAME_BYTES: u32 = 512;

/// Eight bytes of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Its place, 0 being the lowest.
    pub(crate) index: u8,
    /// Which bytes were written, bit 0 being the lowest. Bytes of a pointer are not: nobody may read them as numbers.
    pub(crate) initialised: u8,
    /// Where in the slot `value` lies.
    pub(crate) start: u8,
    /// How many bytes it takes; 0 if none is known.
    pub(crate) bytes: u8,
    pub(crate) value: Value,
}

/// All slots in which anything was written, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) slots: Vec<Slot>,
}

/// The bits of `bytes` bytes from `start`.
const fn mask(start: u32, bytes: u32) -> u8 {
    (((1u32 << bytes) - 1) << start) as u8
}

impl Slot {
    pub(crate) const fn empty(index: u8) -> Self {
        Self { index, initialised: 0, start: 0, bytes: 0, value: Value::UNUSABLE }
    }

    pub(crate) const fn value_mask(&self) -> u8 {
        mask(self.start as u32, self.bytes as u32)
    }

    /// Forgets the value if it lies in the bytes `touched`. What is left of a pointer is unreadable.
    const fn forget(&mut self, touched: u8) {
        if self.bytes > 0 && self.value_mask() & touched != 0 {
            self.bytes = 0;
            self.value = Value::UNUSABLE;
        }
    }
}

impl Stack {
    pub(crate) fn get(&self, index: u8) -> Option<&Slot> {
        let place = self.slots.binary_search_by_key(&index, |slot| slot.index).ok()?;
        self.slots.get(place)
    }

    fn entry(&mut self, index: u8) -> &mut Slot {
        let place = match self.slots.binary_search_by_key(&index, |slot| slot.index) {
            Ok(place) => place,
            Err(place) => {
                self.slots.insert(place, Slot::empty(index));
                place
            }
        };
        &mut self.slots[place]
    }

    /// The parts of `bytes` bytes at `position` in each slot: index, start, bytes.
    fn parts(position: u32, bytes: u32) -> impl Iterator<Item = (u8, u32, u32)> {
        let end = position + bytes;
        (position / 8..end.div_ceil(8)).map(move |index| {
            let start = position.max(index * 8);
            let stop = end.min(index * 8 + 8);
            (index as u8, start - index * 8, stop - start)
        })
    }

    /// What `bytes` (1, 2, 4, 8) at `position` from the lowest byte hold, zero-extended; `None` if some were never
    /// written, or are bytes of a pointer.
    pub(crate) fn load(&self, position: u32, bytes: u32) -> Option<Value> {
        let mut all = true;
        for (index, start, count) in Self::parts(position, bytes) {
            let slot = self.get(index)?;
            if count == bytes && slot.bytes > 0 {
                if (u32::from(slot.start), u32::from(slot.bytes)) == (start, bytes) {
                    return Some(slot.value);
                }
                let inside =
                    start >= slot.start.into() && start + bytes <= u32::from(slot.start + slot.bytes);
                if inside && let Some(number) = slot.value.as_scalar().and_then(Scalar::get) {
                    let part = number >> (8 * (start - u32::from(slot.start)));
                    return Some(Value::scalar(Scalar::constant(part).truncate(bytes as u8)));
                }
            }
            all &= slot.initialised & mask(start, count) == mask(start, count);
        }
        all.then(|| Value::scalar(Scalar::UNKNOWN.truncate(bytes as u8)))
    }

    /// Stores `value` to `bytes` (1, 2, 4, 8) at `position`. A pointer has 8 bytes and lies in one slot; a number
    /// fits its size.
    pub(crate) fn store(&mut self, position: u32, bytes: u32, value: Value) {
        let whole = position / 8 == (position + bytes - 1) / 8;
        for (index, start, count) in Self::parts(position, bytes) {
            let touched = mask(start, count);
            let slot = self.entry(index);
            slot.forget(touched);
            slot.initialised |= touched;
            if whole {
                // One value a slot: an older one elsewhere in the slot stays as bytes.
                slot.start = start as u8;
                slot.bytes = count as u8;
                slot.value = value;
                if value.is_pointer() {
                    slot.initialised = 0;
                }
            }
        }
    }

    /// Whether all of `bytes` at `position` are written numbers.
    pub(crate) fn is_data(&self, position: u32, bytes: u32) -> bool {
        Self::parts(position, bytes).all(|(index, start, count)| {
            self.get(index).is_some_and(|slot| slot.initialised & mask(start, count) == mask(start, count))
        })
    }

    /// Something unknown but written now lies in `certain` bytes at `position`, and perhaps in the rest of `bytes`.
    pub(crate) fn overwrite(&mut self, position: u32, bytes: u32, certain: u32) {
        for (index, start, count) in Self::parts(position, bytes) {
            let slot = self.entry(index);
            slot.forget(mask(start, count));
        }
        for (index, start, count) in Self::parts(position, certain) {
            self.entry(index).initialised |= mask(start, count);
        }
        self.slots.retain(|slot| slot.initialised != 0 || slot.bytes > 0);
    }

    /// All values.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.slots.iter_mut().filter(|slot| slot.bytes > 0).map(|slot| &mut slot.value)
    }

    /// Drops slots whose value became unusable.
    pub(crate) fn prune(&mut self) {
        for slot in &mut self.slots {
            if slot.bytes > 0 && matches!(slot.value.content, Content::Unusable) {
                slot.bytes = 0;
            }
        }
        self.slots.retain(|slot| slot.initialised != 0 || slot.bytes > 0);
    }
}
