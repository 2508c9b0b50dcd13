//! Arrays, slices, strings and vectors as one thing: elements side by side.

use super::{Place, Reader, Value, mask};
use crate::expr::error::Problem;
use crate::types::{Kind, TypeRef};

/// Levels of structs searched for the pointer of a vector.
const BUFFER_DEPTH_MAX: usize = 8;

/// Elements side by side.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) element: TypeRef,
    /// Bytes from one element to the next.
    pub(crate) stride: u64,
    /// `None` where the type does not say: raw pointers, C flexible arrays.
    pub(crate) length: Option<u64>,
    /// UTF-8 text.
    pub(crate) text: bool,
    pub(crate) place: Place,
}

impl Reader<'_> {
    /// A value's elements, if it has any. Looks through wrappers and references to arrays.
    pub(crate) fn sequence(&mut self, value: &Value) -> Result<Option<Sequence>, Problem> {
        let value = self.peel(value)?;
        let resolved = self.resolve(&value.type_ref)?;
        match &resolved.kind {
            Kind::Array { element, count } => {
                let stride = self.resolve(element)?.size;
                Ok(Some(Sequence {
                    element: element.clone(),
                    stride,
                    length: *count,
                    text: false,
                    place: value.place,
                }))
            }
            Kind::Pointer { target, .. } => {
                let pointee = self.resolve(target)?;
                let inner = match &pointee.kind {
                    Kind::Array { .. } => {
                        let target = self.deref(&value)?;
                        return self.sequence(&target);
                    }
                    Kind::Struct { .. } => {
                        let target = self.deref(&value)?;
                        self.struct_sequence(&target)?
                    }
                    Kind::Void | Kind::Opaque | Kind::Code => return Ok(None),
                    _ => None,
                };
                if inner.is_some() {
                    return Ok(inner);
                }
                let address = self.address_in(&value)?;
                Ok(Some(Sequence {
                    element: target.clone(),
                    stride: pointee.size,
                    length: None,
                    text: false,
                    place: Place::Memory(address),
                }))
            }
            _ => self.struct_sequence(&value),
        }
    }

    /// Elements of fat pointers, `Vec` and `String`.
    pub(crate) fn struct_sequence(&mut self, value: &Value) -> Result<Option<Sequence>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        let Kind::Struct { fields, parameters, variants: None, .. } = &resolved.kind else { return Ok(None) };
        let field = |name: &str| fields.iter().find(|field| field.name == name);
        if let (Some(data), Some(length), 2) = (field("data_ptr"), field("length"), fields.len()) {
            let Kind::Pointer { target, .. } = &self.resolve(&data.type_ref)?.kind else { return Ok(None) };
            let (data, length) = (self.field_value(value, 0, data)?, self.field_value(value, 0, length)?);
            let name = resolved.name.trim_start_matches(['&', '*']);
            let name = name.strip_prefix("mut ").or(name.strip_prefix("const ")).unwrap_or(name);
            let text = name == "str" || name.contains("<str,") || name.ends_with("<str>");
            return self.elements(&data, &length, target.clone(), text).map(Some);
        }
        if resolved.name == "alloc::string::String"
            && let Some(vec) = field("vec")
        {
            let vec = self.field_value(value, 0, vec)?;
            let bytes = self.struct_sequence(&vec)?;
            return Ok(bytes.map(|bytes| Sequence { text: true, ..bytes }));
        }
        if resolved.name.starts_with("alloc::vec::Vec<")
            && let (Some(buffer), Some(length)) = (field("buf"), field("len"))
            && let Some((_, element)) = parameters.iter().find(|(name, _)| name == "T")
        {
            let (buffer, length) = (self.field_value(value, 0, buffer)?, self.field_value(value, 0, length)?);
            let Some(data) = self.first_pointer(&buffer, 0)? else { return Ok(None) };
            return self.elements(&data, &length, element.clone(), false).map(Some);
        }
        if resolved.name.starts_with("alloc::collections::vec_deque::VecDeque<")
            && let (Some(buffer), Some(head), Some(length)) = (field("buf"), field("head"), field("len"))
            && let Some((_, element)) = parameters.iter().find(|(name, _)| name == "T")
        {
            let buffer = self.field_value(value, 0, buffer)?;
            let (head, length) = (self.field_value(value, 0, head)?, self.field_value(value, 0, length)?);
            return self.ring(&buffer, &head, &length, element);
        }
        Ok(None)
    }

    /// Elements of a ring buffer, put into one piece where they wrap around.
    fn ring(
        &mut self,
        buffer: &Value,
        head: &Value,
        length: &Value,
        element: &TypeRef,
    ) -> Result<Option<Sequence>, Problem> {
        let Some(data) = self.first_pointer(buffer, 0)? else { return Ok(None) };
        let Some(capacity) = self.nested_field(buffer, "cap", 0)? else { return Ok(None) };
        let capacity = self.peel(&capacity)?;
        let word = |bits: u128| u64::try_from(bits & mask(8)).unwrap_or(0);
        let (head, capacity) = (word(self.bits(head)?), word(self.bits(&capacity)?));
        let whole = self.elements(&data, length, element.clone(), false)?;
        let length = whole.length.unwrap_or(0);
        let Place::Memory(start) = whole.place else { return Ok(None) };
        let at = |index: u64| start.wrapping_add(index.wrapping_mul(whole.stride));
        let to_end = capacity.saturating_sub(head);
        let place = if length <= to_end {
            Place::Memory(at(head))
        } else {
            let size = |count: u64| count.checked_mul(whole.stride).ok_or(Problem::Overflow);
            let mut bytes = self.read(at(head), size(to_end)?)?;
            bytes.extend(self.read(start, size(length - to_end)?)?);
            Place::Bytes(bytes)
        };
        Ok(Some(Sequence { place, ..whole }))
    }

    /// The first field of that name in a struct of structs.
    fn nested_field(&mut self, value: &Value, name: &str, depth: usize) -> Result<Option<Value>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        let Kind::Struct { fields, .. } = &resolved.kind else { return Ok(None) };
        for field in fields {
            let inner = self.field_value(value, 0, field)?;
            if field.name == name {
                return Ok(Some(inner));
            }
            if depth < BUFFER_DEPTH_MAX
                && let Some(found) = self.nested_field(&inner, name, depth + 1)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What an `Arc` or `Rc` shares; `None` for other types.
    pub(crate) fn shared(&mut self, value: &Value) -> Result<Option<Value>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        let payload = if resolved.name.starts_with("alloc::sync::Arc<") {
            "data"
        } else if resolved.name.starts_with("alloc::rc::Rc<") {
            "value"
        } else {
            return Ok(None);
        };
        let Some(pointer) = self.first_pointer(value, 0)? else { return Ok(None) };
        let inner = self.deref(&pointer)?;
        self.field(&inner, payload).map(Some)
    }

    fn elements(
        &mut self,
        data: &Value,
        length: &Value,
        element: TypeRef,
        text: bool,
    ) -> Result<Sequence, Problem> {
        let address = self.address_in(data)?;
        let length = u64::try_from(self.bits(length)? & mask(8)).unwrap_or(0);
        let stride = self.resolve(&element)?.size;
        Ok(Sequence { element, stride, length: Some(length), text, place: Place::Memory(address) })
    }

    /// The first pointer in a struct of structs: where a vector keeps its elements.
    pub(crate) fn first_pointer(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Problem> {
        let resolved = self.resolve(&value.type_ref)?;
        match &resolved.kind {
            Kind::Pointer { .. } => Ok(Some(value.clone())),
            Kind::Struct { fields, .. } if depth < BUFFER_DEPTH_MAX => {
                for field in fields {
                    let inner = self.field_value(value, 0, field)?;
                    if let Some(found) = self.first_pointer(&inner, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Element `index`.
    pub(crate) fn element(&self, sequence: &Sequence, index: i128) -> Result<Value, Problem> {
        if !self.types_only
            && let Some(length) = sequence.length
            && (index < 0 || index >= i128::from(length))
        {
            return Err(Problem::OutOfBounds { index, length });
        }
        let distance = index.checked_mul(i128::from(sequence.stride)).ok_or(Problem::Overflow)?;
        let holder = Value { type_ref: sequence.element.clone(), place: sequence.place.clone() };
        // Negative indexes of raw pointers wrap, as address arithmetic does.
        self.part(&holder, &sequence.element, distance as u64)
    }

    /// Elements `start` up to and without `end`, as an array.
    pub(crate) fn subsequence(
        &self,
        sequence: &Sequence,
        start: i128,
        end: Option<i128>,
    ) -> Result<Value, Problem> {
        let end = match (end, sequence.length) {
            (Some(end), _) => end,
            (None, Some(length)) => i128::from(length),
            (None, None) => return Err(Problem::BadRange { start, end: i128::MAX }),
        };
        if !self.types_only
            && let Some(length) = sequence.length
            && (end > i128::from(length) || start < 0)
        {
            return Err(Problem::OutOfBounds { index: if start < 0 { start } else { end }, length });
        }
        let count = end.checked_sub(start).and_then(|count| u64::try_from(count).ok());
        let count = count.ok_or(Problem::BadRange { start, end })?;
        let distance = start.checked_mul(i128::from(sequence.stride)).ok_or(Problem::Overflow)?;
        let type_ref = TypeRef::Sequence { element: std::sync::Arc::new(sequence.element.clone()), count };
        let holder = Value { type_ref: type_ref.clone(), place: sequence.place.clone() };
        self.part(&holder, &type_ref, distance as u64)
    }
}
