//! Loads, stores and atomic operations.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use uio_bpf::context::FieldKind;
use uio_bpf::instruction::{Atomic, Operand, Register, Size, Width};

use super::{Usage, readable};
use crate::domain::Scalar;
use crate::program::Program;
use crate::reason::Reason;
use crate::stack::FRAME_BYTES;
use crate::state::State;
use crate::value::{Content, Pointer, Region, Value};

/// Where an access that is in bounds goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Stack of a frame, from the lowest to the highest possible position above its lowest byte.
    Stack { frame: u8, min: u32, max: u32 },
    /// Memory that always holds numbers.
    Data,
}

/// Checks that `bytes` at `offset` from the pointer in `register` are memory of the program, and writable if
/// `write`. Not for the context.
#[expect(clippy::too_many_arguments, reason = "all of an access")]
pub(super) fn locate(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &State,
    register: Register,
    value: &Value,
    offset: i64,
    bytes: u64,
    write: bool,
) -> Result<Place, Reason> {
    let index = register.index() as u8;
    let Content::Pointer(pointer) = &value.content else {
        return Err(match value.content {
            Content::Unusable => Reason::Uninitialised { register: index },
            _ => Reason::NotMemory { register: index, found: format!("{value}") },
        });
    };
    if pointer.nullable {
        return Err(Reason::MaybeNull { register: index });
    }
    let (min, max) = pointer.offsets(offset).ok_or(Reason::PointerRange { register: index })?;
    let end = i64::try_from(bytes)
        .ok()
        .and_then(|bytes| max.checked_add(bytes))
        .ok_or(Reason::PointerRange { register: index })?;
    let outside = |what: String, limit: u64| Reason::OutOfBounds { what, min, max, bytes, limit };
    match pointer.region {
        Region::Stack(frame) => {
            let size = i64::from(FRAME_BYTES);
            if min < -size || end > 0 {
                return Err(outside(format!("stack of frame {frame}"), size as u64));
            }
            usage.stack(program, state, frame, -min as u32);
            Ok(Place::Stack { frame, min: (min + size) as u32, max: (max + size) as u32 })
        }
        Region::Packet => {
            let checked = if pointer.variable.get() == Some(0) {
                state.shared.packet.range(0)
            } else if value.id != 0 {
                state.shared.packet.range(value.id)
            } else {
                0
            };
            // The range is counted from where the variable part leads to.
            let last = i64::from(pointer.fixed)
                .checked_add(offset)
                .and_then(|last| last.checked_add_unsigned(bytes))
                .ok_or(Reason::PointerRange { register: index })?;
            // Or from the packet's start, to the farthest that it may lead to.
            let inside = last <= i64::from(checked) || end <= i64::from(state.shared.packet.range(0));
            if min < 0 || !inside {
                return Err(Reason::PacketBounds { min, max, bytes, checked: checked.into() });
            }
            Ok(Place::Data)
        }
        Region::PacketMeta => {
            let checked = state.shared.packet.meta;
            if min < 0 || end > i64::from(checked) {
                return Err(Reason::PacketBounds { min, max, bytes, checked: checked.into() });
            }
            Ok(Place::Data)
        }
        Region::MapValue(map) => {
            let spec = program.map(map).ok_or(Reason::Map { index: map, offset: 0 })?;
            if min < 0 || end > i64::from(spec.value_bytes) {
                return Err(outside(format!("a value of map '{}'", spec.name), spec.value_bytes.into()));
            }
            if write && spec.read_only {
                return Err(Reason::ReadOnly { what: format!("map '{}'", spec.name) });
            }
            Ok(Place::Data)
        }
        Region::Record { bytes: size, .. } | Region::Memory(size) => {
            if min < 0 || end > i64::from(size) {
                return Err(outside(
                    format!("{}", Pointer { fixed: 0, variable: Scalar::constant(0), ..*pointer }),
                    size.into(),
                ));
            }
            Ok(Place::Data)
        }
        Region::Context => match write {
            true => Err(Reason::ReadOnly { what: "the context".into() }),
            false => Err(Reason::NotMemory { register: index, found: format!("{value}") }),
        },
        Region::PacketEnd | Region::Map(_) | Region::Function(_) => {
            Err(Reason::NotMemory { register: index, found: format!("{value}") })
        }
    }
}

impl Usage {
    /// Notes that `bytes` below the R10 of `frame` may be touched.
    fn stack(&mut self, program: &Program<'_>, state: &State, frame: u8, bytes: u32) {
        let Some(frame) = state.shared.frames.get(usize::from(frame)) else {
            return;
        };
        if let Ok(function) = program.functions.binary_search(&frame.function)
            && let Some(most) = self.frame_bytes.get_mut(function)
        {
            *most = (*most).max(bytes);
        }
    }
}

pub(super) fn load(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &State,
    base: Register,
    offset: i16,
    size: Size,
    signed: bool,
) -> Result<Value, Reason> {
    let bytes = u32::from(size.bytes());
    let value = readable(state, base)?;
    let loaded = match &value.content {
        Content::Pointer(pointer) if pointer.region == Region::Context && !pointer.nullable => {
            context(program, pointer, offset.into(), bytes)?
        }
        _ => match locate(program, usage, state, base, &value, offset.into(), bytes.into(), false)? {
            Place::Stack { frame, min, max } => {
                let stack = &state.shared.frames[usize::from(frame)].stack;
                let loaded = if min == max {
                    stack.load(min, bytes)
                } else {
                    stack
                        .is_data(min, max - min + bytes)
                        .then(|| Value::scalar(Scalar::UNKNOWN.truncate(size.bytes())))
                };
                loaded.ok_or(Reason::UninitialisedStack {
                    offset: i64::from(min) - i64::from(FRAME_BYTES),
                    bytes: u64::from(max - min + bytes),
                })?
            }
            Place::Data => Value::scalar(Scalar::UNKNOWN.truncate(size.bytes())),
        },
    };
    match (&loaded.content, signed) {
        (_, false) => Ok(loaded),
        (Content::Scalar(scalar), true) => {
            Ok(Value::scalar(scalar.sign_extend(size.bytes() * 8, Width::W64)))
        }
        (Content::Pointer(_) | Content::Unusable, true) => {
            Err(Reason::ContextField { offset: offset.into(), bytes: bytes.into() })
        }
    }
}

fn context(program: &Program<'_>, pointer: &Pointer, offset: i64, bytes: u32) -> Result<Value, Reason> {
    let Some(offset) = pointer.constant_offset().and_then(|start| start.checked_add(offset)) else {
        return Err(Reason::ContextField { offset, bytes: bytes.into() });
    };
    match program.field(offset, bytes) {
        Some(FieldKind::Scalar) => Ok(Value::scalar(Scalar::UNKNOWN.truncate(bytes as u8))),
        Some(FieldKind::PacketStart) => Ok(Value::pointer(Region::Packet)),
        Some(FieldKind::PacketEnd) => Ok(Value::pointer(Region::PacketEnd)),
        Some(FieldKind::PacketMeta) => Ok(Value::pointer(Region::PacketMeta)),
        Some(FieldKind::Hidden) | None => Err(Reason::ContextField { offset, bytes: bytes.into() }),
    }
}

pub(super) fn store(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    base: Register,
    offset: i16,
    size: Size,
    source: Operand,
) -> Result<(), Reason> {
    let bytes = u32::from(size.bytes());
    let pointer = readable(state, base)?;
    let value = match source {
        Operand::Immediate(immediate) => Value::scalar(Scalar::constant(i64::from(immediate) as u64)),
        Operand::Register(register) => readable(state, register)?,
    };
    let place = locate(program, usage, state, base, &pointer, offset.into(), bytes.into(), true)?;
    let leak = || Reason::Leak {
        register: match source {
            Operand::Register(register) => register.index() as u8,
            Operand::Immediate(_) => 0,
        },
        what: format!("{value}"),
    };
    let Place::Stack { frame, min, max } = place else {
        return if value.is_pointer() { Err(leak()) } else { Ok(()) };
    };
    // A pointer survives only in a place of its own.
    if value.is_pointer() && (bytes != 8 || min != max || min % 8 != 0) {
        return Err(leak());
    }
    let spilled = match (&value.content, source) {
        (Content::Scalar(scalar), _) if scalar.umax() > Scalar::UNKNOWN.truncate(size.bytes()).umax() => {
            Value::scalar(scalar.truncate(size.bytes()))
        }
        (Content::Scalar(scalar), Operand::Register(register)) if scalar.get().is_none() && min == max => {
            Value { id: state.identify(register), ..value }
        }
        _ => value,
    };
    let frame = &mut state.shared_mut().frames[usize::from(frame)];
    let stack = Rc::make_mut(&mut frame.stack);
    if min == max {
        stack.store(min, bytes, spilled);
    } else {
        stack.overwrite(min, max - min + bytes, 0);
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the fields of the instruction")]
pub(super) fn atomic(
    program: &Program<'_>,
    usage: &mut Usage,
    state: &mut State,
    op: Atomic,
    width: Width,
    base: Register,
    offset: i16,
    source: Register,
) -> Result<(), Reason> {
    let bytes: u32 = match width {
        Width::W32 => 4,
        Width::W64 => 8,
    };
    let pointer = readable(state, base)?;
    let operand = readable(state, source)?;
    let compared = if op == Atomic::CompareExchange { Some(readable(state, Register::R0)?) } else { None };
    for (register, value) in [(source, Some(operand)), (Register::R0, compared)] {
        if let Some(value) = value.filter(Value::is_pointer) {
            return Err(Reason::Leak { register: register.index() as u8, what: format!("{value}") });
        }
    }
    let place = locate(program, usage, state, base, &pointer, offset.into(), bytes.into(), true)?;
    if let Content::Pointer(pointer) = &pointer.content {
        let fixed = Scalar::constant((i64::from(pointer.fixed) + i64::from(offset)) as u64);
        let bits = fixed.bits().add(pointer.variable.bits());
        let aligned = (bits.value | bits.mask) & u64::from(bytes - 1) == 0;
        let shared = matches!(
            pointer.region,
            Region::Stack(_) | Region::MapValue(_) | Region::Record { .. } | Region::Memory(_)
        );
        if !aligned || !shared {
            return Err(Reason::Atomic { found: format!("{pointer} {offset:+}") });
        }
    }
    if let Place::Stack { frame, min, max } = place {
        let frame = &mut state.shared_mut().frames[usize::from(frame)];
        if !frame.stack.is_data(min, max - min + bytes) {
            return Err(Reason::UninitialisedStack {
                offset: i64::from(min) - i64::from(FRAME_BYTES),
                bytes: u64::from(max - min + bytes),
            });
        }
        Rc::make_mut(&mut frame.stack).overwrite(min, max - min + bytes, 0);
    }
    let old = Value::scalar(Scalar::UNKNOWN.truncate(bytes as u8));
    match op {
        Atomic::Add { fetch: true }
        | Atomic::Or { fetch: true }
        | Atomic::And { fetch: true }
        | Atomic::Xor { fetch: true }
        | Atomic::Exchange => state.set(source, old),
        Atomic::CompareExchange => state.set(Register::R0, old),
        Atomic::Add { fetch: false }
        | Atomic::Or { fetch: false }
        | Atomic::And { fetch: false }
        | Atomic::Xor { fetch: false } => {}
    }
    Ok(())
}
