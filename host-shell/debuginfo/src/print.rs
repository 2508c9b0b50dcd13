//! `print EXPR` and `set VAR VALUE`.

use uio_protocol::inspect::Registers;

use crate::expr::error::{At, ExprError, Located, Problem, Span, located};
use crate::expr::eval::settle_literal;
use crate::expr::parse::parse;
use crate::memory::ReadMemory;
use crate::space::Space;
use crate::types::{Kind, Type, TypeRef};
use crate::value::datum::Datum;
use crate::value::render::{PrintLimits, Renderer};
use crate::value::{Place, Reader, Value, mask};

/// A value with its type, as `print` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Printed {
    /// Name of its type.
    pub type_name: String,
    /// Size of its type in bytes.
    pub size: u64,
    /// Where it is in the guest; `None` if it was computed.
    pub address: Option<u64>,
    /// The value.
    pub datum: Datum,
}

impl Printed {
    /// `{"type", "address", "value"}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("type".to_owned(), self.type_name.clone().into());
        if let Some(address) = self.address {
            object.insert("address".to_owned(), format!("{address:#x}").into());
        }
        object.insert("value".to_owned(), self.datum.to_json());
        serde_json::Value::Object(object)
    }
}

/// Bytes to write for an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Guest address of the first byte.
    pub address: u64,
    /// Little-endian value, of the variable's size.
    pub bytes: Vec<u8>,
    /// Name of the variable's type.
    pub type_name: String,
}

impl Space {
    /// Evaluates an expression and reads its value.
    ///
    /// # Errors
    /// The expression is wrong, or memory that decides what is meant cannot be read. Parts of the
    /// value that cannot be read are no error but [`Datum::Bad`] in their place.
    pub fn print(
        &self,
        expression: &str,
        memory: &mut dyn ReadMemory,
        registers: Option<&Registers>,
        limits: PrintLimits,
    ) -> Result<Printed, ExprError> {
        let mut reader = Reader { space: self, memory, registers, types_only: false };
        let run = |reader: &mut Reader<'_>| -> Result<Printed, Located> {
            let node = parse(expression)?;
            let value = reader.evaluate(&node)?;
            let value = settle_literal(reader, value).at(node.span)?;
            let resolved = reader.resolve(&value.type_ref).at(node.span)?;
            let datum = Renderer::new(reader, limits).render(&value);
            if let (TypeRef::Unknown { size: 0 }, Some(name)) =
                (&value.type_ref, expression.get(node.span.start..node.span.end))
            {
                return Err(located(node.span, Problem::Untyped { name: name.to_owned() }));
            }
            let address = match value.place {
                Place::Memory(address) => Some(address),
                Place::Bytes(_) | Place::Pieces(..) => None,
            };
            Ok(Printed { type_name: resolved.name.clone(), size: resolved.size, address, datum })
        };
        run(&mut reader).map_err(|error| error.in_source(expression))
    }

    /// The address and size that an expression stands for: of the variable, or of what a pointer or
    /// function name points to. For `peek`, `disasm` and the like.
    ///
    /// # Errors
    /// The expression is wrong, or its value is not an address.
    pub fn locate(
        &self,
        expression: &str,
        memory: &mut dyn ReadMemory,
        registers: Option<&Registers>,
    ) -> Result<u64, ExprError> {
        let mut reader = Reader { space: self, memory, registers, types_only: false };
        let run = |reader: &mut Reader<'_>| -> Result<u64, Located> {
            let node = parse(expression)?;
            let value = reader.evaluate(&node)?;
            if let Place::Memory(address) = value.place {
                return Ok(address);
            }
            let number = reader.integer(&value).at(node.span)?;
            u64::try_from(number).map_err(|_| Problem::Overflow).at(node.span)
        };
        run(&mut reader).map_err(|error| error.in_source(expression))
    }

    /// Checks that `value` fits the variable that `target` names, and encodes it.
    ///
    /// # Errors
    /// Either is wrong, the target is not a scalar in memory, or the value is out of its range. The
    /// error's source is that of the two texts which is at fault.
    pub fn assign(
        &self,
        target: &str,
        value: &str,
        memory: &mut dyn ReadMemory,
        registers: Option<&Registers>,
    ) -> Result<Assignment, ExprError> {
        let mut reader = Reader { space: self, memory, registers, types_only: false };
        let place = |reader: &mut Reader<'_>| -> Result<(u64, TypeRef), Located> {
            let node = parse(target)?;
            let found = reader.evaluate(&node)?;
            if let TypeRef::Unknown { .. } = found.type_ref {
                let name = target.to_owned();
                return Err(located(node.span, Problem::Untyped { name }));
            }
            let peeled = reader.peel(&found).at(node.span)?;
            match peeled.place {
                Place::Memory(address) => Ok((address, peeled.type_ref)),
                Place::Bytes(_) => Err(located(node.span, Problem::NoAddress)),
                Place::Pieces(..) => Err(located(node.span, Problem::Split)),
            }
        };
        let (address, type_ref) = place(&mut reader).map_err(|error| error.in_source(target))?;
        let bytes = encode(&mut reader, &type_ref, value, "assigned").map_err(|error| {
            let about_target = matches!(*error.problem, Problem::NotScalar { .. });
            error.in_source(if about_target { target } else { value })
        })?;
        Ok(Assignment { address, bytes, type_name: self.type_name(&type_ref) })
    }
}

/// `text` as a value of `type_ref`, in memory order.
pub(crate) fn encode(
    reader: &mut Reader<'_>,
    type_ref: &TypeRef,
    text: &str,
    action: &'static str,
) -> Result<Vec<u8>, Located> {
    let whole = Span { start: 0, end: text.len() };
    let resolved = reader.resolve(type_ref).at(whole)?;
    let trimmed = text.trim();
    let wrong = |expected: &str| {
        let type_name = resolved.name.clone();
        located(
            whole,
            Problem::WrongValue { text: trimmed.to_owned(), type_name, expected: expected.to_owned() },
        )
    };
    let size = usize::try_from(resolved.size.min(16)).unwrap_or(16);
    match &resolved.kind {
        Kind::Enumeration { variants, .. } => {
            let wanted = trimmed.rsplit("::").next().unwrap_or(trimmed);
            if let Some((_, value)) = variants.iter().find(|(name, _)| name == wanted) {
                return Ok(value.to_le_bytes()[..size].to_vec());
            }
            let names = || variants.iter().map(|(name, _)| name.as_str());
            let Ok(number) = number(reader, text) else {
                let near = crate::names::near(wanted, names(), 3);
                let expected = format!("it is one of {}", names().take(12).collect::<Vec<_>>().join(", "));
                return Err(wrong(&expected).suggest(near));
            };
            let known = variants.iter().any(|(_, value)| {
                value.cast_unsigned() & mask(resolved.size) == number.cast_unsigned() & mask(resolved.size)
            });
            // A Rust enum with another value is undefined behaviour; C enums are flag sets at times,
            // but then a cast to the integer type says so.
            if !known {
                let expected = format!("it is one of {}", names().take(12).collect::<Vec<_>>().join(", "));
                return Err(wrong(&expected));
            }
            Ok(number.to_le_bytes()[..size].to_vec())
        }
        Kind::Bool => match trimmed {
            "true" | "1" => Ok(vec![1]),
            "false" | "0" => Ok(vec![0]),
            _ => Err(wrong("it is true or false")),
        },
        Kind::Float => {
            let value = match trimmed.parse::<f64>() {
                Ok(value) => value,
                Err(_) => {
                    let node = parse(text)?;
                    let value = reader.evaluate(&node)?;
                    match reader.resolve(&value.type_ref).at(node.span)?.kind {
                        Kind::Float => reader.float(&value).at(node.span)?,
                        _ => reader.integer(&value).at(node.span)? as f64,
                    }
                }
            };
            match size {
                4 => Ok((value as f32).to_le_bytes().to_vec()),
                8 => Ok(value.to_le_bytes().to_vec()),
                _ => Err(wrong("floats of 4 and 8 bytes can be written")),
            }
        }
        Kind::Char { .. } if size == 4 => {
            let number = number(reader, text)?;
            let valid = u32::try_from(number).ok().and_then(char::from_u32);
            valid
                .map(|value| u32::from(value).to_le_bytes().to_vec())
                .ok_or_else(|| wrong("it is a character"))
        }
        Kind::Int { .. } | Kind::Char { .. } | Kind::Pointer { .. } => {
            let signed = matches!(resolved.kind, Kind::Int { signed: true } | Kind::Char { signed: true });
            let value = number(reader, text)?;
            let (min, max) = range(resolved.size, signed);
            if value < min || value > max {
                let type_name = resolved.name.clone();
                return Err(located(whole, Problem::OutOfRange { value, type_name, min, max }));
            }
            Ok(value.to_le_bytes()[..size].to_vec())
        }
        _ => Err(located(whole, not_scalar(reader, type_ref, &resolved, action))),
    }
}

/// An expression's value as a number.
fn number(reader: &mut Reader<'_>, text: &str) -> Result<i128, Located> {
    let node = parse(text)?;
    let value = reader.evaluate(&node)?;
    let value = address_of_array(reader, value);
    reader.integer(&value).at(node.span)
}

/// An array stands for its address where a number is wanted.
fn address_of_array(reader: &Reader<'_>, value: Value) -> Value {
    match (&value.place, reader.resolve(&value.type_ref).map(|resolved| resolved.kind.clone())) {
        (Place::Memory(address), Ok(Kind::Array { element, .. })) => Value::pointer(*address, element),
        _ => value,
    }
}

/// Least and greatest integer of `size` bytes. 16 unsigned bytes are cut to what arithmetic holds.
fn range(size: u64, signed: bool) -> (i128, i128) {
    match (size, signed) {
        (16.., true) => (i128::MIN, i128::MAX),
        (16.., false) => (0, i128::MAX),
        (_, true) => (-(1i128 << (8 * size.max(1) - 1)), (1i128 << (8 * size.max(1) - 1)) - 1),
        (_, false) => (0, mask(size).cast_signed()),
    }
}

fn not_scalar(reader: &mut Reader<'_>, type_ref: &TypeRef, resolved: &Type, action: &'static str) -> Problem {
    let value = Value { type_ref: type_ref.clone(), place: Place::Memory(0) };
    let mut types =
        Reader { space: reader.space, memory: &mut *reader.memory, registers: None, types_only: true };
    let fields = crate::complete::field_names(&mut types, &value);
    let hint = match (action, fields.first()) {
        ("assigned", Some(field)) => format!("; assign its fields, `.{field}` for example"),
        ("assigned", None) if matches!(resolved.kind, Kind::Array { .. }) => {
            "; assign its elements, `[0]` for example".to_owned()
        }
        _ => String::new(),
    };
    Problem::NotScalar { type_name: resolved.name.clone(), action, hint }
}
