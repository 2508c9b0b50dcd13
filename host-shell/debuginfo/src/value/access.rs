//! Fields, variants, pointers, and the wrappers that are looked through.

use super::{Place, Reader, Value, mask, to_integer};
use crate::expr::error::Problem;
use crate::types::{Field, Kind, Type, TypeRef, Variant, Variants};

/// Wrappers looked through one after another. Real nesting stays below ten.
const WRAPPER_DEPTH_MAX: usize = 16;

/// Types that only give access to the one thing they hold, by the start of their qualified names.
const TRANSPARENT: [&str; 16] = [
    "core::sync::atomic::Atomic",
    "core::cell::UnsafeCell<",
    "core::cell::SyncUnsafeCell<",
    "core::cell::Cell<",
    "core::mem::manually_drop::ManuallyDrop<",
    "core::mem::maybe_dangling::MaybeDangling<",
    "core::mem::maybe_uninit::MaybeUninit<",
    "core::ptr::non_null::NonNull<",
    "core::ptr::unique::Unique<",
    "core::num::nonzero::NonZero",
    "core::num::niche_types::",
    "core::num::wrapping::Wrapping<",
    "core::num::saturating::Saturating<",
    "core::pin::Pin<",
    "core::cmp::Reverse<",
    "core::sync::exclusive::Exclusive<",
];

/// The variant that a Rust enum holds.
pub(crate) enum Active<'t> {
    Variant(&'t Variant),
    /// Discriminant bits that no variant claims.
    Unknown(u128),
}

impl Reader<'_> {
    /// The value inside of cells, atomics and the like; the value itself if it is none of these.
    pub(crate) fn peel(&mut self, value: &Value) -> Result<Value, Problem> {
        let mut current = value.clone();
        for _ in 0..WRAPPER_DEPTH_MAX {
            let resolved = self.resolve(&current.type_ref)?;
            let Some(field) = self.transparent_field(&resolved) else { break };
            current = self.part(&current, &field.type_ref, field.offset)?;
            // It holds a `u8`, so that the processor has an atomic access for it.
            if ["core::sync::atomic::AtomicBool", "core::sync::atomic::Atomic<bool>"]
                .contains(&&*resolved.name)
            {
                current = self.part(&current, &TypeRef::Bool, 0)?;
                break;
            }
        }
        Ok(current)
    }

    /// The only field with contents of a type that is looked through.
    fn transparent_field(&self, wrapper: &Type) -> Option<Field> {
        let Kind::Struct { fields, variants: None, .. } = &wrapper.kind else { return None };
        if !TRANSPARENT.iter().any(|name| wrapper.name.starts_with(name)) {
            return None;
        }
        let mut filled = fields
            .iter()
            .filter(|field| self.space.resolve(&field.type_ref).is_ok_and(|resolved| resolved.size > 0));
        match (filled.next(), filled.next()) {
            (Some(field), None) => Some(field.clone()),
            _ => None,
        }
    }

    /// The variant that is active in an enum.
    pub(crate) fn active<'t>(
        &mut self,
        value: &Value,
        variants: &'t Variants,
    ) -> Result<Active<'t>, Problem> {
        let default = variants.variants.iter().find(|variant| variant.values.is_empty());
        let Some(discriminant) = &variants.discriminant else {
            return Ok(variants.variants.first().map_or(Active::Unknown(0), Active::Variant));
        };
        let part = self.part(value, &discriminant.type_ref, discriminant.offset)?;
        let size = self.resolve(&discriminant.type_ref)?.size;
        let bits = self.bits(&part)? & mask(size);
        let claims = |variant: &&Variant| {
            variant.values.iter().any(|&(low, high)| {
                let (low, high) = (low & mask(size), high & mask(size));
                if low <= high { (low..=high).contains(&bits) } else { bits >= low || bits <= high }
            })
        };
        let found = variants.variants.iter().find(claims).or(default);
        Ok(found.map_or(Active::Unknown(bits), Active::Variant))
    }

    /// The struct with the fields of `variant`.
    pub(crate) fn variant_value(&self, value: &Value, variant: &Variant) -> Result<Value, Problem> {
        self.part(value, &variant.type_ref, variant.offset)
    }

    /// The named field of a value, through pointers, cells and the active variant.
    pub(crate) fn field(&mut self, value: &Value, name: &str) -> Result<Value, Problem> {
        let outer = self.resolve(&value.type_ref)?;
        let mut current = value.clone();
        for _ in 0..WRAPPER_DEPTH_MAX {
            let resolved = self.resolve(&current.type_ref)?;
            match &resolved.kind {
                Kind::Struct { fields, variants, .. } => {
                    if let Some(found) = self.own_field(&current, fields, name)? {
                        return Ok(found);
                    }
                    if let Some(variants) = variants {
                        let Active::Variant(active) = self.active(&current, variants)? else { break };
                        let inner = self.variant_value(&current, active)?;
                        if active.name == name {
                            return Ok(inner);
                        }
                        if self.types_only
                            && let Some(other) = variants.variants.iter().find(|other| other.name == name)
                        {
                            return self.variant_value(&current, other);
                        }
                        if variants.variants.iter().any(|variant| variant.name == name) {
                            let active = active.name.clone();
                            return Err(Problem::OtherVariant { active, wanted: name.to_owned() });
                        }
                        let inner_type = self.resolve(&inner.type_ref)?;
                        let Kind::Struct { fields, .. } = &inner_type.kind else { break };
                        if let Some(found) = self.own_field(&inner, fields, name)? {
                            return Ok(found);
                        }
                        // `Some`, `Ok` and the like: go on in the one thing they hold.
                        let [only] = fields.as_slice() else { break };
                        current = self.part(&inner, &only.type_ref, only.offset)?;
                        continue;
                    }
                    match self.transparent_field(&resolved) {
                        Some(field) => current = self.part(&current, &field.type_ref, field.offset)?,
                        None => match self.shared(&current)? {
                            Some(inner) => current = inner,
                            None => break,
                        },
                    }
                }
                Kind::Pointer { .. } => current = self.deref(&current)?,
                _ => break,
            }
        }
        Err(Problem::NoField { type_name: outer.name.clone(), field: name.to_owned() })
    }

    /// A field by name, also inside of C's anonymous structs and unions.
    fn own_field(&mut self, value: &Value, fields: &[Field], name: &str) -> Result<Option<Value>, Problem> {
        let mut pending: Vec<(u64, Vec<Field>, usize)> = vec![(0, fields.to_vec(), 0)];
        while let Some((base, fields, depth)) = pending.pop() {
            for field in &fields {
                if field.source_name() == name || field.name == name {
                    return self.field_value(value, base, field).map(Some);
                }
                if field.name.is_empty() && depth < WRAPPER_DEPTH_MAX {
                    let resolved = self.resolve(&field.type_ref)?;
                    if let Kind::Struct { fields, .. } = &resolved.kind {
                        pending.push((base + field.offset, fields.clone(), depth + 1));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A field of a struct whose part at `base` declares it.
    pub(crate) fn field_value(&mut self, value: &Value, base: u64, field: &Field) -> Result<Value, Problem> {
        let Some((first, count)) = field.bits else {
            return self.part(value, &field.type_ref, base.wrapping_add(field.offset));
        };
        let resolved = self.resolve(&field.type_ref)?;
        let bytes = (first % 8 + count).div_ceil(8).min(16);
        let holder = TypeRef::Sequence {
            element: std::sync::Arc::new(TypeRef::Int { signed: false, bytes: 1 }),
            count: bytes,
        };
        let part = self.part(value, &holder, base.wrapping_add(first / 8))?;
        let bits = self.bits(&part)? >> (first % 8);
        let unused = 128 - u32::try_from(count.clamp(1, 128)).unwrap_or(128);
        let signed =
            matches!(resolved.kind, Kind::Int { signed: true } | Kind::Enumeration { signed: true, .. });
        let number = if signed {
            (bits << unused).cast_signed() >> unused
        } else {
            ((bits << unused) >> unused).cast_signed()
        };
        Ok(Value::integer(number, field.type_ref.clone(), resolved.size))
    }

    /// What a pointer points to.
    pub(crate) fn deref(&mut self, value: &Value) -> Result<Value, Problem> {
        let peeled = self.peel(value)?;
        let resolved = self.resolve(&peeled.type_ref)?;
        let Kind::Pointer { target, .. } = &resolved.kind else {
            if let Some(inner) = self.shared(&peeled)? {
                return Ok(inner);
            }
            let type_name = self.space.type_name(&value.type_ref);
            return Err(Problem::NotPointer { type_name });
        };
        if matches!(self.resolve(target)?.kind, Kind::Void) {
            return Err(Problem::NotPointer { type_name: resolved.name.clone() });
        }
        let address = self.address_in(&peeled)?;
        Ok(Value { type_ref: target.clone(), place: Place::Memory(address) })
    }

    /// The address that a pointer value holds.
    pub(crate) fn address_in(&mut self, pointer: &Value) -> Result<u64, Problem> {
        Ok(u64::try_from(self.bits(pointer)? & mask(8)).unwrap_or(0))
    }

    /// A value as a number, through wrappers: integers, characters, booleans, enums, addresses.
    pub(crate) fn integer(&mut self, value: &Value) -> Result<i128, Problem> {
        let peeled = self.peel(value)?;
        let resolved = self.resolve(&peeled.type_ref)?;
        let signed = match &resolved.kind {
            Kind::Int { signed } | Kind::Char { signed } | Kind::Enumeration { signed, .. } => *signed,
            Kind::Bool | Kind::Pointer { .. } => false,
            _ => return Err(Problem::NotNumber { type_name: resolved.name.clone() }),
        };
        let bits = self.bits(&peeled)?;
        to_integer(bits, resolved.size, signed).ok_or(Problem::Overflow)
    }

    /// A value as a float.
    pub(crate) fn float(&mut self, value: &Value) -> Result<f64, Problem> {
        let bits = self.bits(value)?;
        let size = self.resolve(&value.type_ref)?.size;
        Ok(float_from_bits(bits, size))
    }
}

/// IEEE 754 of 4 or 8 bytes; the x87 format of 10 (in 16) bytes, rounded.
pub(crate) fn float_from_bits(bits: u128, size: u64) -> f64 {
    match size {
        4 => f64::from(f32::from_bits(u32::try_from(bits & mask(4)).unwrap_or(0))),
        8 => f64::from_bits(u64::try_from(bits & mask(8)).unwrap_or(0)),
        _ => {
            // Sign, 15 bits of exponent biased by 16383, 64 bits of significand with its integer bit.
            let significand = u64::try_from(bits & mask(8)).unwrap_or(0);
            let exponent = i32::try_from((bits >> 64) & 0x7fff).unwrap_or(0) - 16383 - 63;
            let magnitude = significand as f64 * 2f64.powi(exponent);
            if (bits >> 79) & 1 == 1 { -magnitude } else { magnitude }
        }
    }
}
