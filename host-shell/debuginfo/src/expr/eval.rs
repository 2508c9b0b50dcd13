//! Syntax tree to value.

use uio_protocol::inspect::Registers;

use super::error::{At, Located, Problem, Span, located};
use super::parse::{Node, NodeKind, Operator};
use super::types::resolve_name;
use crate::error::DebugError;
use crate::space::{Space, Variable};
use crate::types::{Kind, TypeRef};
use crate::value::{Place, Reader, Value, is_scalar, to_integer};

/// Near matches offered for an unknown name.
const SUGGESTIONS_MAX: usize = 3;

/// Candidates listed for an ambiguous name.
const CANDIDATES_MAX: usize = 8;

impl Reader<'_> {
    pub(crate) fn evaluate(&mut self, node: &Node) -> Result<Value, Located> {
        let span = node.span;
        match &node.kind {
            NodeKind::Integer(value) => {
                let value = i128::try_from(*value).map_err(|_| Problem::Overflow).at(span)?;
                Ok(Value::integer(value, TypeRef::LITERAL, 16))
            }
            NodeKind::Float(value) => Ok(Value {
                type_ref: TypeRef::Float { bytes: 8 },
                place: Place::Bytes(value.to_le_bytes().to_vec()),
            }),
            NodeKind::Char(value) => Ok(Value::integer(i128::from(u32::from(*value)), TypeRef::Char, 4)),
            NodeKind::Path(name) => self.name(name, span),
            NodeKind::Register(name) => self.register(name, span),
            NodeKind::Field(base, name, name_span) => {
                let base = self.evaluate(base)?;
                self.field(&base, name).at(*name_span).map_err(|error| {
                    if !matches!(*error.problem, Problem::NoField { .. }) {
                        return error;
                    }
                    let known = crate::complete::field_names(self, &base);
                    let near = crate::names::near(name, known.iter().map(String::as_str), SUGGESTIONS_MAX);
                    error.suggest(near)
                })
            }
            NodeKind::Index(base, index) => {
                let (base_value, index_value) = (self.evaluate(base)?, self.evaluate(index)?);
                let position = self.integer(&index_value).at(index.span)?;
                let sequence = self.sequence(&base_value).at(span)?;
                let sequence = sequence.ok_or_else(|| {
                    let type_name = self.space.type_name(&base_value.type_ref);
                    located(base.span, Problem::NotIndexable { type_name })
                })?;
                self.element(&sequence, position).at(index.span)
            }
            NodeKind::Range(base, start, end, inclusive) => {
                let base_value = self.evaluate(base)?;
                let mut bound = |node: &Option<Box<Node>>| -> Result<Option<i128>, Located> {
                    let Some(node) = node else { return Ok(None) };
                    let value = self.evaluate(node)?;
                    self.integer(&value).at(node.span).map(Some)
                };
                let (start, end) = (bound(start)?.unwrap_or(0), bound(end)?);
                let end = end.map(|end| if *inclusive { end.saturating_add(1) } else { end });
                let sequence = self.sequence(&base_value).at(span)?.ok_or_else(|| {
                    let type_name = self.space.type_name(&base_value.type_ref);
                    located(base.span, Problem::NotIndexable { type_name })
                })?;
                self.subsequence(&sequence, start, end).at(span)
            }
            NodeKind::Deref(inner) => {
                let value = self.evaluate(inner)?;
                self.deref(&value).at(span)
            }
            NodeKind::AddressOf(inner) => {
                let value = self.evaluate(inner)?;
                match value.place {
                    Place::Memory(address) => Ok(Value::pointer(address, value.type_ref)),
                    Place::Bytes(_) => Err(located(inner.span, Problem::NoAddress)),
                    Place::Pieces(..) => Err(located(inner.span, Problem::Split)),
                }
            }
            NodeKind::Negate(inner) => {
                let value = self.evaluate(inner)?;
                let peeled = self.peel(&value).at(span)?;
                if matches!(self.resolve(&peeled.type_ref).at(span)?.kind, Kind::Float) {
                    return Ok(float_value(-self.float(&peeled).at(span)?));
                }
                let number = self.integer(&peeled).at(inner.span)?;
                let number = number.checked_neg().ok_or(Problem::Overflow).at(span)?;
                Ok(Value::integer(number, TypeRef::LITERAL, 16))
            }
            NodeKind::Binary(operator, left, right) => {
                let (left_value, right_value) = (self.evaluate(left)?, self.evaluate(right)?);
                self.binary(*operator, (&left_value, left.span), (&right_value, right.span), span)
            }
            NodeKind::Cast(inner, type_name, type_span) => {
                let target = resolve_name(self.space, type_name, *type_span)?;
                let value = self.evaluate(inner)?;
                self.cast(&value, &target, span)
            }
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Result<Value, Located> {
        match name {
            "true" => return Ok(Value::integer(1, TypeRef::Bool, 1)),
            "false" => return Ok(Value::integer(0, TypeRef::Bool, 1)),
            _ => {}
        }
        let missing = self.space.find_variables(name);
        // Without any debug information symbols still have addresses; damaged information is an error.
        if let Err(error) = &missing
            && *error != DebugError::Missing
        {
            return Err(located(span, error.clone()));
        }
        let variables = missing.as_ref().map(Vec::as_slice).unwrap_or_default();
        match variables {
            [] => {}
            [variable] => {
                if variable.split && variable.address.is_none() && !self.types_only {
                    return self.split_variable(variable).at(span);
                }
                let address = variable.address.or(self.types_only.then_some(0));
                let address =
                    address.ok_or_else(|| Problem::OptimizedOut { name: variable.name.clone() }).at(span)?;
                return Ok(Value { type_ref: variable.type_ref.clone(), place: Place::Memory(address) });
            }
            several => return Err(ambiguous(name, several.iter().map(|v| v.name.clone()), span)),
        }
        let symbols = self.space.find_symbols(name);
        match symbols.as_slice() {
            [] => {
                if let Err(error) = missing {
                    return Err(located(span, error));
                }
                let near = near_names(self.space, name);
                Err(located(span, Problem::UnknownName { name: name.to_owned() }).suggest(near))
            }
            [symbol] => Ok(match symbol.kind {
                crate::SymbolKind::Function => Value::pointer(symbol.address, TypeRef::Code),
                _ => Value {
                    type_ref: TypeRef::Unknown { size: symbol.size },
                    place: Place::Memory(symbol.address),
                },
            }),
            several => Err(ambiguous(name, several.iter().map(crate::Symbol::demangled), span)),
        }
    }

    /// A variable whose location is a computation.
    fn split_variable(&mut self, variable: &Variable) -> Result<Value, Problem> {
        let space = self.space;
        let debug = space.module(variable.module)?.debug()?;
        let mut read = |address: u64, size: u8| -> Result<u64, Problem> {
            let bytes = self.read(address, u64::from(size.min(8)))?;
            Ok(bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
        };
        let pieces = debug.pieces(variable.entry, &mut read)?;
        if pieces.is_empty() {
            return Err(Problem::OptimizedOut { name: variable.name.clone() });
        }
        let whole = Value { type_ref: variable.type_ref.clone(), place: Place::Pieces(pieces.into(), 0) };
        self.part(&whole, &whole.type_ref, 0)
    }

    fn register(&mut self, name: &str, span: Span) -> Result<Value, Located> {
        let unknown = || Problem::UnknownRegister { name: name.to_owned() };
        let registers = match (self.registers, self.types_only) {
            (Some(registers), _) => *registers,
            (None, true) => Registers::default(),
            (None, false) => {
                register_value(&Registers::default(), name).ok_or_else(unknown).at(span)?;
                return Err(located(span, Problem::NoRegisters { name: name.to_owned() }));
            }
        };
        let value = register_value(&registers, name).ok_or_else(unknown).at(span)?;
        Ok(match name {
            "rip" | "pc" => Value::pointer(value, TypeRef::Code),
            "rsp" | "sp" | "rbp" => Value::pointer(value, TypeRef::Int { signed: false, bytes: 8 }),
            _ => Value::integer(i128::from(value), TypeRef::Int { signed: false, bytes: 8 }, 8),
        })
    }

    fn binary(
        &mut self,
        operator: Operator,
        (left, left_span): (&Value, Span),
        (right, right_span): (&Value, Span),
        span: Span,
    ) -> Result<Value, Located> {
        let (left, right) = (self.peel(left).at(left_span)?, self.peel(right).at(right_span)?);
        let (left_type, right_type) =
            (self.resolve(&left.type_ref).at(left_span)?, self.resolve(&right.type_ref).at(right_span)?);
        if matches!(left_type.kind, Kind::Float) || matches!(right_type.kind, Kind::Float) {
            let mut number = |value: &Value, kind: &Kind, span: Span| match kind {
                Kind::Float => self.float(value).at(span),
                _ => self.integer(value).at(span).map(|value| value as f64),
            };
            let a = number(&left, &left_type.kind, left_span)?;
            let b = number(&right, &right_type.kind, right_span)?;
            return Ok(float_value(match operator {
                Operator::Add => a + b,
                Operator::Subtract => a - b,
                Operator::Multiply => a * b,
                Operator::Divide => a / b,
                Operator::Remainder => a % b,
            }));
        }
        let (a, b) = (self.integer(&left).at(left_span)?, self.integer(&right).at(right_span)?);
        let stride = |reader: &Self, kind: &Kind| match kind {
            Kind::Pointer { target, .. } => {
                let size = reader.resolve(target).map_or(1, |target| target.size);
                Some(i128::from(size.max(1)))
            }
            _ => None,
        };
        let (left_stride, right_stride) = (stride(self, &left_type.kind), stride(self, &right_type.kind));
        let scaled = match (operator, left_stride, right_stride) {
            (Operator::Subtract, Some(size), Some(_)) => {
                return Ok(Value::integer((a - b) / size, TypeRef::Int { signed: true, bytes: 8 }, 8));
            }
            (Operator::Add, Some(size), None) => Some((a, b.checked_mul(size), &left.type_ref)),
            (Operator::Add, None, Some(size)) => Some((b, a.checked_mul(size), &right.type_ref)),
            (Operator::Subtract, Some(size), None) => {
                let distance = b.checked_mul(size).and_then(i128::checked_neg);
                Some((a, distance, &left.type_ref))
            }
            _ => None,
        };
        if let Some((address, distance, type_ref)) = scaled {
            let sum = distance.and_then(|distance| address.checked_add(distance));
            let sum = sum.ok_or(Problem::Overflow).at(span)?;
            return Ok(Value::integer(sum, type_ref.clone(), 8));
        }
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::Divide => a.checked_div(b),
            Operator::Remainder => a.checked_rem(b),
        };
        let result = match result {
            Some(result) => result,
            // Types are asked for with every variable zero.
            None if self.types_only => 0,
            None => return Err(located(span, Problem::Overflow)),
        };
        // The result has the type of the variable in it, unless it does not fit.
        for (value, resolved) in [(&left, &left_type), (&right, &right_type)] {
            if let Kind::Int { signed } = resolved.kind
                && value.type_ref != TypeRef::LITERAL
                && to_integer(result.cast_unsigned(), resolved.size, signed) == Some(result)
            {
                return Ok(Value::integer(result, value.type_ref.clone(), resolved.size));
            }
        }
        Ok(Value::integer(result, TypeRef::LITERAL, 16))
    }

    fn cast(&mut self, value: &Value, target: &TypeRef, span: Span) -> Result<Value, Located> {
        let to = self.resolve(target).at(span)?;
        let reinterpreted = |value: &Value| match value.place {
            Place::Memory(address) => Ok(Value { type_ref: target.clone(), place: Place::Memory(address) }),
            Place::Bytes(_) => Err(Problem::NoAddress),
            Place::Pieces(..) => Err(Problem::Split),
        };
        if let TypeRef::Unknown { .. } = value.type_ref {
            return reinterpreted(value).at(span);
        }
        let peeled = self.peel(value).at(span)?;
        let from = self.resolve(&peeled.type_ref).at(span)?;
        let bad = || Problem::BadCast { from: from.name.clone(), to: to.name.clone() };
        match (&from.kind, &to.kind) {
            (Kind::Float, Kind::Float) => {
                let number = self.float(&peeled).at(span)?;
                let bytes = match to.size {
                    4 => (number as f32).to_le_bytes().to_vec(),
                    _ => number.to_le_bytes().to_vec(),
                };
                Ok(Value { type_ref: target.clone(), place: Place::Bytes(bytes) })
            }
            (Kind::Float, Kind::Int { signed: true }) => {
                let number = self.float(&peeled).at(span)? as i128;
                Ok(Value::integer(number, target.clone(), to.size))
            }
            (Kind::Float, Kind::Int { signed: false }) => {
                let number = (self.float(&peeled).at(span)? as u128).cast_signed();
                Ok(Value::integer(number, target.clone(), to.size))
            }
            (from_kind, Kind::Float) if is_scalar(from_kind) => {
                let number = self.integer(&peeled).at(span)? as f64;
                let bytes = match to.size {
                    4 => (number as f32).to_le_bytes().to_vec(),
                    _ => number.to_le_bytes().to_vec(),
                };
                Ok(Value { type_ref: target.clone(), place: Place::Bytes(bytes) })
            }
            (from_kind, Kind::Bool) if is_scalar(from_kind) => {
                let number = self.integer(&peeled).at(span)?;
                Ok(Value::integer(i128::from(number != 0), target.clone(), 1))
            }
            (from_kind, to_kind) if is_scalar(from_kind) && is_scalar(to_kind) => {
                let number = self.integer(&peeled).at(span)?;
                Ok(Value::integer(number, target.clone(), to.size))
            }
            // An array is its address, as in C.
            (Kind::Array { .. }, Kind::Pointer { .. } | Kind::Int { .. }) => match peeled.place {
                Place::Memory(address) => Ok(Value::integer(i128::from(address), target.clone(), to.size)),
                Place::Bytes(_) => Err(located(span, Problem::NoAddress)),
                Place::Pieces(..) => Err(located(span, Problem::Split)),
            },
            (
                Kind::Struct { .. } | Kind::Array { .. } | Kind::Opaque,
                Kind::Struct { .. } | Kind::Array { .. },
            ) if to.size <= from.size => reinterpreted(&peeled).at(span),
            _ => Err(located(span, bad())),
        }
    }
}

fn float_value(value: f64) -> Value {
    Value { type_ref: TypeRef::Float { bytes: 8 }, place: Place::Bytes(value.to_le_bytes().to_vec()) }
}

fn ambiguous(name: &str, candidates: impl Iterator<Item = String>, span: Span) -> Located {
    let mut candidates: Vec<String> = candidates.take(CANDIDATES_MAX).collect();
    candidates.dedup();
    located(span, Problem::Ambiguous { name: name.to_owned(), candidates })
}

/// Variables and functions whose names look like `name`, variables first.
pub(crate) fn near_names(space: &Space, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for module in space.modules() {
        if let Ok(index) = module.debug().and_then(|debug| debug.index()) {
            found.extend(index.variable_names.near(name, SUGGESTIONS_MAX));
        }
        found.extend(module.near(name, SUGGESTIONS_MAX));
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found.truncate(SUGGESTIONS_MAX);
    found
}

/// A register by name. `pc`, `sp` and `eflags` are other names for three of them.
fn register_value(registers: &Registers, name: &str) -> Option<u64> {
    let r = registers;
    Some(match name {
        "rax" => r.rax,
        "rbx" => r.rbx,
        "rcx" => r.rcx,
        "rdx" => r.rdx,
        "rsi" => r.rsi,
        "rdi" => r.rdi,
        "rbp" => r.rbp,
        "rsp" | "sp" => r.rsp,
        "r8" => r.r8,
        "r9" => r.r9,
        "r10" => r.r10,
        "r11" => r.r11,
        "r12" => r.r12,
        "r13" => r.r13,
        "r14" => r.r14,
        "r15" => r.r15,
        "rip" | "pc" => r.rip,
        "rflags" | "eflags" => r.rflags,
        _ => return None,
    })
}

/// The narrowest ordinary type that holds a result which still has the type of literals.
pub(crate) fn settle_literal(reader: &mut Reader<'_>, value: Value) -> Result<Value, Problem> {
    if value.type_ref != TypeRef::LITERAL {
        return Ok(value);
    }
    let number = reader.integer(&value)?;
    Ok(if i64::try_from(number).is_ok() {
        Value::integer(number, TypeRef::Int { signed: true, bytes: 8 }, 8)
    } else if u64::try_from(number).is_ok() {
        Value::integer(number, TypeRef::Int { signed: false, bytes: 8 }, 8)
    } else {
        value
    })
}
