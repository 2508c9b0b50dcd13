//! What the check holds for true at every instruction, compared with what a run holds there.
//!
//! The other half of the trusted base's test: transfer functions are sound if no run ever disagrees. Nothing here is
//! part of a check.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use uio_bpf::program::function_value;
use uio_protocol::bpf::ObjectImage;

use crate::check::{CheckError, Checked, check_seen};
use crate::proof::Proof;
use crate::stack::Slot;
use crate::state::State;
use crate::value::{Content, Id, Pointer, Region, Value};

/// A run between two instructions, as an interpreter sees it.
pub trait Concrete {
    /// Functions on the stack below the current one.
    fn depth(&self) -> usize;
    /// What R0 to R9 hold.
    fn register(&self, index: u8) -> u64;
    /// R10 of the function at `depth`.
    fn frame(&self, depth: usize) -> u64;
    /// Eight bytes of stack at `address`, and which of them were written, bit 0 the lowest.
    fn stack_word(&self, address: u64) -> Option<(u64, u8)>;
    /// Address of the context, or of a raw program's memory.
    fn context(&self) -> u64;
    /// First byte, end, and first byte of metadata of the packet.
    fn packet(&self) -> (u64, u64, u64);
    /// Address of the map with this index.
    fn map(&self, index: u32) -> Option<u64>;
    /// Addresses at which values of the map with this index start.
    fn map_values(&self, index: u32) -> Vec<u64>;
    /// Addresses and sizes of the records that were reserved and not given back.
    fn records(&self) -> Vec<(u64, u64)>;
}

/// By instruction, the states that the check of one program held: each is a set of concrete states, and every run is
/// in one of them.
pub struct Claims {
    seen: Vec<Vec<State>>,
    checked: Checked,
}

impl Claims {
    /// Checks a program and keeps what was claimed on the way.
    ///
    /// # Errors
    ///
    /// As [`crate::check`].
    pub fn new(object: &ObjectImage, program: usize, proof: &Proof) -> Result<Self, CheckError> {
        let (checked, seen) = check_seen(object, program, proof)?;
        Ok(Self { seen, checked })
    }

    /// What the check says of the program.
    #[must_use]
    pub const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Claimed states, over all instructions.
    #[must_use]
    pub fn states(&self) -> usize {
        self.seen.iter().map(Vec::len).sum()
    }

    /// Whether a state claimed at `slot` describes the run.
    ///
    /// # Errors
    ///
    /// What disagrees with the state that comes nearest.
    pub fn admit(&self, slot: u32, run: &dyn Concrete) -> Result<(), String> {
        let states = self.seen.get(slot as usize).map_or(&[][..], Vec::as_slice);
        let mut nearest = (0, String::from("the check never reached this instruction"));
        for state in states {
            match (Comparison { state, run, numbers: Vec::new(), nulls: Vec::new(), compared: 0 }).all() {
                Ok(()) => return Ok(()),
                Err((compared, why)) if compared >= nearest.0 => {
                    nearest = (compared, format!("{why}; claimed: {state}"));
                }
                Err(_) => {}
            }
        }
        Err(format!("instruction {slot}, {} states: {}", states.len(), nearest.1))
    }
}

/// One claimed state beside the run.
struct Comparison<'a> {
    state: &'a State,
    run: &'a dyn Concrete,
    /// Numbers that identities name.
    numbers: Vec<(Id, u64)>,
    /// Null-nesses that identities name.
    nulls: Vec<(Id, bool)>,
    compared: usize,
}

fn agree<T: Copy + PartialEq>(names: &mut Vec<(Id, T)>, id: Id, what: T) -> bool {
    if id == 0 {
        return true;
    }
    match names.iter().find(|(other, _)| *other == id) {
        Some((_, known)) => *known == what,
        None => {
            names.push((id, what));
            true
        }
    }
}

impl Comparison<'_> {
    fn all(mut self) -> Result<(), (usize, String)> {
        match self.compare() {
            Ok(()) => Ok(()),
            Err(why) => Err((self.compared, why)),
        }
    }

    fn compare(&mut self) -> Result<(), String> {
        if self.state.depth() != self.run.depth() {
            return Err(format!("{} callers", self.run.depth()));
        }
        for (index, value) in self.state.registers.iter().enumerate() {
            let held = self.run.register(index as u8);
            self.value(value, held).map_err(|why| format!("r{index} holds {held:#x}: {why}"))?;
        }
        for (depth, frame) in self.state.shared.frames.iter().enumerate() {
            for slot in &frame.stack.slots {
                self.slot(depth, slot).map_err(|why| format!("frame {depth}, slot {}: {why}", slot.index))?;
            }
        }
        self.packet()
    }

    fn slot(&mut self, depth: usize, slot: &Slot) -> Result<(), String> {
        const FRAME: u64 = crate::stack::FRAME_BYTES as u64;
        let address = self.run.frame(depth) - FRAME + 8 * u64::from(slot.index);
        let (word, written) = self.run.stack_word(address).ok_or("not on the stack")?;
        if slot.initialised & !written != 0 {
            return Err(format!("bytes {:08b} claimed written, {written:08b} are", slot.initialised));
        }
        if slot.bytes == 0 {
            return Ok(());
        }
        if slot.value_mask() & !written != 0 {
            return Err(format!("a value in bytes {:08b}, {written:08b} are written", slot.value_mask()));
        }
        let shifted = word >> (8 * u32::from(slot.start));
        let held = if slot.bytes >= 8 { shifted } else { shifted & ((1 << (8 * u32::from(slot.bytes))) - 1) };
        self.value(&slot.value, held).map_err(|why| format!("holds {held:#x}: {why}"))
    }

    fn value(&mut self, value: &Value, held: u64) -> Result<(), String> {
        self.compared += 1;
        match &value.content {
            Content::Unusable => Ok(()),
            Content::Scalar(scalar) => {
                if !scalar.contains(held) {
                    return Err(format!("not in {scalar} ({scalar:?})"));
                }
                if agree(&mut self.numbers, value.id, held) {
                    Ok(())
                } else {
                    Err(format!("differs from another number with identity {}", value.id))
                }
            }
            Content::Pointer(pointer) => self.pointer(value.id, pointer, held),
        }
    }

    fn pointer(&mut self, id: Id, pointer: &Pointer, held: u64) -> Result<(), String> {
        if pointer.nullable {
            if !agree(&mut self.nulls, id, held == 0) {
                return Err(format!("null or not unlike another with identity {id}"));
            }
            if held == 0 {
                return Ok(());
            }
        }
        let offset = |base: u64| held.wrapping_sub(base).wrapping_sub(i64::from(pointer.fixed) as u64);
        let bases = self.bases(pointer.region);
        if !bases.iter().any(|base| pointer.variable.contains(offset(*base))) {
            return Err(format!("not {pointer} ({:?}), starts {bases:x?}", pointer.variable));
        }
        match bases[..] {
            [base] if !pointer.nullable && !agree(&mut self.numbers, id, offset(base)) => {
                Err(format!("an offset that differs from the number with identity {id}"))
            }
            _ => Ok(()),
        }
    }

    /// Addresses at which a region of this kind starts.
    fn bases(&self, region: Region) -> Vec<u64> {
        let (data, end, meta) = self.run.packet();
        match region {
            Region::Context | Region::Memory(_) => alloc::vec![self.run.context()],
            Region::Stack(depth) => alloc::vec![self.run.frame(depth.into())],
            Region::Packet => alloc::vec![data],
            Region::PacketMeta => alloc::vec![meta],
            Region::PacketEnd => alloc::vec![end],
            Region::Map(index) => self.run.map(index).into_iter().collect(),
            Region::MapValue(index) => self.run.map_values(index),
            Region::Record { bytes, .. } => {
                let records = self.run.records().into_iter();
                records.filter(|(_, size)| *size == u64::from(bytes)).map(|(start, _)| start).collect()
            }
            Region::Function(slot) => alloc::vec![function_value(slot)],
        }
    }

    fn number(&self, id: Id) -> Option<u64> {
        if id == 0 {
            return Some(0);
        }
        self.numbers.iter().find(|(other, _)| *other == id).map(|(_, number)| *number)
    }

    fn packet(&mut self) -> Result<(), String> {
        let facts = &self.state.shared.packet;
        let (data, end, meta) = self.run.packet();
        if end.wrapping_sub(data) < facts.data.into() {
            return Err(format!("the packet has {} bytes, not {}", end.wrapping_sub(data), facts.data));
        }
        if data.wrapping_sub(meta) < facts.meta.into() {
            return Err(format!("the metadata has {} bytes, not {}", data.wrapping_sub(meta), facts.meta));
        }
        let length = end.wrapping_sub(data) as i64;
        for (id, range) in &facts.variable {
            let Some(number) = self.number(*id) else { continue };
            if length.wrapping_sub(number as i64) < i64::from(*range) {
                return Err(format!("the packet of {length} bytes has not {range} from {number:#x} on"));
            }
        }
        for distance in &facts.distances {
            let (Some(held), Some(base)) = (self.number(distance.id), self.number(distance.base)) else {
                continue;
            };
            let is = (length as u64).wrapping_sub(base).wrapping_sub(i64::from(distance.fixed) as u64);
            if held != is {
                return Err(format!("{held:#x} is not the distance {is:#x} to the packet's end"));
            }
        }
        Ok(())
    }
}
