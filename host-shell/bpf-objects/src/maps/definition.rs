//! Map definitions as types, in section `.maps`: an unnamed struct whose members' types say all.
//!
//! Source: libbpf's documentation of BTF-defined maps; the macros are in `extensions/include/uio_bpf.h`.

use uio_protocol::bpf::{MapKind, MapSpec};

use super::{Definition, READ_ONLY_FLAG, kind, map_error, pinned};
use crate::btf::{Btf, Id, Type};
use crate::elf::Object;
use crate::error::{BpfObjectError, limit};
use crate::limits::MAPS_MAX;
use crate::section::MAPS;
use crate::type_info;

/// The definitions of section `index`.
pub(super) fn read(
    object: &Object<'_>,
    index: usize,
    btf: Option<&Btf<'_>>,
) -> Result<Vec<Definition>, BpfObjectError> {
    let mut symbols: Vec<_> = object.symbols_of(index).filter(|symbol| !symbol.name.is_empty()).collect();
    limit("maps", symbols.len(), MAPS_MAX)?;
    let variables = btf.map(|btf| btf.section(MAPS)).transpose()?.unwrap_or_default();
    symbols.sort_by_key(|symbol| symbol.value);
    let mut definitions = Vec::new();
    for symbol in symbols {
        let no_type =
            || map_error(symbol.name, "its definition is a type, and the object has no types".into());
        let btf = btf.ok_or_else(no_type)?;
        let (_, id) = variables.iter().find(|(name, _)| *name == symbol.name).ok_or_else(no_type)?;
        let (spec, inner) = definition(btf, symbol.name, *id)?;
        let end = symbol.value.saturating_add(symbol.size);
        if let Some(relocation) = object
            .relocations(index)
            .iter()
            .find(|relocation| (symbol.value..end).contains(&relocation.offset))
        {
            let target = object.display_name(&object.symbols[relocation.symbol]);
            return Err(map_error(
                symbol.name,
                format!("first contents (`{target}`) are not supported; set them from the shell"),
            ));
        }
        definitions.push(Definition { offset: symbol.value, spec, inner });
    }
    Ok(definitions)
}

/// The map that the struct `id` defines, and its inner one.
fn definition(btf: &Btf<'_>, name: &str, id: Id) -> Result<(MapSpec, Option<MapSpec>), BpfObjectError> {
    let (mut spec, values) = members(btf, name, id)?;
    let is_of_maps = matches!(spec.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
    let inner = match values {
        Some(target) if is_of_maps => {
            let inner_name = format!("{name}.inner");
            let (inner, more) = members(btf, &inner_name, target)?;
            if more.is_some() || matches!(inner.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
                return Err(map_error(name, "its inner maps are maps of maps as well".into()));
            }
            Some(inner)
        }
        // A prog array may say what its programs look like.
        Some(_) if spec.kind == MapKind::ProgArray => None,
        Some(_) => return Err(map_error(name, format!("`values` in a {}", spec.kind.name()))),
        None if is_of_maps => {
            return Err(map_error(
                name,
                "it does not say what its inner maps are: __array(values, struct …)".into(),
            ));
        }
        None => None,
    };
    // Linux lets these out: values are numbers of maps or programs.
    if is_of_maps || spec.kind == MapKind::ProgArray {
        if spec.value_bytes == 0 {
            spec.value_bytes = 4;
        }
        if spec.key_bytes == 0 && spec.kind != MapKind::HashOfMaps {
            spec.key_bytes = 4;
        }
    }
    Ok((spec, inner))
}

/// The members of a definition, and the type of `values`.
fn members(btf: &Btf<'_>, name: &str, id: Id) -> Result<(MapSpec, Option<Id>), BpfObjectError> {
    let Type::Record { union: false, members, .. } = btf.resolve(id)?.1 else {
        return Err(map_error(name, "its definition is not a struct".into()));
    };
    let mut number = None;
    let mut values = None;
    let mut spec = MapSpec {
        name: name.to_string(),
        kind: MapKind::Array,
        key_bytes: 0,
        value_bytes: 0,
        max_entries: 0,
        flags: 0,
        read_only: false,
        pinned: false,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    };
    for member in members {
        let uint = || uint(btf, name, member.name, member.target);
        match member.name {
            "type" => number = Some(uint()?),
            "max_entries" => spec.max_entries = uint()?,
            "map_flags" => spec.flags = uint()?,
            "key_size" => set(name, "key", &mut spec.key_bytes, uint()?)?,
            "value_size" => set(name, "value", &mut spec.value_bytes, uint()?)?,
            "pinning" => spec.pinned = pinned(name, uint()?)?,
            "key" => {
                let target = pointee(btf, name, member.name, member.target)?;
                set(name, "key", &mut spec.key_bytes, btf.size(target)?)?;
                spec.key_type = type_info::from_btf(btf, target)?.encode();
            }
            "value" => {
                let target = pointee(btf, name, member.name, member.target)?;
                set(name, "value", &mut spec.value_bytes, btf.size(target)?)?;
                spec.value_type = type_info::from_btf(btf, target)?.encode();
            }
            "values" => {
                let Type::Array { element, .. } = btf.resolve(member.target)?.1 else {
                    return Err(map_error(name, "`values` is not __array(values, …)".into()));
                };
                values = Some(pointee(btf, name, member.name, *element)?);
            }
            // Where Linux allocates it; what only some of its maps have.
            "numa_node" => {}
            "map_extra" if uint()? == 0 => {}
            other => return Err(map_error(name, format!("`{other}` in its definition is not supported"))),
        }
    }
    let number = number.ok_or_else(|| map_error(name, "its definition has no `type`".into()))?;
    spec.kind = kind(name, number)?;
    spec.read_only = spec.flags & READ_ONLY_FLAG != 0;
    Ok((spec, values))
}

/// Sizes may be said twice, but not differently.
fn set(map: &str, what: &str, field: &mut u32, bytes: u32) -> Result<(), BpfObjectError> {
    if *field != 0 && *field != bytes {
        return Err(map_error(map, format!("{what} of {field} bytes, and of {bytes} bytes")));
    }
    *field = bytes;
    Ok(())
}

fn pointee(btf: &Btf<'_>, map: &str, member: &str, id: Id) -> Result<Id, BpfObjectError> {
    match btf.resolve(id)?.1 {
        Type::Pointer { target } => Ok(*target),
        _ => Err(map_error(map, format!("`{member}` is not __type({member}, …)"))),
    }
}

/// A number is the element count of an array that is pointed to.
fn uint(btf: &Btf<'_>, map: &str, member: &str, id: Id) -> Result<u32, BpfObjectError> {
    match btf.resolve(pointee_of_number(btf, map, member, id)?)?.1 {
        Type::Array { count, .. } => Ok(*count),
        _ => Err(not_number(map, member)),
    }
}

fn pointee_of_number(btf: &Btf<'_>, map: &str, member: &str, id: Id) -> Result<Id, BpfObjectError> {
    match btf.resolve(id)?.1 {
        Type::Pointer { target } => Ok(*target),
        _ => Err(not_number(map, member)),
    }
}

fn not_number(map: &str, member: &str) -> BpfObjectError {
    map_error(map, format!("`{member}` is not __uint({member}, …)"))
}
