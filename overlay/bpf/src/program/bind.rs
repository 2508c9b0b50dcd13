//! Checks that the parts of an executable fit together.

use core::fmt;

use alloc::vec::Vec;

use super::{Executable, FRAMES_MAX, LOOP, TAIL_CALL, TAKEN_MAX};
use crate::instruction::{Callee, Immediate64, Operation};

/// Why parts do not make an [`Executable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are the slot and what it names")]
pub enum BindError {
    /// The list of functions is empty, does not start at 0, is not ascending, or names no instruction.
    Functions,
    /// There is no such helper here.
    Helper { slot: u32, number: u32 },
    /// The object has no such map.
    Map { slot: u32, map: u32 },
    /// The map is no array, or the offset is not inside its first value.
    MapValue { slot: u32, map: u32, offset: u32 },
    /// A jump leaves its function.
    Jump { slot: u32, target: u32 },
    /// A call, or the load of a function's address, of something that is no function.
    Callee { slot: u32, target: u32 },
    /// One function more than [`TAKEN_MAX`] has its address loaded.
    Taken { slot: u32 },
    /// A tail call from a function other than the entry.
    TailCall { slot: u32 },
    /// A chain of calls is longer than [`FRAMES_MAX`], or closes.
    Depth { function: u32 },
    /// Execution could run on past the function's last instruction.
    End { slot: u32 },
    /// Only backward jumps can cost fuel.
    Fuel { slot: u32 },
}

impl fmt::Display for BindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Functions => formatter.write_str("its list of functions is not in order"),
            Self::Helper { slot, number } => {
                write!(formatter, "instruction {slot}: there is no helper {number}")
            }
            Self::Map { slot, map } => write!(formatter, "instruction {slot}: there is no map {map}"),
            Self::MapValue { slot, map, offset } => {
                write!(formatter, "instruction {slot}: map {map} has no value with a byte {offset}")
            }
            Self::Jump { slot, target } => {
                write!(formatter, "instruction {slot}: jumps out of its function to {target}")
            }
            Self::Callee { slot, target } => {
                write!(formatter, "instruction {slot}: no function starts at {target}")
            }
            Self::Taken { slot } => {
                write!(
                    formatter,
                    "instruction {slot}: addresses of more than {TAKEN_MAX} functions are loaded"
                )
            }
            Self::TailCall { slot } => {
                write!(formatter, "instruction {slot}: tail calls are for the entry function")
            }
            Self::Depth { function } => {
                write!(
                    formatter,
                    "the function at {function} can be more than {FRAMES_MAX} calls deep or call itself"
                )
            }
            Self::End { slot } => {
                write!(formatter, "instruction {slot}: the function goes on past its last instruction")
            }
            Self::Fuel { slot } => write!(formatter, "instruction {slot}: only backward jumps cost fuel"),
        }
    }
}

impl core::error::Error for BindError {}

impl Executable {
    pub(super) fn check_functions(&self) -> Result<(), BindError> {
        let in_order = self.functions.first() == Some(&0)
            && self.functions.is_sorted_by(|before, after| before < after)
            && self.functions.iter().all(|start| self.operations.get(*start).is_some());
        if in_order { Ok(()) } else { Err(BindError::Functions) }
    }

    /// Checks what each operation names, collects the functions whose address is taken and all calls
    /// (caller and callee as indices of functions; `None` for a call of whatever is taken).
    pub(super) fn check_operations(&mut self) -> Result<Vec<(usize, Option<usize>)>, BindError> {
        let mut calls = Vec::new();
        let mut function = 0;
        let mut end = self.end(0);
        for (slot, operation) in self.operations.iter() {
            if slot >= end {
                function += 1;
                end = self.end(function);
            }
            let start = self.functions[function];
            let width = if matches!(operation, Operation::LoadImmediate { .. }) { 2 } else { 1 };
            if slot + width == end && !matches!(operation, Operation::Exit | Operation::Jump { .. }) {
                return Err(BindError::End { slot });
            }
            match operation {
                Operation::Jump { target } | Operation::JumpIf { target, .. } => {
                    if !(start..end).contains(&target) {
                        return Err(BindError::Jump { slot, target });
                    }
                    set(&mut self.targets, target);
                }
                Operation::Call(Callee::Function(target)) => {
                    calls.push((function, Some(self.index(slot, target)?)));
                }
                Operation::Call(Callee::Register(_) | Callee::Helper(LOOP)) => {
                    calls.push((function, None));
                }
                Operation::Call(Callee::Helper(number)) => {
                    if self.helper(number).is_none() {
                        return Err(BindError::Helper { slot, number });
                    }
                    if number == TAIL_CALL && function != 0 {
                        return Err(BindError::TailCall { slot });
                    }
                }
                Operation::LoadImmediate { value: Immediate64::Function(target), .. } => {
                    self.index(slot, target)?;
                    if let Err(place) = self.taken.binary_search(&target) {
                        if self.taken.len() == TAKEN_MAX {
                            return Err(BindError::Taken { slot });
                        }
                        self.taken.insert(place, target);
                    }
                }
                Operation::LoadImmediate { value: Immediate64::Map(map), .. }
                    if map as usize >= self.maps.len() =>
                {
                    return Err(BindError::Map { slot, map });
                }
                Operation::LoadImmediate { value: Immediate64::MapValue { map, offset }, .. } => {
                    let binding = self.maps.get(map as usize).ok_or(BindError::Map { slot, map })?;
                    // One past the end is an address that compilers form.
                    if binding.array.is_none_or(|array| array.entries == 0 || offset > array.stride) {
                        return Err(BindError::MapValue { slot, map, offset });
                    }
                }
                _ => {}
            }
        }
        for (_, callee) in &mut calls {
            // A call of whatever is taken leads to one place that leads to all of them.
            callee.get_or_insert(self.functions.len());
        }
        for target in &self.taken {
            calls.push((self.functions.len(), self.functions.binary_search(target).ok()));
        }
        Ok(calls)
    }

    /// One past the last slot of function `index`.
    pub(crate) fn end(&self, index: usize) -> u32 {
        self.functions.get(index + 1).copied().unwrap_or(self.operations.len())
    }

    fn index(&self, slot: u32, target: u32) -> Result<usize, BindError> {
        self.functions.binary_search(&target).map_err(|_| BindError::Callee { slot, target })
    }

    pub(super) fn mark(&mut self, fuelled: &[u32]) -> Result<(), BindError> {
        if fuelled.is_empty() {
            return Ok(());
        }
        self.fuelled = alloc::vec![0; self.operations.len().div_ceil(64) as usize];
        for &slot in fuelled {
            match self.operations.get(slot) {
                Some(Operation::Jump { target } | Operation::JumpIf { target, .. }) if target <= slot => {
                    set(&mut self.fuelled, slot);
                }
                _ => return Err(BindError::Fuel { slot }),
            }
        }
        Ok(())
    }
}

fn set(bits: &mut [u64], slot: u32) {
    if let Some(word) = bits.get_mut(slot as usize / 64) {
        *word |= 1 << (slot % 64);
    }
}

/// Frames in the longest chain of `calls`. The last index stands for "whatever is taken" and is no frame.
pub(super) fn depth(calls: &[(usize, Option<usize>)], functions: &[u32]) -> Result<usize, BindError> {
    let mut depths = alloc::vec![1_usize; functions.len() + 1];
    depths[functions.len()] = 0;
    // Each round knows chains longer by one call, of which at most every other leads to the pseudo function and counts
    // nothing: about twice FRAMES_MAX rounds.
    loop {
        let mut changed = false;
        for &(caller, callee) in calls {
            let Some(callee) = callee else { continue };
            let depth = depths[caller] + usize::from(callee < functions.len());
            if depth > FRAMES_MAX {
                let function = functions.get(callee).or(functions.get(caller)).copied().unwrap_or(0);
                return Err(BindError::Depth { function });
            }
            if depth > depths[callee] {
                depths[callee] = depth;
                changed = true;
            }
        }
        if !changed {
            return Ok(depths.into_iter().max().unwrap_or(1));
        }
    }
}
