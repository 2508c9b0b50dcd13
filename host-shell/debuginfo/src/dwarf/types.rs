//! Type entries of DWARF to [`Type`].

use std::sync::{Arc, PoisonError};

use gimli::{AttributeValue, DebuggingInformationEntry, DwAt};

use super::{DebugInfo, Shared};
use crate::error::DebugError;
use crate::types::{Field, Kind, Type, TypeRef, Variant, Variants};

type Die = DebuggingInformationEntry<Shared>;
type Unit = gimli::Unit<Shared>;

/// Qualifiers and typedefs that are followed from one type to the next. C allows any number; more
/// than this is a cycle in damaged debug information.
const ALIAS_DEPTH_MAX: usize = 32;

/// Dimensions of a C array.
const DIMENSIONS_MAX: usize = 16;

/// Fields, variants or enumerators of one type. Keeps damaged files from costing more than they weigh.
const MEMBERS_MAX: usize = 65_536;

impl DebugInfo {
    /// The type whose entry is at `offset`, typedefs and qualifiers followed.
    pub(crate) fn type_at(&self, offset: usize) -> Result<Arc<Type>, DebugError> {
        self.type_within(offset, 0)
    }

    /// As [`Self::type_at`], `depth` arrays deep: an array's size needs its element's.
    fn type_within(&self, offset: usize, depth: usize) -> Result<Arc<Type>, DebugError> {
        if depth > DIMENSIONS_MAX {
            return Err(DebugError::Dwarf(format!("type {offset:#x} contains itself")));
        }
        if let Some(known) = self.types.lock().unwrap_or_else(PoisonError::into_inner).get(&offset) {
            return Ok(Arc::clone(known));
        }
        let parsed = Arc::new(self.parse_type(offset, depth)?);
        self.types.lock().unwrap_or_else(PoisonError::into_inner).insert(offset, Arc::clone(&parsed));
        Ok(parsed)
    }

    fn parse_type(&self, offset: usize, depth: usize) -> Result<Type, DebugError> {
        let mut at = offset;
        let mut alias: Option<String> = None;
        for _ in 0..ALIAS_DEPTH_MAX {
            let (unit, unit_offset) = self.unit_at(at)?;
            let entry = unit.entry(unit_offset)?;
            let follow = match entry.tag() {
                gimli::DW_TAG_typedef => {
                    alias = alias.or_else(|| self.name_of(unit, &entry));
                    true
                }
                gimli::DW_TAG_const_type
                | gimli::DW_TAG_volatile_type
                | gimli::DW_TAG_restrict_type
                | gimli::DW_TAG_atomic_type
                | gimli::DW_TAG_packed_type
                | gimli::DW_TAG_immutable_type
                | gimli::DW_TAG_shared_type => true,
                _ => false,
            };
            if !follow {
                let mut parsed = self.parse_entry(unit, &entry, at, depth)?;
                if let Some(alias) = alias {
                    parsed.name = alias;
                }
                return Ok(parsed);
            }
            match reference_of(unit, &entry, gimli::DW_AT_type) {
                Some(target) => at = target,
                None => {
                    return Ok(Type {
                        name: alias.unwrap_or_else(|| "void".to_owned()),
                        size: 0,
                        kind: Kind::Void,
                    });
                }
            }
        }
        Err(DebugError::Dwarf(format!("type {offset:#x} is an alias of itself")))
    }

    fn parse_entry(&self, unit: &Unit, entry: &Die, offset: usize, depth: usize) -> Result<Type, DebugError> {
        let size = entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value());
        let name = self.index()?.type_name(offset).map(str::to_owned).or_else(|| self.name_of(unit, entry));
        let target = || self.type_ref(unit, entry);
        let (default_name, size, kind) = match entry.tag() {
            gimli::DW_TAG_base_type => {
                let size = size.unwrap_or(0);
                ("?".to_owned(), size, base_kind(entry, size))
            }
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => {
                let target = target();
                let reference = entry.tag() != gimli::DW_TAG_pointer_type
                    || name
                        .as_deref()
                        .is_some_and(|name| name.starts_with('&') || name.starts_with("alloc::boxed::Box<"));
                let pointee = if name.is_none() { self.brief_name(&target, depth) } else { String::new() };
                (format!("{pointee} *"), size.unwrap_or(8), Kind::Pointer { target, reference })
            }
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => {
                let union = entry.tag() == gimli::DW_TAG_union_type;
                let opaque = entry.attr(gimli::DW_AT_declaration).is_some() && !entry.has_children();
                let kind = if opaque { Kind::Opaque } else { self.aggregate(unit, entry, union, depth)? };
                let default_name = if union { "(anonymous union)" } else { "(anonymous struct)" };
                (default_name.to_owned(), size.unwrap_or(0), kind)
            }
            gimli::DW_TAG_enumeration_type => {
                let underlying = reference_of(unit, entry, gimli::DW_AT_type)
                    .and_then(|at| self.unit_at(at).ok())
                    .and_then(|(unit, at)| unit.entry(at).ok());
                let signed = underlying.as_ref().is_some_and(|base| {
                    matches!(base_kind(base, 1), Kind::Int { signed: true } | Kind::Char { signed: true })
                });
                ("(anonymous enum)".to_owned(), size.unwrap_or(4), self.enumeration(unit, entry, signed)?)
            }
            gimli::DW_TAG_array_type => self.array(unit, entry, depth)?,
            gimli::DW_TAG_subroutine_type => ("fn".to_owned(), 0, Kind::Code),
            gimli::DW_TAG_unspecified_type => ("void".to_owned(), 0, Kind::Void),
            tag => return Err(DebugError::Dwarf(format!("entry {offset:#x} ({tag}) is not a type"))),
        };
        Ok(Type { name: name.unwrap_or(default_name), size, kind })
    }

    fn aggregate(&self, unit: &Unit, entry: &Die, union: bool, depth: usize) -> Result<Kind, DebugError> {
        let (mut fields, mut parameters, mut variants) = (Vec::new(), Vec::new(), None);
        let mut tree = unit.entries_tree(Some(entry.offset()))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            if fields.len() + parameters.len() > MEMBERS_MAX {
                break;
            }
            match child.entry().tag() {
                // A static member of a C++ class has no place in the object.
                gimli::DW_TAG_member | gimli::DW_TAG_inheritance
                    if child.entry().attr(gimli::DW_AT_external).is_none() =>
                {
                    fields.push(self.field(unit, child.entry(), depth));
                }
                gimli::DW_TAG_template_type_parameter => {
                    let name = self.name_of(unit, child.entry()).unwrap_or_default();
                    parameters.push((name, self.type_ref(unit, child.entry())));
                }
                gimli::DW_TAG_variant_part => {
                    let discriminant = reference_of(unit, child.entry(), gimli::DW_AT_discr);
                    let mut part = Variants { discriminant: None, variants: Vec::new() };
                    if let Some(at) = discriminant
                        && let Ok((unit, at)) = self.unit_at(at)
                    {
                        part.discriminant = Some(self.field(unit, &unit.entry(at)?, depth));
                    }
                    let mut inner = child.children();
                    while let Some(variant) = inner.next()? {
                        if variant.entry().tag() != gimli::DW_TAG_variant || part.variants.len() > MEMBERS_MAX
                        {
                            continue;
                        }
                        let values = discriminant_values(variant.entry());
                        let mut members = variant.children();
                        while let Some(member) = members.next()? {
                            if member.entry().tag() == gimli::DW_TAG_member {
                                let field = self.field(unit, member.entry(), depth);
                                part.variants.push(Variant {
                                    name: field.name,
                                    values: values.clone(),
                                    type_ref: field.type_ref,
                                    offset: field.offset,
                                });
                            }
                        }
                    }
                    variants = Some(Box::new(part));
                }
                _ => {}
            }
        }
        Ok(Kind::Struct { fields, parameters, variants, union })
    }

    fn field(&self, unit: &Unit, entry: &Die, depth: usize) -> Field {
        let number = |name: DwAt| entry.attr_value(name).and_then(|value| value.udata_value());
        let mut offset = match entry.attr_value(gimli::DW_AT_data_member_location) {
            Some(AttributeValue::Exprloc(expression)) => {
                // Old compilers write `DW_OP_plus_uconst n`.
                let mut operations = expression.operations(unit.encoding());
                match operations.next() {
                    Ok(Some(gimli::Operation::PlusConstant { value })) => value,
                    _ => 0,
                }
            }
            Some(value) => value.udata_value().unwrap_or(0),
            None => 0,
        };
        let bits = number(gimli::DW_AT_bit_size).map(|size| {
            let first = match (number(gimli::DW_AT_data_bit_offset), number(gimli::DW_AT_bit_offset)) {
                (Some(first), _) => first,
                // DWARF 3 counts from the most significant bit of the unit that holds the field.
                (None, Some(from_top)) => {
                    let unit_bytes = number(gimli::DW_AT_byte_size).or_else(|| {
                        let target = reference_of(unit, entry, gimli::DW_AT_type)?;
                        self.type_within(target, depth + 1).ok().map(|holder| holder.size)
                    });
                    let top = offset.saturating_add(unit_bytes.unwrap_or(0)).saturating_mul(8);
                    top.saturating_sub(from_top).saturating_sub(size)
                }
                (None, None) => offset.saturating_mul(8),
            };
            (first, size)
        });
        if let Some((first, _)) = bits {
            offset = first / 8;
        }
        let name = self.name_of(unit, entry).unwrap_or_default();
        Field { name, type_ref: self.type_ref(unit, entry), offset, bits }
    }

    fn enumeration(&self, unit: &Unit, entry: &Die, mut signed: bool) -> Result<Kind, DebugError> {
        let mut variants = Vec::new();
        let mut tree = unit.entries_tree(Some(entry.offset()))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            if child.entry().tag() != gimli::DW_TAG_enumerator || variants.len() > MEMBERS_MAX {
                continue;
            }
            let value = match child.entry().attr_value(gimli::DW_AT_const_value) {
                Some(AttributeValue::Sdata(value)) => i128::from(value),
                Some(AttributeValue::Data16(value)) => value as i128,
                Some(value) => value.udata_value().map_or(0, i128::from),
                None => 0,
            };
            signed |= value < 0;
            variants.push((self.name_of(unit, child.entry()).unwrap_or_default(), value));
        }
        Ok(Kind::Enumeration { signed, variants })
    }

    fn array(&self, unit: &Unit, entry: &Die, depth: usize) -> Result<(String, u64, Kind), DebugError> {
        let mut counts: Vec<Option<u64>> = Vec::new();
        let mut tree = unit.entries_tree(Some(entry.offset()))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            if child.entry().tag() != gimli::DW_TAG_subrange_type || counts.len() >= DIMENSIONS_MAX {
                continue;
            }
            let number = |name: DwAt| {
                child.entry().attr_value(name).and_then(|value| match value {
                    AttributeValue::Sdata(value) => u64::try_from(value).ok(),
                    value => value.udata_value(),
                })
            };
            let upper = || number(gimli::DW_AT_upper_bound)?.checked_add(1);
            counts.push(number(gimli::DW_AT_count).or_else(upper));
        }
        let mut element = self.type_ref(unit, entry);
        let element_name = self.brief_name(&element, depth);
        let element_size = match &element {
            TypeRef::Dwarf { offset, .. } => {
                self.type_within(*offset, depth + 1).map_or(0, |element| element.size)
            }
            _ => 0,
        };
        let dimensions: String = counts
            .iter()
            .map(|count| count.map_or_else(|| "[]".to_owned(), |count| format!("[{count}]")))
            .collect();
        let size =
            counts
                .iter()
                .try_fold(element_size, |size, count| size.checked_mul(count.unwrap_or(0)))
                .ok_or_else(|| DebugError::Dwarf(format!("array {element_name}{dimensions} is too large")))?;
        for count in counts.iter().skip(1).rev() {
            element = TypeRef::Sequence { element: Arc::new(element), count: count.unwrap_or(0) };
        }
        let count = counts.first().copied().flatten();
        let name = match (counts.as_slice(), is_rust(unit)) {
            ([Some(count)], true) => format!("[{element_name}; {count}]"),
            _ => format!("{element_name}{dimensions}"),
        };
        Ok((name, size, Kind::Array { element, count }))
    }

    /// What `DW_AT_type` of `entry` refers to.
    pub(crate) fn type_ref(&self, unit: &Unit, entry: &Die) -> TypeRef {
        match reference_of(unit, entry, gimli::DW_AT_type) {
            Some(offset) => TypeRef::Dwarf { module: self.module, offset },
            None => TypeRef::Void,
        }
    }

    /// The name of a type for use in another's name, without parsing its members.
    fn brief_name(&self, type_ref: &TypeRef, depth: usize) -> String {
        let mut stars = String::new();
        let mut prefix = String::new();
        let mut current = type_ref.clone();
        for _ in 0..ALIAS_DEPTH_MAX {
            let TypeRef::Dwarf { offset, .. } = current else {
                return format!("{prefix}void{stars}");
            };
            if let Some(name) = self.index().ok().and_then(|index| index.type_name(offset)) {
                return format!("{prefix}{name}{stars}");
            }
            let Ok((unit, at)) = self.unit_at(offset) else { break };
            let Ok(entry) = unit.entry(at) else { break };
            // Rust spells pointer types out.
            if let Some(name) = self.name_of(unit, &entry) {
                return format!("{prefix}{name}{stars}");
            }
            match entry.tag() {
                gimli::DW_TAG_pointer_type => stars.push_str(if stars.is_empty() { " *" } else { "*" }),
                gimli::DW_TAG_const_type => prefix.push_str("const "),
                gimli::DW_TAG_volatile_type => prefix.push_str("volatile "),
                gimli::DW_TAG_array_type | gimli::DW_TAG_subroutine_type => {
                    let name = self
                        .type_within(offset, depth + 1)
                        .map_or_else(|_| "?".to_owned(), |known| known.name.clone());
                    return format!("{prefix}{name}{stars}");
                }
                _ => {}
            }
            current = self.type_ref(unit, &entry);
        }
        format!("{prefix}?{stars}")
    }

    /// `DW_AT_name` of an entry.
    pub(crate) fn name_of(&self, unit: &Unit, entry: &Die) -> Option<String> {
        DebugInfo::text(&self.dwarf, unit, entry.attr_value(gimli::DW_AT_name)?)
    }
}

/// The entry that a reference attribute points to.
pub(crate) fn reference_of(unit: &Unit, entry: &Die, name: DwAt) -> Option<usize> {
    DebugInfo::reference(unit, &entry.attr_value(name)?)
}

/// Whether the unit's language is Rust.
fn is_rust(unit: &Unit) -> bool {
    let root = unit.entry(unit.header.root_offset()).ok();
    let language = root.and_then(|root| root.attr_value(gimli::DW_AT_language));
    matches!(language, Some(AttributeValue::Language(gimli::DW_LANG_Rust)))
}

fn base_kind(entry: &Die, size: u64) -> Kind {
    let encoding = match entry.attr_value(gimli::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => encoding,
        _ => gimli::DW_ATE_unsigned,
    };
    match encoding {
        _ if size == 0 => Kind::Void,
        gimli::DW_ATE_boolean => Kind::Bool,
        gimli::DW_ATE_signed => Kind::Int { signed: true },
        gimli::DW_ATE_signed_char => Kind::Char { signed: true },
        gimli::DW_ATE_unsigned_char | gimli::DW_ATE_UTF | gimli::DW_ATE_UCS | gimli::DW_ATE_ASCII => {
            Kind::Char { signed: false }
        }
        gimli::DW_ATE_float => Kind::Float,
        _ => Kind::Int { signed: false },
    }
}

/// The discriminant values of a variant: one value, a list of them, or none for the default.
fn discriminant_values(entry: &Die) -> Vec<(u128, u128)> {
    if let Some(value) = entry.attr_value(gimli::DW_AT_discr_value) {
        let bits = match value {
            AttributeValue::Sdata(value) => Some(value as u64 as u128),
            AttributeValue::Data16(value) => Some(value),
            AttributeValue::Block(mut block) => {
                let mut bytes = [0u8; 16];
                let length = gimli::Reader::len(&block).min(16);
                gimli::Reader::read_slice(&mut block, &mut bytes[..length])
                    .ok()
                    .map(|()| u128::from_le_bytes(bytes))
            }
            value => value.udata_value().map(u128::from),
        };
        return bits.map(|bits| vec![(bits, bits)]).unwrap_or_default();
    }
    let Some(AttributeValue::Block(mut list)) = entry.attr_value(gimli::DW_AT_discr_list) else {
        return Vec::new();
    };
    // A list is a sequence of descriptors: 0 and a value, or 1 and a range (DWARF 5, 7.5.8).
    let mut values = Vec::new();
    while let Ok(kind) = gimli::Reader::read_u8(&mut list) {
        let mut number = || gimli::Reader::read_uleb128(&mut list).ok().map(u128::from);
        match (kind, number()) {
            (0, Some(value)) => values.push((value, value)),
            (1, Some(low)) => {
                if let Some(high) = number() {
                    values.push((low, high));
                }
            }
            _ => break,
        }
    }
    values
}
