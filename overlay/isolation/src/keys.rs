//! Hands out protection keys to domains.
//!
//! Sixteen keys, three of them reserved, leave thirteen. A key that is freed must no longer tag any
//! page when it is handed out again, or the new domain could write the old one's memory; to make a page
//! that was forgotten likely to show, the key freed longest ago is handed out first, and a
//! handle carries a generation so that freeing twice or freeing somebody else's key is an error.
//!
//! # Sharing
//!
//! Keys are not shared: the fourteenth domain gets [`KeysExhausted`]. If that changes, what sharing costs
//! is this. With `n` domains over `k` keys, each assigned uniformly and independently, a store that goes
//! astray from one domain into another one chosen by chance lands on a page it may write with
//! probability 1/k (k = 13: 7.7 %), for every `n`. Filling keys evenly gives
//! (n/k − 1)/(n − 1) where k divides n: 0 up to k domains, 4.0 % at 26, 7.2 % at 200. The
//! assignment has to be seeded per boot: an attacker who knows it chooses the partner.

use crate::pkru::{KEY_COUNT, ProtectionKey};

/// The first key that domains get; those below are reserved.
pub const FIRST_DOMAIN_KEY: u8 = 3;

/// Keys that can be handed out.
pub const DOMAIN_KEY_COUNT: usize = KEY_COUNT - FIRST_DOMAIN_KEY as usize;

/// Who holds a key: the caller's number, an extension id for instance.
pub type Holder = u32;

/// The right to use a key until it is freed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the key stays taken until the handle is freed"]
pub struct KeyHandle {
    key: ProtectionKey,
    generation: u32,
}

impl KeyHandle {
    /// The key.
    pub const fn key(&self) -> ProtectionKey {
        self.key
    }

    /// How many times the key had been handed out before.
    pub const fn generation(&self) -> u32 {
        self.generation
    }
}

/// All keys are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysExhausted {
    /// Who holds them, in order of key from [`FIRST_DOMAIN_KEY`].
    pub holders: [Holder; DOMAIN_KEY_COUNT],
}

/// The handle does not belong to this allocator's current state.
#[derive(Debug, PartialEq, Eq)]
pub struct StaleHandle {
    /// The handle that was refused.
    pub handle: KeyHandle,
    /// Who holds the key now; `None` if it is free.
    pub holder: Option<Holder>,
    /// Generation in which the key is held, or will be handed out next.
    pub generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    holder: Option<Holder>,
    generation: u32,
    /// Value of the clock when it was freed.
    freed_at: u64,
}

/// Allocator of the keys from [`FIRST_DOMAIN_KEY`] to 15.
#[derive(Debug)]
pub struct KeyAllocator {
    slots: [Slot; DOMAIN_KEY_COUNT],
    /// Counts frees, to order them.
    clock: u64,
}

impl KeyAllocator {
    /// All keys free.
    pub const fn new() -> Self {
        Self { slots: [Slot { holder: None, generation: 0, freed_at: 0 }; DOMAIN_KEY_COUNT], clock: 0 }
    }

    /// Takes the key that has been free longest.
    ///
    /// # Errors
    /// [`KeysExhausted`] with the holders of all keys.
    pub fn allocate(&mut self, holder: Holder) -> Result<KeyHandle, KeysExhausted> {
        let free = self.slots.iter_mut().zip(FIRST_DOMAIN_KEY..);
        let free = free.filter(|(slot, _)| slot.holder.is_none());
        let found = free.min_by_key(|(slot, _)| slot.freed_at);
        if let Some((slot, number)) = found
            && let Some(key) = ProtectionKey::new(number)
        {
            slot.holder = Some(holder);
            return Ok(KeyHandle { key, generation: slot.generation });
        }
        Err(KeysExhausted { holders: self.slots.map(|slot| slot.holder.unwrap_or_default()) })
    }

    /// Gives a key back. No page may carry it any more.
    ///
    /// # Errors
    /// [`StaleHandle`] if the handle is not the one that the key is held by.
    pub fn free(&mut self, handle: KeyHandle) -> Result<(), StaleHandle> {
        let slot = usize::from(handle.key.number()).checked_sub(usize::from(FIRST_DOMAIN_KEY));
        let Some(slot) = slot.and_then(|index| self.slots.get_mut(index)) else {
            return Err(StaleHandle { handle, holder: None, generation: 0 });
        };
        if slot.holder.is_none() || slot.generation != handle.generation {
            return Err(StaleHandle { holder: slot.holder, generation: slot.generation, handle });
        }
        self.clock += 1;
        *slot = Slot { holder: None, generation: slot.generation.wrapping_add(1), freed_at: self.clock };
        Ok(())
    }

    /// Who holds a key; `None` for free and for reserved keys.
    pub fn holder(&self, key: ProtectionKey) -> Option<Holder> {
        let index = usize::from(key.number()).checked_sub(usize::from(FIRST_DOMAIN_KEY))?;
        self.slots.get(index)?.holder
    }

    /// Keys handed out.
    pub fn in_use(&self) -> usize {
        self.slots.iter().filter(|slot| slot.holder.is_some()).count()
    }
}

impl Default for KeyAllocator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn thirteen_keys_then_an_error_that_names_the_holders() {
        let mut keys = KeyAllocator::new();
        for holder in 0..DOMAIN_KEY_COUNT as u32 {
            let handle = keys.allocate(100 + holder).unwrap();
            assert_eq!(u32::from(handle.key().number()), 3 + holder);
            assert_eq!(keys.holder(handle.key()), Some(100 + holder));
        }
        let holders = core::array::from_fn(|index| 100 + index as u32);
        assert_eq!(keys.allocate(7), Err(KeysExhausted { holders }));
        assert_eq!(keys.holder(ProtectionKey::EXCHANGE), None);
    }

    #[test]
    fn a_freed_key_rests_as_long_as_possible() {
        let mut keys = KeyAllocator::new();
        let mut handles: Vec<_> = (0..13).map(|holder| keys.allocate(holder).unwrap()).collect();
        let (seventh, fourth) = (handles.remove(7), handles.remove(4));
        let (seventh_key, fourth_key) = (seventh.key(), fourth.key());
        keys.free(seventh).unwrap();
        keys.free(fourth).unwrap();
        assert_eq!(keys.allocate(50).unwrap().key(), seventh_key);
        assert_eq!(keys.allocate(51).unwrap().key(), fourth_key);
    }

    #[test]
    fn a_stale_handle_is_refused_with_the_facts() {
        let mut keys = KeyAllocator::new();
        let handle = keys.allocate(1).unwrap();
        let copy = KeyHandle { key: handle.key, generation: handle.generation };
        let forged = KeyHandle { key: ProtectionKey::KERNEL, generation: 0 };
        keys.free(handle).unwrap();
        let twice = keys.free(copy).unwrap_err();
        assert_eq!((twice.holder, twice.generation, twice.handle.generation), (None, 1, 0));
        assert!(keys.free(forged).is_err());
        let key = twice.handle.key;
        let mut other = Vec::new();
        while keys.holder(key).is_none() {
            other.push(keys.allocate(9).unwrap());
        }
        let late = keys.free(twice.handle).unwrap_err();
        assert_eq!((late.holder, late.generation), (Some(9), 1));
    }

    proptest! {
        /// Against a plain list of who holds what.
        #[test]
        fn never_hands_out_a_held_key(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200)) {
            let mut keys = KeyAllocator::new();
            let mut held: Vec<(Holder, KeyHandle)> = Vec::new();
            for (number, (allocate, choice)) in steps.into_iter().enumerate() {
                if allocate {
                    match keys.allocate(number as Holder) {
                        Ok(handle) => {
                            prop_assert!(handle.key().number() >= FIRST_DOMAIN_KEY);
                            prop_assert!(held.iter().all(|(_, other)| other.key() != handle.key()));
                            held.push((number as Holder, handle));
                        }
                        Err(_) => prop_assert_eq!(held.len(), DOMAIN_KEY_COUNT),
                    }
                } else if !held.is_empty() {
                    let (holder, handle) = held.swap_remove(choice.index(held.len()));
                    prop_assert_eq!(keys.holder(handle.key()), Some(holder));
                    prop_assert!(keys.free(handle).is_ok());
                }
                prop_assert_eq!(keys.in_use(), held.len());
            }
        }
    }
}
