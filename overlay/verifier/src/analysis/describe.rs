//! A proof in words, for people.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::proof::{Proof, Rank};
use crate::stack::FRAME_BYTES;
use crate::value::Location;

/// What a proof says about one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The instruction.
    pub slot: u32,
    /// States of which every run that reaches it is in one.
    pub states: Vec<String>,
    /// If a loop begins here, why it ends.
    pub ends: Option<String>,
}

impl Proof {
    /// All that it states, ascending by slot. Whether any of it is true only the check knows.
    #[must_use]
    pub fn describe(&self) -> Vec<Statement> {
        let mut statements: Vec<Statement> = self
            .points
            .iter()
            .map(|point| Statement {
                slot: point.slot,
                states: point
                    .states
                    .iter()
                    .map(|facts| {
                        facts.state().map_or_else(|error| error.to_string(), |state| state.to_string())
                    })
                    .collect(),
                ends: None,
            })
            .collect();
        let ranked = self.ranks.iter().map(|rank| (rank.head, reason(rank)));
        let fuelled = self.fuel.iter().map(|head| (*head, String::from("fuel ends this loop")));
        for (head, ends) in ranked.chain(fuelled) {
            let place = match statements.binary_search_by_key(&head, |statement| statement.slot) {
                Ok(place) => place,
                Err(place) => {
                    statements.insert(place, Statement { slot: head, states: Vec::new(), ends: None });
                    place
                }
            };
            statements[place].ends = Some(ends);
        }
        statements
    }
}

fn reason(rank: &Rank) -> String {
    let Location(place) = rank.location;
    let counter = match place.checked_sub(Location::STACK) {
        None => format!("r{place}"),
        Some(index) => format!("[r10{:+}]", i64::from(index) * 8 - i64::from(FRAME_BYTES)),
    };
    let way = if rank.up { "rises" } else { "falls" };
    format!("this loop ends: {counter} {way} in every pass and stays between {} and {}", rank.min, rank.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_loops_are_told_by_instruction() {
        let rank = Rank { head: 3, location: Location(2), min: 0, max: 64, up: true };
        let proof = Proof { points: Vec::new(), ranks: alloc::vec![rank], fuel: alloc::vec![1] };
        let told: Vec<(u32, Option<String>)> =
            proof.describe().into_iter().map(|statement| (statement.slot, statement.ends)).collect();
        let rises = "this loop ends: r2 rises in every pass and stays between 0 and 64";
        assert_eq!(told, [(1, Some("fuel ends this loop".into())), (3, Some(rises.into()))]);
    }
}
