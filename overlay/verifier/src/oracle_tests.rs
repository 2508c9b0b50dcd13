//! The oracle: accepted programs run concretely beside the states that the proof claims, and every register lies in
//! its state at every instruction, whatever the proof says that the check accepted.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::TestRng;
use uio_bpf::instruction::{Alu, ByteOrder, Immediate64, Operand, Operation, Width};
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};

use crate::analysis::{Options, analyse};
use crate::domain::concrete::{alu, holds};
use crate::program::Program;
use crate::proof::Proof;
use crate::stack::FRAME_BYTES;
use crate::transfer::{Next, Usage, step};
use crate::value::{Content, Region, Value};
use crate::{Checked, check};

const MEMORY: u64 = 0x10_0000;
const STACK: u64 = 0x20_0000;
const CONTEXT: u64 = 0x30_0000;
const PACKET: u64 = 0x40_0000;

/// Instructions of one run at most.
const MOST: usize = 20_000;

/// A machine with memory, a stack and a packet at made-up addresses.
struct Machine {
    registers: [u64; 11],
    memory: Vec<u8>,
    stack: Vec<u8>,
    context: Vec<u8>,
    packet: Vec<u8>,
}

impl Machine {
    fn new(kind: ProgramKind, bytes: &[u8]) -> Self {
        let mut registers = [0x5a5a_5a5a_5a5a_5a5a; 11];
        registers[10] = STACK + u64::from(FRAME_BYTES);
        let mut context = alloc::vec![0; 48];
        match kind {
            ProgramKind::Raw { memory_bytes } => {
                registers[1] = MEMORY;
                registers[2] = memory_bytes.into();
            }
            _ => {
                registers[1] = CONTEXT;
                context[..8].copy_from_slice(&PACKET.to_le_bytes());
                context[8..16].copy_from_slice(&(PACKET + bytes.len() as u64).to_le_bytes());
            }
        }
        let mut memory = bytes.to_vec();
        memory.resize(64, 7);
        Self { registers, memory, stack: alloc::vec![0xcc; 512], context, packet: bytes.to_vec() }
    }

    /// The bytes at `address`, if the program may touch them.
    fn at(&mut self, address: u64, bytes: usize, write: bool) -> Option<&mut [u8]> {
        let regions = [
            (MEMORY, &mut self.memory, true),
            (STACK, &mut self.stack, true),
            (CONTEXT, &mut self.context, false),
            (PACKET, &mut self.packet, true),
        ];
        for (base, region, writable) in regions {
            if let Some(offset) = address.checked_sub(base)
                && let Ok(offset) = usize::try_from(offset)
                && (!write || writable)
                && offset.checked_add(bytes).is_some_and(|end| end <= region.len())
            {
                return region.get_mut(offset..offset + bytes);
            }
        }
        None
    }

    fn operand(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Register(register) => self.registers[register.index()],
            Operand::Immediate(number) => i64::from(number) as u64,
        }
    }

    /// Executes; the next slot, or `None` at the end.
    fn execute(&mut self, slot: u32, operation: Operation) -> Result<Option<u32>, String> {
        let wild = |address: u64| format!("{slot}: access to {address:#x}");
        match operation {
            Operation::Alu { op, width, destination, source } => {
                let second = self.operand(source);
                let place = &mut self.registers[destination.index()];
                *place = alu(op, width, *place, second);
            }
            Operation::Negate { width, destination } => {
                let place = &mut self.registers[destination.index()];
                *place = alu(Alu::Subtract, width, 0, *place);
            }
            Operation::MoveSigned { width, bits, destination, source } => {
                let number = self.registers[source.index()];
                let unused = 64 - u32::from(bits);
                let extended = ((number << unused) as i64 >> unused) as u64;
                self.registers[destination.index()] = match width {
                    Width::W64 => extended,
                    Width::W32 => extended & 0xffff_ffff,
                };
            }
            Operation::Swap { order, bits, destination } => {
                let place = &mut self.registers[destination.index()];
                let swapped = match order {
                    ByteOrder::ToLittle => *place << (64 - u32::from(bits)),
                    _ => place.swap_bytes(),
                };
                *place = swapped >> (64 - u32::from(bits));
            }
            Operation::LoadImmediate { destination, value: Immediate64::Value(number) } => {
                self.registers[destination.index()] = number;
                return Ok(Some(slot + 2));
            }
            Operation::Load { size, signed, destination, base, offset } => {
                let address = self.registers[base.index()].wrapping_add_signed(offset.into());
                let bytes = self.at(address, size.bytes().into(), false).ok_or_else(|| wild(address))?;
                let number = bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
                let unused = 64 - 8 * u32::from(size.bytes());
                self.registers[destination.index()] =
                    if signed { ((number << unused) as i64 >> unused) as u64 } else { number };
            }
            Operation::Store { size, base, offset, source } => {
                let address = self.registers[base.index()].wrapping_add_signed(offset.into());
                let number = self.operand(source).to_le_bytes();
                let bytes = self.at(address, size.bytes().into(), true).ok_or_else(|| wild(address))?;
                bytes.copy_from_slice(&number[..usize::from(size.bytes())]);
            }
            Operation::Jump { target } => return Ok(Some(target)),
            Operation::JumpIf { condition, width, left, right, target } => {
                let taken = holds(condition, width, self.registers[left.index()], self.operand(right));
                return Ok(Some(if taken { target } else { slot + 1 }));
            }
            Operation::Exit => return Ok(None),
            other => return Err(format!("{slot}: {other:?} is not generated")),
        }
        Ok(Some(slot + 1))
    }
}

/// Whether `number` is what `value` describes.
fn lies_in(value: &Value, number: u64) -> bool {
    match &value.content {
        Content::Unusable => true,
        Content::Scalar(scalar) => scalar.contains(number),
        Content::Pointer(pointer) => {
            let base = match pointer.region {
                Region::Memory(_) => MEMORY,
                Region::Stack(_) => STACK + u64::from(FRAME_BYTES),
                Region::Context => CONTEXT,
                Region::Packet | Region::PacketMeta => PACKET,
                Region::PacketEnd => return number >= PACKET,
                _ => return true,
            };
            let variable = number.wrapping_sub(base).wrapping_sub(i64::from(pointer.fixed) as u64);
            pointer.variable.contains(variable)
        }
    }
}

/// Runs an accepted program beside its states.
fn run(object: &ObjectImage, proof: &Proof, checked: &Checked, bytes: &[u8]) -> Result<(), String> {
    let program = Program::new(object, 0).map_err(|error| format!("{error}"))?;
    let mut machine = Machine::new(program.kind, bytes);
    let mut state = program.entry();
    let mut usage = Usage::new(&program);
    let mut slot = 0;
    let mut stated = false;
    for _ in 0..MOST {
        let point = proof.points.iter().find(|point| point.slot == slot);
        if let Some(point) = point.filter(|_| !stated) {
            for frame in &mut state.shared_mut().frames {
                frame.heads.clear();
            }
            let facts = point.states.iter().find(|facts| facts.include_but_loops(&state));
            let facts = facts.ok_or(format!("{slot}: no state includes {state}"))?;
            state = facts.state().map_err(|error| format!("{error}"))?;
        }
        stated = false;
        for (index, value) in state.registers.iter().enumerate() {
            let number = machine.registers[index];
            if !lies_in(value, number) {
                return Err(format!("{slot}: r{index} is {number:#x}, not in {value}"));
            }
        }
        let operation = program.code.get(slot).ok_or(format!("{slot}: no instruction"))?;
        let next = machine.execute(slot, operation)?;
        let flow = step(&program, &mut usage, &mut state, slot, operation)
            .map_err(|reason| format!("{slot}: accepted, but {reason}"))?;
        let Some(next) = next else {
            return Ok(());
        };
        match flow {
            Next::One(edge) if edge.to == next => {}
            Next::Two(first, _, _) if first.to == next => {}
            Next::Two(_, second, other) if second.to == next => state = *other,
            _ => return Err(format!("{slot}: goes to {next}, which the states exclude")),
        }
        slot = next;
    }
    if checked.fuel.is_empty() { Err(String::from("does not end")) } else { Ok(()) }
}

fn encode(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

/// Programs that do much with little, and mostly what is allowed.
fn program(rng: &mut TestRng, packet: bool) -> Vec<u64> {
    const SCALARS: [u8; 6] = [0, 2, 3, 4, 5, 8];
    let numbers = [
        0,
        1,
        2,
        3,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        127,
        255,
        256,
        0xffff,
        i32::MAX,
        i32::MIN,
        -1,
        -2,
        -16,
    ];
    let mut slots = Vec::new();
    let mut pick = |below: usize| rng.random_range(0..below);
    slots.push(encode(0xbf, 9, 1, 0, 0));
    if packet {
        slots.push(encode(0x79, 6, 1, 0, 0));
        slots.push(encode(0x79, 7, 1, 8, 0));
    } else {
        slots.push(encode(0xbf, 6, 1, 0, 0));
        slots.push(encode(0xbf, 7, 1, 0, 0));
    }
    for register in SCALARS {
        slots.push(encode(0xb7, register, 0, 0, numbers[pick(numbers.len())]));
    }
    if !packet {
        for register in [0, 2, 3, 4] {
            slots.push(encode([0x71, 0x69, 0x61, 0x79][pick(4)], register, 6, pick(56) as i16, 0));
        }
    }
    let body = 10 + pick(40);
    for index in 0..body {
        let (a, b) = (SCALARS[pick(6)], SCALARS[pick(6)]);
        let number = numbers[pick(numbers.len())];
        let ahead = 1 + pick((body - index).min(6)) as i16;
        match pick(20) {
            0..=5 => {
                let op = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0][pick(12)];
                let class = [4, 7][pick(2)];
                let number = if matches!(op, 0x60 | 0x70 | 0xc0) { number & 31 } else { number };
                slots.push(match pick(2) {
                    0 => encode(op | class | 8, a, b, 0, 0),
                    _ => encode(op | class, a, 0, 0, number),
                });
            }
            6 => slots.push(encode([0xbc, 0xbf][pick(2)], a, b, [0, 8, 16][pick(3)], 0)),
            7 => slots.push(encode([0xdc, 0xd4, 0xd7][pick(3)], a, 0, 0, [16, 32, 64][pick(3)])),
            8 => slots.push(encode([0x37, 0x34, 0x97, 0x94][pick(4)], a, 0, pick(2) as i16, number)),
            9..=12 => {
                let op = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0][pick(11)];
                let class = [5, 6][pick(2)];
                slots.push(match pick(2) {
                    0 => encode(op | class | 8, a, b, ahead, 0),
                    _ => encode(op | class, a, 0, ahead, number),
                });
            }
            13 => slots.push(encode([0x73, 0x6b, 0x63, 0x7b][pick(4)], 10, a, -8 * (1 + pick(3) as i16), 0)),
            14 => slots.push(encode(
                [0x71, 0x69, 0x61, 0x79, 0x91, 0x81][pick(6)],
                a,
                10,
                -8 * (1 + pick(3) as i16),
                0,
            )),
            15 => {
                // A bounded index into what R6 points to.
                slots.push(encode(0x57, a, 0, 0, [7, 15, 31, 63][pick(4)]));
                slots.push(encode(0xbf, 9, 6, 0, 0));
                slots.push(encode(0x0f, 9, a, 0, 0));
                if packet {
                    slots.push(encode(0xbf, 8, 9, 0, 0));
                    slots.push(encode(0x07, 8, 0, 0, 1 + pick(4) as i32));
                    slots.push(encode([0x2d, 0x3d, 0xad, 0xbd][pick(4)], 8, 7, 1, 0));
                    slots.push(encode(0x71, 0, 9, pick(4) as i16, 0));
                    slots.push(encode(0xb7, 8, 0, 0, 1));
                } else {
                    slots.push(encode(
                        [0x71, 0x73][pick(2)],
                        [0, 9][pick(2)],
                        [9, 0][pick(2)],
                        pick(3) as i16 - 1,
                        0,
                    ));
                }
            }
            16 => {
                // A counted loop.
                let step = 1 + pick(3) as i32;
                slots.push(encode(0xb7, 5, 0, 0, 0));
                slots.push(encode(0x0f, a, b, 0, 0));
                slots.push(encode([0x07, 0x04][pick(2)], 5, 0, 0, step));
                slots.push(encode(
                    [0xa5, 0xa6, 0xb5, 0x55, 0xc5][pick(5)],
                    5,
                    0,
                    -3,
                    step * (1 + pick(30) as i32),
                ));
            }
            17 => {
                // An index that a comparison bounds, at the wrong or the right side.
                slots.push(encode([0x25, 0x35, 0x65, 0x26, 0x36, 0xa5, 0x66][pick(7)], a, 0, 3, number & 63));
                slots.push(encode(0xbf, 9, 6, 0, 0));
                slots.push(encode(0x0f, 9, a, 0, 0));
                slots.push(encode(0x71, b, 9, 0, 0));
            }
            18 => {
                slots.push(encode(0x67, a, 0, 0, 32));
                slots.push(encode([0x77, 0xc7][pick(2)], a, 0, 0, 32));
            }
            _ => slots.push(encode(0xbf, a, b, 0, 0)),
        }
    }
    slots.push(encode(0xb7, 0, 0, 0, 1));
    slots.push(encode(0x95, 0, 0, 0, 0));
    slots
}

fn object(slots: Vec<u64>, packet: bool) -> ObjectImage {
    let kind = if packet { ProgramKind::Packet } else { ProgramKind::Raw { memory_bytes: 64 } };
    ObjectImage {
        name: String::new(),
        maps: Vec::new(),
        programs: alloc::vec![ProgramImage {
            name: String::new(),
            kind,
            target: String::new(),
            slots,
            functions: alloc::vec![0],
        }],
    }
}

fn inputs() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    prop::collection::vec(prop::collection::vec(byte, 0..80), 4)
}

/// Accepted programs, counted over all cases.
static ACCEPTED: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn registers_lie_in_their_states(packet in any::<bool>(), inputs in inputs(), seed in any::<[u8; 32]>()) {
        let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let object = object(program(&mut rng, packet), packet);
        let Ok(analysis) = analyse(&object, 0, &Options::default()) else {
            return Ok(());
        };
        ACCEPTED.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        for bytes in &inputs {
            if let Err(text) = run(&object, &analysis.proof, &analysis.checked, bytes) {
                return Err(TestCaseError::fail(format!("{text}\n{:x?}", object.programs[0].slots)));
            }
        }
        // Wrong proofs: flipped, cut, spliced. What the check accepts of them is as good.
        let encoded = analysis.proof.encode();
        for _ in 0..20 {
            let mut wrong = encoded.clone();
            for _ in 0..rng.random_range(1..3) {
                let place = rng.random_range(0..wrong.len());
                match rng.random_range(0..4) {
                    0 => wrong[place] ^= 1 << rng.random_range(0..8),
                    1 => wrong[place] = rng.random_range(0..=255),
                    2 => { wrong.remove(place); wrong.push(0); }
                    _ => wrong.insert(place, rng.random_range(0..=3)),
                }
            }
            let Ok(proof) = Proof::decode(&wrong) else { continue };
            let Ok(checked) = check(&object, 0, &proof) else { continue };
            for bytes in &inputs {
                if let Err(text) = run(&object, &proof, &checked, bytes) {
                    return Err(TestCaseError::fail(format!("wrong proof: {text}\n{:x?}", object.programs[0].slots)));
                }
            }
        }
    }
}

/// The generator is only worth something if much of what it makes is accepted.
#[test]
fn many_generated_programs_are_accepted() {
    let mut accepted = 0;
    for seed in 0..200u8 {
        let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[seed; 32]);
        let packet = seed % 2 == 0;
        accepted +=
            u32::from(analyse(&object(program(&mut rng, packet), packet), 0, &Options::default()).is_ok());
    }
    assert!(accepted >= 20, "{accepted} of 200");
}
