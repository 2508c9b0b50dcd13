//! Generations: no way back to a version that was replaced, unless an operator says so.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;

use super::claims::Claims;
use super::hook::Hook;
use super::limits::GENERATIONS_MAX;
use super::policy::Policy;

/// The highest generation that was loaded, for each tenant at each hook.
///
/// It lives as long as the guest; what has to outlive it is a `floor` line of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationStore {
    floors: BTreeMap<String, BTreeMap<Hook, u64>>,
    pairs: usize,
}

/// The store remembers as many pairs of tenant and hook as it can ([`GENERATIONS_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationsFull;

impl GenerationStore {
    /// A store that starts with the floors of `policy`, which are fewer than it can hold.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let mut store = Self::default();
        for floor in policy.floors() {
            // A policy holds fewer floors than the store.
            let _ = store.raise(&floor.tenant, &floor.hook, floor.generation);
        }
        store
    }

    /// Lowest generation that may be loaded for `tenant` at `hook`.
    #[must_use]
    pub fn floor(&self, tenant: &str, hook: &Hook) -> u64 {
        self.floors.get(tenant).and_then(|hooks| hooks.get(hook)).copied().unwrap_or(0)
    }

    /// Remembers that what `claims` describe was loaded. The guest calls it when the load is through; a floor
    /// never falls, also where an operator allowed to go back.
    ///
    /// # Errors
    ///
    /// [`GenerationsFull`]; then nothing of the claims is remembered, and the load has to be undone.
    pub fn record(&mut self, claims: &Claims) -> Result<(), GenerationsFull> {
        let known = self.floors.get(&claims.tenant);
        let new = claims.hooks.iter().filter(|hook| !known.is_some_and(|hooks| hooks.contains_key(*hook)));
        if self.pairs + new.count() > GENERATIONS_MAX {
            return Err(GenerationsFull);
        }
        claims.hooks.iter().try_for_each(|hook| self.raise(&claims.tenant, hook, claims.generation))
    }

    fn raise(&mut self, tenant: &str, hook: &Hook, generation: u64) -> Result<(), GenerationsFull> {
        if let Some(floor) = self.floors.get_mut(tenant).and_then(|hooks| hooks.get_mut(hook)) {
            *floor = generation.max(*floor);
            return Ok(());
        }
        if self.pairs >= GENERATIONS_MAX {
            return Err(GenerationsFull);
        }
        self.pairs += 1;
        self.floors.entry(tenant.to_owned()).or_default().insert(hook.clone(), generation);
        Ok(())
    }
}
