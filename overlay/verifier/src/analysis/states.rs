//! The state before every instruction, for people.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::program::Program;
use crate::proof::Proof;
use crate::state::State;
use crate::transfer::{Next, Usage, step};

/// Descriptions kept in all.
const MOST: usize = 100_000;

/// Walks once more from the entry and every state of the proof, and describes what passes.
pub(super) fn describe(program: &Program<'_>, proof: &Proof) -> Vec<(u32, String)> {
    let mut usage = Usage::new(program);
    let mut found = Vec::new();
    let is_point = |slot| proof.points.binary_search_by_key(&slot, |point| point.slot).is_ok();
    let stated = proof.points.iter().flat_map(|point| {
        point.states.iter().filter_map(|facts| Some((Box::new(facts.state().ok()?), point.slot, true)))
    });
    let mut waiting: Vec<(Box<State>, u32, bool)> = stated.collect();
    waiting.push((Box::new(program.entry()), 0, false));
    while let Some((mut state, mut slot, mut stated)) = waiting.pop() {
        while found.len() < MOST && (stated || !is_point(slot)) {
            stated = false;
            found.push((slot, state.to_string()));
            let Some(operation) = program.code.get(slot) else {
                break;
            };
            slot = match step(program, &mut usage, &mut state, slot, operation) {
                Ok(Next::One(edge)) => edge.to,
                Ok(Next::Two(first, second, other)) => {
                    waiting.push((other, second.to, false));
                    first.to
                }
                Ok(Next::Stop) | Err(_) => break,
            };
        }
    }
    found.sort();
    found.dedup();
    found
}
