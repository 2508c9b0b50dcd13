//! The program's graph: order, points where paths meet, and what is live.

use alloc::vec::Vec;

use uio_bpf::helper::{Argument, prototype};
use uio_bpf::instruction::{Alu, Callee, Immediate64, Operand, Operation, Register, Size, Width};

use crate::program::Program;
use crate::stack::FRAME_BYTES;

/// A slot before which the analysis never stops although paths meet: so few instructions to an exit that walking
/// them again is cheaper than a state in the proof.
const SHORT: u32 = 4;

/// What the analysis knows of the program before it walks.
pub(super) struct Flow {
    /// Position of every slot in reverse postorder of its function: predecessors first, but for back edges.
    pub(super) order: Vec<u32>,
    /// Where walks stop.
    pub(super) points: Vec<bool>,
    /// Targets of backward jumps.
    pub(super) back: Vec<bool>,
    /// Those that may be in a cycle.
    pub(super) heads: Vec<bool>,
    /// Live registers before every slot, by bit.
    pub(super) registers: Vec<u16>,
    /// Live slots of stack before every slot, by bit.
    pub(super) stack: Vec<u64>,
}

/// What an instruction reads and writes.
#[derive(Clone, Copy, Default)]
struct Effects {
    reads: u16,
    writes: u16,
}

const fn bit(register: Register) -> u16 {
    1 << register.index()
}

fn effects(operation: Operation) -> Effects {
    let operand = |operand: Operand| match operand {
        Operand::Register(register) => bit(register),
        Operand::Immediate(_) => 0,
    };
    match operation {
        Operation::Alu { op: Alu::Move, destination, source, .. } => {
            Effects { reads: operand(source), writes: bit(destination) }
        }
        Operation::Alu { destination, source, .. } => {
            Effects { reads: operand(source) | bit(destination), writes: bit(destination) }
        }
        Operation::Negate { destination, .. } | Operation::Swap { destination, .. } => {
            Effects { reads: bit(destination), writes: bit(destination) }
        }
        Operation::MoveSigned { destination, source, .. } => {
            Effects { reads: bit(source), writes: bit(destination) }
        }
        Operation::LoadImmediate { destination, .. } => Effects { reads: 0, writes: bit(destination) },
        Operation::Load { destination, base, .. } => Effects { reads: bit(base), writes: bit(destination) },
        Operation::Store { base, source, .. } => Effects { reads: bit(base) | operand(source), writes: 0 },
        Operation::Atomic { base, source, .. } => {
            Effects { reads: bit(base) | bit(source) | bit(Register::R0), writes: 0 }
        }
        Operation::Jump { .. } => Effects::default(),
        Operation::JumpIf { left, right, .. } => Effects { reads: bit(left) | operand(right), writes: 0 },
        Operation::Call(callee) => {
            let arguments = match callee {
                Callee::Helper(number) => {
                    let count = prototype(number).map_or(5, |prototype| prototype.arguments.len());
                    ((1u16 << count) - 1) << 1
                }
                Callee::Function(_) => 0x3e,
                Callee::Register(register) => 0x3e | bit(register),
            };
            Effects { reads: arguments, writes: 0x3f }
        }
        Operation::Exit => Effects { reads: 1, writes: 0 },
    }
}

/// Slots that follow `slot` in its function.
fn successors(operation: Operation, slot: u32) -> [Option<u32>; 2] {
    match operation {
        Operation::Jump { target } => [Some(target), None],
        Operation::JumpIf { target, .. } => [Some(slot + 1), Some(target)],
        Operation::Exit => [None, None],
        Operation::LoadImmediate { .. } => [Some(slot + 2), None],
        _ => [Some(slot + 1), None],
    }
}

impl Flow {
    pub(super) fn new(program: &Program<'_>) -> Self {
        let length = program.code.len() as usize;
        let mut flow = Self {
            order: alloc::vec![u32::MAX; length],
            points: alloc::vec![false; length],
            back: alloc::vec![false; length],
            heads: alloc::vec![false; length],
            registers: alloc::vec![0; length],
            stack: alloc::vec![0; length],
        };
        let postorder = flow.order(program);
        flow.find_points(program);
        flow.liveness(program, &postorder);
        flow
    }

    /// Fills `order`; gives all reachable slots in postorder.
    fn order(&mut self, program: &Program<'_>) -> Vec<u32> {
        let mut postorder = Vec::with_capacity(self.order.len());
        let mut seen = alloc::vec![false; self.order.len()];
        let mut pending: Vec<(u32, u8)> = Vec::new();
        for function in program.functions.iter().rev() {
            pending.push((*function, 0));
            while let Some((slot, next)) = pending.pop() {
                let Some(operation) = program.code.get(slot) else {
                    continue;
                };
                if next == 0 && core::mem::replace(&mut seen[slot as usize], true) {
                    continue;
                }
                match successors(operation, slot).get(usize::from(next)) {
                    Some(successor) => {
                        pending.push((slot, next + 1));
                        if let Some(successor) = successor
                            && !seen.get(*successor as usize).copied().unwrap_or(true)
                        {
                            pending.push((*successor, 0));
                        }
                    }
                    None => postorder.push(slot),
                }
            }
        }
        for (position, slot) in postorder.iter().rev().enumerate() {
            self.order[*slot as usize] = position as u32;
        }
        postorder
    }

    fn find_points(&mut self, program: &Program<'_>) {
        let mut predecessors = alloc::vec![0u8; self.points.len()];
        // How many more edges lead back over each position of the order than over the one before: where some do,
        // there may be a cycle.
        let mut over = alloc::vec![0i32; self.points.len() + 1];
        for (slot, operation) in program.code.iter() {
            if self.order[slot as usize] == u32::MAX {
                continue;
            }
            for successor in successors(operation, slot).into_iter().flatten() {
                if let Some(count) = predecessors.get_mut(successor as usize) {
                    *count = count.saturating_add(1);
                    let (from, to) = (self.order[slot as usize], self.order[successor as usize]);
                    if to <= from {
                        over[to as usize] += 1;
                        over[from as usize + 1] -= 1;
                    }
                }
            }
            match operation {
                Operation::Jump { target } | Operation::JumpIf { target, .. } if target <= slot => {
                    self.back[target as usize] = true;
                }
                Operation::LoadImmediate { value: Immediate64::Function(function), .. } => {
                    self.points[function as usize] = true;
                }
                _ => {}
            }
        }
        let mut edges = 0;
        let cyclic: Vec<bool> = over
            .iter()
            .map(|change| {
                edges += change;
                edges > 0
            })
            .collect();
        for (slot, count) in predecessors.into_iter().enumerate() {
            self.heads[slot] = self.back[slot] && cyclic.get(self.order[slot] as usize) == Some(&true);
            let meets = count > 1 && !ends_at_once(program, slot as u32);
            self.points[slot] |= meets || self.heads[slot];
        }
    }

    fn liveness(&mut self, program: &Program<'_>, postorder: &[u32]) {
        let uses = StackUses::new(program, postorder);
        loop {
            let mut changed = false;
            for slot in postorder {
                let Some(operation) = program.code.get(*slot) else {
                    continue;
                };
                let (mut registers, mut stack) = (0, 0);
                for successor in successors(operation, *slot).into_iter().flatten() {
                    registers |= self.registers.get(successor as usize).copied().unwrap_or(0);
                    stack |= self.stack.get(successor as usize).copied().unwrap_or(0);
                }
                let effects = effects(operation);
                registers = registers & !effects.writes | effects.reads;
                let place = *slot as usize;
                stack = stack & !uses.kills[place] | uses.reads[place] | uses.escaped(program, *slot);
                changed |= (registers, stack) != (self.registers[place], self.stack[place]);
                self.registers[place] = registers;
                self.stack[place] = stack;
            }
            if !changed {
                return;
            }
        }
    }
}

/// Whether straight code from `slot` ends the function within a few instructions.
fn ends_at_once(program: &Program<'_>, slot: u32) -> bool {
    for slot in slot..slot.saturating_add(SHORT) {
        match program.code.get(slot) {
            Some(Operation::Exit) => return true,
            Some(Operation::Alu { .. }) => {}
            _ => return false,
        }
    }
    false
}

/// Which slots of its stack each instruction reads for certain or perhaps, and overwrites for certain.
struct StackUses {
    reads: Vec<u64>,
    kills: Vec<u64>,
    /// By function: slots that pointers which leave the function may reach.
    escapes: Vec<u64>,
}

/// Where a register points in the stack, as far as straight propagation shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Unvisited,
    Other,
    At(i32),
    /// Somewhere from here up.
    From(i32),
}

impl Base {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unvisited, known) | (known, Self::Unvisited) => known,
            (a, b) if a == b => a,
            (Self::Other, Self::Other) => Self::Other,
            (a, b) => match (a.lowest(), b.lowest()) {
                (Some(a), Some(b)) => Self::From(a.min(b)),
                (Some(a), None) | (None, Some(a)) => Self::From(a),
                (None, None) => Self::Other,
            },
        }
    }

    const fn lowest(self) -> Option<i32> {
        match self {
            Self::At(offset) | Self::From(offset) => Some(offset),
            Self::Unvisited | Self::Other => None,
        }
    }
}

/// The slots that hold bytes from `start` up to `end`, offsets from R10.
fn slots(start: i64, end: i64) -> u64 {
    let size = i64::from(FRAME_BYTES);
    let first = (start.clamp(-size, 0) + size) / 8;
    let last = (end.clamp(-size, 0) + size + 7) / 8;
    (first..last).fold(0, |mask, slot| mask | 1 << slot)
}

impl StackUses {
    fn new(program: &Program<'_>, postorder: &[u32]) -> Self {
        let length = program.code.len() as usize;
        let mut uses = Self {
            reads: alloc::vec![0; length],
            kills: alloc::vec![0; length],
            escapes: alloc::vec![0; program.functions.len()],
        };
        let mut before = alloc::vec![[Base::Unvisited; Register::COUNT]; length];
        for function in &program.functions {
            let entry = &mut before[*function as usize];
            *entry = [Base::Other; Register::COUNT];
            entry[Register::FRAME.index()] = Base::At(0);
        }
        loop {
            let mut changed = false;
            for slot in postorder.iter().rev() {
                let Some(operation) = program.code.get(*slot) else {
                    continue;
                };
                let after = uses.instruction(program, *slot, operation, before[*slot as usize]);
                for successor in successors(operation, *slot).into_iter().flatten() {
                    let Some(next) = before.get_mut(successor as usize) else {
                        continue;
                    };
                    for (known, new) in next.iter_mut().zip(after) {
                        let joined = known.join(new);
                        changed |= joined != *known;
                        *known = joined;
                    }
                }
            }
            if !changed {
                return uses;
            }
        }
    }

    fn function(program: &Program<'_>, slot: u32) -> usize {
        program.functions.partition_point(|start| *start <= slot) - 1
    }

    fn escaped(&self, program: &Program<'_>, slot: u32) -> u64 {
        if self.escapes.len() == 1 {
            return self.escapes[0];
        }
        self.escapes[Self::function(program, slot)]
    }

    fn instruction(
        &mut self,
        program: &Program<'_>,
        slot: u32,
        operation: Operation,
        before: [Base; Register::COUNT],
    ) -> [Base; Register::COUNT] {
        let place = slot as usize;
        let mut after = before;
        let access = |base: Register, offset: i16, bytes: i64| match before[base.index()] {
            Base::At(start) => {
                let start = i64::from(start) + i64::from(offset);
                slots(start, start + bytes)
            }
            Base::From(start) => slots(i64::from(start) + i64::from(offset), 0),
            Base::Unvisited | Base::Other => 0,
        };
        match operation {
            Operation::Alu {
                op: Alu::Move,
                width: Width::W64,
                destination,
                source: Operand::Register(source),
            } => {
                after[destination.index()] = before[source.index()];
            }
            Operation::Alu {
                op: Alu::Add,
                width: Width::W64,
                destination,
                source: Operand::Immediate(distance),
            } => {
                if let Base::At(offset) = before[destination.index()] {
                    after[destination.index()] = Base::At(offset.saturating_add(distance));
                }
            }
            Operation::Alu { op, destination, source, .. } => {
                let second = match source {
                    Operand::Register(source) if op != Alu::Move => before[source.index()],
                    _ => Base::Other,
                };
                let first = if op == Alu::Move { Base::Other } else { before[destination.index()] };
                // A variable distance may lead down, too.
                let touches = first.lowest().is_some() || second.lowest().is_some();
                after[destination.index()] =
                    if touches { Base::From(-(FRAME_BYTES as i32)) } else { Base::Other };
            }
            Operation::Load { size, destination, base, offset, .. } => {
                self.reads[place] |= access(base, offset, size.bytes().into());
                after[destination.index()] = Base::Other;
                if before[base.index()].lowest().is_some() && size == Size::B8 {
                    // Perhaps a stack pointer that was spilled.
                    after[destination.index()] = Base::Other;
                }
            }
            Operation::Store { size, base, offset, source } => {
                if let (Base::At(start), Size::B8) = (before[base.index()], size)
                    && (i64::from(start) + i64::from(offset)) % 8 == 0
                {
                    self.kills[place] = access(base, offset, 8);
                } else {
                    self.kills[place] = 0;
                }
                if let Operand::Register(source) = source
                    && let Some(lowest) = before[source.index()].lowest()
                {
                    self.escapes[Self::function(program, slot)] |= slots(lowest.into(), 0);
                }
            }
            Operation::Atomic { base, offset, source, width, .. } => {
                let bytes = if width == Width::W32 { 4 } else { 8 };
                self.reads[place] |= access(base, offset, bytes);
                after[source.index()] = Base::Other;
                after[Register::R0.index()] = Base::Other;
            }
            Operation::Call(callee) => {
                let arguments = match callee {
                    Callee::Helper(number) => prototype(number).map(|prototype| prototype.arguments),
                    Callee::Function(_) | Callee::Register(_) => None,
                };
                for (index, base) in before[1..=5].iter().enumerate() {
                    let Some(lowest) = base.lowest() else {
                        continue;
                    };
                    match arguments {
                        Some(arguments) if arguments.get(index) != Some(&Argument::CallbackContext) => {
                            if arguments.get(index).is_some() {
                                self.reads[place] |= slots(lowest.into(), 0);
                            }
                        }
                        _ => self.escapes[Self::function(program, slot)] |= slots(lowest.into(), 0),
                    }
                }
                after[..=5].fill(Base::Other);
            }
            Operation::LoadImmediate { destination, .. }
            | Operation::Negate { destination, .. }
            | Operation::Swap { destination, .. }
            | Operation::MoveSigned { destination, .. } => after[destination.index()] = Base::Other,
            Operation::Jump { .. } | Operation::JumpIf { .. } | Operation::Exit => {}
        }
        after
    }
}
