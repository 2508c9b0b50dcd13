//! Calls of helpers: arguments against their prototype, and what comes back.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use uio_bpf::helper::{Argument, Effect, Prototype, Returns, prototype};
use uio_bpf::instruction::Register;
use uio_protocol::bpf::{MapKind, MapSpec};

use super::memory::{Place, locate};
use super::{Edge, Next, Usage, Way, call};
use crate::domain::Scalar;
use crate::program::Program;
use crate::reason::Reason;
use crate::stack::FRAME_BYTES;
use crate::state::{PacketFacts, Reference, State};
use crate::value::{Content, Pointer, Region, Value};

/// The only helper that calls back.
const LOOP: u32 = 181;

/// Largest size that a memory argument may have.
const MAX_MEMORY: u64 = 1 << 29;

/// What the arguments so far have shown.
#[derive(Default)]
struct Call<'a> {
    map: Option<(u32, &'a MapSpec)>,
    /// Memory whose size is the next argument: its register, whether the helper writes it, whether it may be null.
    memory: Option<(Register, bool, bool)>,
    /// Stack that the helper writes.
    written: [Option<(Place, u64, u64)>; 2],
    allocation: Option<u32>,
    released: Option<u32>,
    function: Option<u32>,
    argument: Option<Value>,
}

pub(super) fn call(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    slot: u32,
    number: u32,
) -> Result<Next, Reason> {
    let prototype = prototype(number)
        .filter(|prototype| prototype.programs.contains(program.kind))
        .ok_or(Reason::Helper { number })?;
    Usage::insert(&mut usage.helpers, number);
    let mut seen = Call::default();
    for (index, argument) in prototype.arguments.iter().enumerate() {
        let register =
            u8::try_from(index + 1).ok().and_then(Register::new).ok_or(Reason::Helper { number })?;
        check_argument(program, usage, state, prototype, register, *argument, &mut seen)?;
    }
    if prototype.returns == Returns::TailCall {
        if state.depth() > 0 {
            return Err(Reason::TailCallInFunction);
        }
        if let Some(reference) = state.shared.references.first() {
            return Err(Reason::Reference { acquired: reference.slot });
        }
    }
    apply(state, prototype, slot, &seen)?;
    let after = Edge { to: slot + 1, way: Way::Fall };
    if let Some(function) = seen.function {
        let argument = seen.argument.unwrap_or(Value::scalar(Scalar::constant(0)));
        let mut inside = Box::new(state.clone());
        call::callback(program, usage, &mut inside, slot, function, argument)?;
        state.registers[0] = call::loop_result();
        return Ok(Next::Two(after, Edge { to: function, way: Way::Call }, inside));
    }
    Ok(Next::One(after))
}

fn refuse(prototype: &Prototype, register: Register, expected: &'static str, value: &Value) -> Reason {
    if value.content == Content::Unusable {
        return Reason::Uninitialised { register: register.index() as u8 };
    }
    Reason::Argument {
        helper: prototype.name,
        register: register.index() as u8,
        expected,
        found: format!("{value}"),
    }
}

fn check_argument<'a>(
    program: &Program<'a>,
    usage: &mut Usage,
    state: &State,
    prototype: &Prototype,
    register: Register,
    argument: Argument,
    seen: &mut Call<'a>,
) -> Result<(), Reason> {
    let value = state.get(register);
    let refused = |expected| Err(refuse(prototype, register, expected, &value));
    let pointer = match &value.content {
        Content::Unusable => return Err(Reason::Uninitialised { register: register.index() as u8 }),
        Content::Pointer(pointer) => {
            if pointer.nullable {
                return Err(Reason::MaybeNull { register: register.index() as u8 });
            }
            Some(*pointer)
        }
        Content::Scalar(_) => None,
    };
    let scalar = value.as_scalar().copied();
    let start = |pointer: &Pointer| pointer.constant_offset() == Some(0);
    match argument {
        Argument::Scalar => match scalar {
            Some(_) => Ok(()),
            None => refused("a number"),
        },
        Argument::Map => {
            let Some((index, map)) = pointer.and_then(|pointer| match pointer.region {
                Region::Map(index) => Some((index, program.map(index)?)),
                _ => None,
            }) else {
                return refused("a map");
            };
            let of_maps = matches!(map.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
            if !prototype.maps.contains(&map.kind) || of_maps && prototype.returns != Returns::MapValueOrNull
            {
                return Err(Reason::MapKind {
                    helper: prototype.name,
                    map: format!("map '{}' ({})", map.name, map.kind.name()),
                });
            }
            seen.map = Some((index, map));
            Ok(())
        }
        Argument::MapKey | Argument::MapValue | Argument::MapValueOut => {
            let Some((_, map)) = seen.map else {
                return Err(Reason::Helper { number: prototype.number });
            };
            let bytes = if argument == Argument::MapKey { map.key_bytes } else { map.value_bytes };
            let out = argument == Argument::MapValueOut;
            memory(program, usage, state, register, (bytes.into(), bytes.into()), out, seen)
        }
        Argument::Context => match pointer {
            Some(pointer) if pointer.region == Region::Context && start(&pointer) => Ok(()),
            _ => refused("the context"),
        },
        Argument::Memory | Argument::MemoryOrNull | Argument::MemoryOut => {
            let or_null = argument == Argument::MemoryOrNull;
            let null = or_null && scalar.and_then(|scalar| scalar.get()) == Some(0);
            if pointer.is_none() && !null {
                return refused("memory");
            }
            seen.memory = Some((register, argument == Argument::MemoryOut, null));
            Ok(())
        }
        Argument::Size | Argument::SizeOrZero => {
            let least = u64::from(argument == Argument::Size);
            let (Some(scalar), Some((base, out, null))) = (scalar, seen.memory.take()) else {
                return refused("a size");
            };
            if null {
                return if scalar.get() == Some(0) { Ok(()) } else { refused("size 0 for a null pointer") };
            }
            if scalar.umin() < least {
                return refused("a size of at least 1");
            }
            if scalar.umax() > MAX_MEMORY {
                return refused("a size with an upper bound");
            }
            memory(program, usage, state, base, (scalar.umin(), scalar.umax()), out, seen)
        }
        Argument::AllocationSize => {
            let size = scalar
                .and_then(|scalar| scalar.get())
                .and_then(|size| u32::try_from(size).ok())
                .filter(|size| u64::from(*size) <= MAX_MEMORY);
            match size {
                Some(size) => seen.allocation = Some(size),
                None => return refused("a constant size"),
            }
            Ok(())
        }
        Argument::RingRecord => match pointer {
            Some(pointer) if start(&pointer) => match pointer.region {
                Region::Record { reference, .. } => {
                    seen.released = Some(reference);
                    Ok(())
                }
                _ => refused("a ring record"),
            },
            _ => refused("a ring record"),
        },
        Argument::ConstantString => {
            let text = pointer.and_then(|pointer| match pointer.region {
                Region::MapValue(index) => {
                    let map = program.map(index)?;
                    let offset = usize::try_from(pointer.constant_offset()?).ok()?;
                    let length = (map.value_bytes as usize).min(map.initial.len());
                    let text = map.initial.get(offset..length)?;
                    (map.read_only && text.contains(&0)).then_some(())
                }
                _ => None,
            });
            match text {
                Some(()) => Ok(()),
                None => refused("a constant string in a read-only map"),
            }
        }
        Argument::Function => match pointer.map(|pointer| pointer.region) {
            Some(Region::Function(function)) if prototype.number == LOOP => {
                seen.function = Some(function);
                Ok(())
            }
            _ => refused("a function of the program"),
        },
        Argument::CallbackContext => {
            let stack = pointer.is_some_and(|pointer| matches!(pointer.region, Region::Stack(_)));
            let null = scalar.and_then(|scalar| scalar.get()) == Some(0);
            if !stack && !null {
                return refused("a pointer to stack, or null");
            }
            seen.argument = Some(value);
            Ok(())
        }
    }
}

/// Memory of `least` to `most` bytes at `register`: readable and initialised, or writable if `out`.
fn memory(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &State,
    register: Register,
    (least, most): (u64, u64),
    out: bool,
    seen: &mut Call<'_>,
) -> Result<(), Reason> {
    let value = state.get(register);
    let place = locate(program, usage, state, register, &value, 0, most, out)?;
    let Place::Stack { frame, min, max } = place else {
        return Ok(());
    };
    if most == 0 {
        return Ok(());
    }
    if out {
        if let Some(free) = seen.written.iter_mut().find(|written| written.is_none()) {
            *free = Some((place, least, most));
            return Ok(());
        }
        return Err(Reason::Helper { number: 0 });
    }
    let bytes = u64::from(max - min) + most;
    let stack = &state.shared.frames[usize::from(frame)].stack;
    // Within the frame, so that it fits.
    if stack.is_data(min, bytes as u32) {
        Ok(())
    } else {
        Err(Reason::UninitialisedStack { offset: i64::from(min) - i64::from(FRAME_BYTES), bytes })
    }
}

/// The state after the call.
fn apply(state: &mut State, prototype: &Prototype, slot: u32, seen: &Call<'_>) -> Result<(), Reason> {
    for (place, least, most) in seen.written.iter().flatten() {
        if let Place::Stack { frame, min, max } = *place {
            let certain = if min == max { *least as u32 } else { 0 };
            let frame = &mut state.shared_mut().frames[usize::from(frame)];
            Rc::make_mut(&mut frame.stack).overwrite(min, max - min + *most as u32, certain);
        }
    }
    if let Some(released) = seen.released {
        if !state.shared.references.iter().any(|reference| reference.id == released) {
            return Err(Reason::NotMemory { register: 1, found: "a record that was given back".into() });
        }
        state.shared_mut().references.retain(|reference| reference.id != released);
        state.invalidate(
            &|region| matches!(region, Region::Record { reference, .. } if reference == released),
        );
    }
    if prototype.effect == Effect::InvalidatesPackets {
        state.invalidate(&|region| matches!(region, Region::Packet | Region::PacketMeta | Region::PacketEnd));
        state.shared_mut().packet = PacketFacts::default();
    }
    for register in 1..=5 {
        state.registers[register] = Value::UNUSABLE;
    }
    state.registers[0] = match prototype.returns {
        Returns::Scalar | Returns::TailCall => Value::scalar(Scalar::UNKNOWN),
        Returns::Range { min, max } => Value::scalar(Scalar::signed(min, max)),
        Returns::MapValueOrNull => {
            let (index, map) = seen.map.ok_or(Reason::Helper { number: prototype.number })?;
            let region = match (map.kind, map.inner) {
                (MapKind::ArrayOfMaps | MapKind::HashOfMaps, Some(inner)) => Region::Map(inner),
                (MapKind::ArrayOfMaps | MapKind::HashOfMaps, None) => {
                    return Err(Reason::Map { index, offset: 0 });
                }
                _ => Region::MapValue(index),
            };
            nullable(state, region)
        }
        Returns::RingRecord => {
            let bytes = seen.allocation.ok_or(Reason::Helper { number: prototype.number })?;
            let id = state.fresh();
            state.shared_mut().references.push(Reference { id, slot });
            let mut value = nullable(state, Region::Record { reference: id, bytes });
            value.id = id;
            value
        }
    };
    Ok(())
}

fn nullable(state: &mut State, region: Region) -> Value {
    let mut value = Value::pointer(region);
    value.id = state.fresh();
    if let Content::Pointer(pointer) = &mut value.content {
        pointer.nullable = true;
    }
    value
}
