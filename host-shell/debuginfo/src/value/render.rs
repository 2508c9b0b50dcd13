//! Reads a value out of the guest into a [`Datum`], within bounds.

use super::access::{Active, float_from_bits};
use super::datum::Datum;
use super::sequence::Sequence;
use super::{Place, Reader, Value, mask, to_integer};
use crate::expr::error::Problem;
use crate::names::simplify;
use crate::types::{Field, Kind, Type};

/// How much of a value is shown.
#[derive(Clone, Copy, Debug)]
pub struct PrintLimits {
    /// Elements of one list.
    pub elements: usize,
    /// Bytes of one text.
    pub text_bytes: usize,
    /// Structs within structs.
    pub depth: usize,
    /// References followed one after another.
    pub references: usize,
    /// Parts in all.
    pub parts: usize,
}

impl Default for PrintLimits {
    /// What fills a screen, and costs a guest some hundred reads at most.
    fn default() -> Self {
        Self { elements: 64, text_bytes: 512, depth: 10, references: 2, parts: 2000 }
    }
}

/// Largest struct that is read in one piece: one reply of the link.
const FETCH_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of a symbol without a type that are shown.
const UNTYPED_BYTES_MAX: u64 = 32;

pub(crate) struct Renderer<'r, 'a> {
    reader: &'r mut Reader<'a>,
    limits: PrintLimits,
    parts: usize,
}

impl<'r, 'a> Renderer<'r, 'a> {
    pub(crate) fn new(reader: &'r mut Reader<'a>, limits: PrintLimits) -> Self {
        Self { reader, limits, parts: 0 }
    }

    /// The value, read out. What cannot be read is [`Datum::Bad`] in its place.
    pub(crate) fn render(&mut self, value: &Value) -> Datum {
        self.at_depth(value, 0, 0)
    }

    fn at_depth(&mut self, value: &Value, depth: usize, references: usize) -> Datum {
        self.parts += 1;
        if depth > self.limits.depth || self.parts > self.limits.parts {
            return Datum::Elided;
        }
        match self.try_render(value, depth, references) {
            Ok(datum) => datum,
            Err(problem) => Datum::Bad(problem.to_string()),
        }
    }

    fn try_render(&mut self, value: &Value, depth: usize, references: usize) -> Result<Datum, Problem> {
        let value = &self.reader.peel(value)?;
        let resolved = self.reader.resolve(&value.type_ref)?;
        let value = &self.fetched(value, &resolved);
        match &resolved.kind {
            Kind::Struct { fields, variants, .. } => {
                if references < self.limits.references
                    && let Some(inner) = self.reader.shared(value)?
                {
                    return Ok(self.at_depth(&inner, depth + 1, references + 1));
                }
                if let Some(map) = self.map(value, depth, references)? {
                    return Ok(map);
                }
                if let Some(sequence) = self.reader.struct_sequence(value)? {
                    return self.sequence(&sequence, depth, references);
                }
                if let Some(variants) = variants {
                    let active = self.reader.active(value, variants)?;
                    return match active {
                        Active::Variant(variant) => {
                            let inner = self.reader.variant_value(value, variant)?;
                            let inner_type = self.reader.resolve(&inner.type_ref)?;
                            let fields = match &inner_type.kind {
                                Kind::Struct { fields, .. } => {
                                    self.fields(&inner, fields, depth, references)?
                                }
                                _ => Vec::new(),
                            };
                            Ok(Datum::Variant { variant: variant.name.clone(), fields })
                        }
                        Active::Unknown(bits) => {
                            Ok(Datum::Bad(format!("{bits} is no variant of {}", resolved.name)))
                        }
                    };
                }
                if let Some(datum) = self.trait_object(value, fields)? {
                    return Ok(datum);
                }
                let name = short_name(&resolved);
                Ok(Datum::Struct { name, fields: self.fields(value, fields, depth, references)? })
            }
            Kind::Array { .. } => match self.reader.sequence(value)? {
                Some(sequence) => self.sequence(&sequence, depth, references),
                None => Ok(Datum::Elided),
            },
            Kind::Pointer { reference, .. } => self.pointer(value, *reference, depth, references),
            Kind::Opaque => {
                let size = resolved.size.min(UNTYPED_BYTES_MAX);
                let Place::Memory(address) = value.place else { return Ok(Datum::Elided) };
                Ok(Datum::Bytes(self.reader.read(address, size)?))
            }
            _ => self.scalar(value, &resolved),
        }
    }

    /// A struct with its bytes read in one piece, so that its fields cost no reads of their own and fit
    /// together. Never reads beyond it: what lies beside may be a device. Unchanged where that fails.
    fn fetched(&mut self, value: &Value, resolved: &Type) -> Value {
        let (Place::Memory(address), Kind::Struct { .. }) = (&value.place, &resolved.kind) else {
            return value.clone();
        };
        if resolved.size == 0 || resolved.size > FETCH_BYTES_MAX {
            return value.clone();
        }
        match self.reader.read(*address, resolved.size) {
            Ok(bytes) => Value { type_ref: value.type_ref.clone(), place: Place::Bytes(bytes) },
            Err(_) => value.clone(),
        }
    }

    fn fields(
        &mut self,
        value: &Value,
        fields: &[Field],
        depth: usize,
        references: usize,
    ) -> Result<Vec<(String, Datum)>, Problem> {
        let mut shown = Vec::new();
        for field in fields {
            let part = self.reader.field_value(value, 0, field)?;
            shown.push((field.source_name().to_owned(), self.at_depth(&part, depth + 1, references)));
        }
        Ok(shown)
    }

    fn scalar(&mut self, value: &Value, resolved: &Type) -> Result<Datum, Problem> {
        let bits = self.reader.bits(value)? & mask(resolved.size);
        let size = resolved.size;
        let signed = |signed: bool| to_integer(bits, size, signed).unwrap_or(i128::MAX);
        Ok(match &resolved.kind {
            Kind::Int { signed: false } => Datum::Unsigned(bits),
            Kind::Int { signed: true } => Datum::Signed(signed(true)),
            Kind::Bool => match bits {
                0 => Datum::Bool(false),
                1 => Datum::Bool(true),
                _ => Datum::Bad(format!("{bits} is not a bool")),
            },
            Kind::Char { signed: is_signed } if size < 4 => Datum::Byte(signed(*is_signed)),
            Kind::Char { .. } => match u32::try_from(bits).ok().and_then(char::from_u32) {
                Some(value) => Datum::Char(value),
                None => Datum::Bad(format!("{bits:#x} is not a char")),
            },
            Kind::Float => Datum::Float { value: float_from_bits(bits, size), single: size == 4 },
            Kind::Enumeration { signed: is_signed, variants } => {
                let number = signed(*is_signed);
                // The compiler may record the variants of an unsigned enum as negative numbers.
                let same = |value: i128| value.cast_unsigned() & mask(size) == bits;
                match variants.iter().find(|(_, value)| same(*value)) {
                    Some((name, _)) => Datum::Named { name: name.clone(), value: number },
                    None => Datum::Bad(format!("{number} is no variant of {}", resolved.name)),
                }
            }
            Kind::Code => match value.place {
                Place::Memory(address) => self.address(address),
                Place::Bytes(_) | Place::Pieces(..) => Datum::Unit,
            },
            _ => Datum::Unit,
        })
    }

    fn address(&self, address: u64) -> Datum {
        Datum::Pointer { address, symbol: self.reader.space.describe(address), target: None }
    }

    fn pointer(
        &mut self,
        value: &Value,
        reference: bool,
        depth: usize,
        references: usize,
    ) -> Result<Datum, Problem> {
        let address = self.reader.address_in(value)?;
        let plain = self.address(address);
        let resolved = self.reader.resolve(&value.type_ref)?;
        let Kind::Pointer { target, .. } = &resolved.kind else { return Ok(plain) };
        let Ok(pointee) = self.reader.resolve(target) else { return Ok(plain) };
        let c_text = matches!(pointee.kind, Kind::Char { .. }) && pointee.size == 1;
        if address == 0 || !(reference || c_text) || references >= self.limits.references {
            return Ok(plain);
        }
        let shown = if c_text {
            self.c_text(address)
        } else if matches!(pointee.kind, Kind::Void | Kind::Opaque | Kind::Code) {
            return Ok(plain);
        } else {
            let inner = self.reader.deref(value)?;
            self.at_depth(&inner, depth + 1, references + 1)
        };
        let Datum::Pointer { address, symbol, .. } = plain else { return Ok(shown) };
        // A pointer that leads nowhere is still worth its address.
        let target = (!matches!(shown, Datum::Bad(_))).then(|| Box::new(shown));
        Ok(Datum::Pointer { address, symbol, target })
    }

    /// The NUL-terminated text at `address`, read in pieces, since it may end where memory does.
    fn c_text(&mut self, address: u64) -> Datum {
        const PIECE: u64 = 32;
        let mut bytes = Vec::new();
        while bytes.len() < self.limits.text_bytes {
            let at = address.wrapping_add(bytes.len() as u64);
            let piece = PIECE - at % PIECE;
            match self.reader.read(at, piece) {
                Ok(piece) => bytes.extend(piece),
                // The piece may reach past what is mapped, and the text end before that.
                Err(_) => match self.reader.read(at, 1) {
                    Ok(byte) => bytes.extend(byte),
                    Err(problem) if bytes.is_empty() => return Datum::Bad(problem.to_string()),
                    Err(_) => break,
                },
            }
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                bytes.truncate(end);
                return text(&bytes, bytes.len() as u64, false);
            }
        }
        let length = bytes.len() as u64;
        text(&bytes, length, true)
    }

    fn sequence(&mut self, sequence: &Sequence, depth: usize, references: usize) -> Result<Datum, Problem> {
        let length = sequence.length.unwrap_or(0);
        let element = self.reader.resolve(&sequence.element)?;
        let c_text = matches!(element.kind, Kind::Char { .. }) && element.size == 1;
        if sequence.text || c_text {
            let shown = length.min(self.limits.text_bytes as u64);
            let part = self.reader.subsequence(sequence, 0, Some(i128::from(shown)))?;
            let mut bytes = self.reader.bytes(&part)?;
            let mut truncated = shown < length;
            if c_text && let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                bytes.truncate(end);
                truncated = false;
            }
            return Ok(text(&bytes, length, truncated));
        }
        let shown = length.min(self.limits.elements as u64);
        // One read for all elements, not one each.
        let part = self.reader.subsequence(sequence, 0, Some(i128::from(shown)))?;
        let whole = match self.reader.bytes(&part) {
            Ok(bytes) if shown > 0 => Some(Place::Bytes(bytes)),
            Ok(_) => None,
            Err(Problem::TooLarge { .. }) => None,
            Err(problem) => return Err(problem),
        };
        let place = whole.unwrap_or_else(|| sequence.place.clone());
        let local = Sequence { place, ..sequence.clone() };
        let mut elements = Vec::new();
        for index in 0..shown {
            if self.parts > self.limits.parts {
                break;
            }
            let element = self.reader.element(&local, i128::from(index))?;
            elements.push(self.at_depth(&element, depth + 1, references));
        }
        Ok(Datum::List { elements, length })
    }

    fn map(&mut self, value: &Value, depth: usize, references: usize) -> Result<Option<Datum>, Problem> {
        let Some(found) = self.reader.entries(value, self.limits.elements)? else { return Ok(None) };
        let set = found.entries.iter().all(|(_, value)| value.is_none());
        let mut entries = Vec::new();
        for (key, value) in &found.entries {
            let key = self.at_depth(key, depth + 1, references);
            entries.push((key, value.as_ref().map(|value| self.at_depth(value, depth + 1, references))));
        }
        if set && !entries.is_empty() {
            let elements = entries.into_iter().map(|(key, _)| key).collect();
            return Ok(Some(Datum::List { elements, length: found.length }));
        }
        let entries = entries.into_iter().map(|(key, value)| (key, value.unwrap_or(Datum::Unit))).collect();
        Ok(Some(Datum::Map { entries, length: found.length }))
    }

    /// The type that a trait object's table is for, by the functions in it: drop glue, size and
    /// alignment come first, then the methods.
    fn concrete_type(&mut self, table: u64) -> Option<String> {
        const DROP_SLOT: u64 = 0;
        const FIRST_METHOD_SLOT: u64 = 3;
        [FIRST_METHOD_SLOT, DROP_SLOT].into_iter().find_map(|slot| {
            let bytes = self.reader.read(table.wrapping_add(8 * slot), 8).ok()?;
            let function = u64::from_le_bytes(bytes.try_into().ok()?);
            let found = self.reader.space.module_at(function)?.symbol_at(function)?;
            (found.offset == 0).then(|| self_type(&found.symbol.demangled()).map(str::to_owned))?
        })
    }

    /// `&dyn Trait`: its data pointer, and the table that tells the concrete type.
    fn trait_object(&mut self, value: &Value, fields: &[Field]) -> Result<Option<Datum>, Problem> {
        let [first, second] = fields else { return Ok(None) };
        let by_name = |name: &str| [first, second].into_iter().find(|field| field.name == name);
        let (Some(data), Some(table)) = (by_name("pointer"), by_name("vtable")) else { return Ok(None) };
        let data = self.reader.field_value(value, 0, data)?;
        let table = self.reader.field_value(value, 0, table)?;
        let (data, table) = (self.reader.address_in(&data)?, self.reader.address_in(&table)?);
        let described = self.reader.space.vtable_name(table);
        let concrete = described.or_else(|| self.concrete_type(table));
        let target = concrete.map(|name| Box::new(Datum::Struct { name, fields: Vec::new() }));
        let symbol = self.reader.space.describe(data);
        Ok(Some(Datum::Pointer { address: data, symbol, target }))
    }
}

/// The `T` of `<T as Trait>::method` and of `core::ptr::drop_in_place::<T>`.
fn self_type(function: &str) -> Option<&str> {
    if let Some(inside) = function.strip_prefix('<') {
        return inside.split_once(" as ").map(|(concrete, _)| concrete);
    }
    let generic = function.strip_prefix("core::ptr::drop_in_place")?;
    generic.trim_start_matches("::").strip_prefix('<')?.strip_suffix('>')
}

fn text(bytes: &[u8], length: u64, truncated: bool) -> Datum {
    // A cut may fall inside of a character.
    let valid = match std::str::from_utf8(bytes) {
        Err(error) if truncated && error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    Datum::Text { text: String::from_utf8_lossy(valid).into_owned(), length, truncated }
}

/// A type's name without path and generic arguments; empty for tuples and C's anonymous structs.
fn short_name(resolved: &Type) -> String {
    if resolved.name.starts_with('(') {
        return String::new();
    }
    let plain = simplify(&resolved.name);
    plain.rsplit("::").next().unwrap_or(&plain).to_owned()
}
