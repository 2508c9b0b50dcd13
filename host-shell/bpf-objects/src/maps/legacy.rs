//! Map definitions as structs of numbers, in section `maps`: those of older C programs and of Rust's aya.

use goblin::elf::sym::{STT_NOTYPE, STT_OBJECT};
use uio_protocol::bpf::{MapKind, MapSpec};

use super::{Definition, READ_ONLY_FLAG, kind, map_error, pinned};
use crate::elf::Object;
use crate::error::{BpfObjectError, limit};
use crate::limits::MAPS_MAX;

/// `type`, `key_size`, `value_size`, `max_entries`, `map_flags`.
const BYTES_MIN: u64 = 20;
/// With aya's `id` and `pinning`.
const BYTES_WITH_PINNING: u64 = 28;

/// The definitions of section `index`.
pub(super) fn read(object: &Object<'_>, index: usize) -> Result<Vec<Definition>, BpfObjectError> {
    let section = &object.sections[index];
    let mut symbols: Vec<_> = object
        .symbols_of(index)
        .filter(|symbol| !symbol.name.is_empty() && (symbol.kind == STT_OBJECT || symbol.kind == STT_NOTYPE))
        .collect();
    limit("maps", symbols.len(), MAPS_MAX)?;
    symbols.sort_by_key(|symbol| symbol.value);
    let mut definitions = Vec::new();
    for (position, symbol) in symbols.iter().enumerate() {
        let end = symbols.get(position + 1).map_or(section.bytes.len() as u64, |next| next.value);
        let bytes = match symbol.size {
            0 => end.saturating_sub(symbol.value),
            size => size,
        };
        let range = || {
            let start = usize::try_from(symbol.value).ok()?;
            section.bytes.get(start..start.checked_add(usize::try_from(bytes).ok()?)?)
        };
        let definition = range()
            .filter(|_| bytes >= BYTES_MIN)
            .ok_or_else(|| map_error(symbol.name, format!("a definition of {bytes} bytes")))?;
        let number = |field: usize| -> u32 {
            definition
                .get(field * 4..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let flags = number(4);
        let pinning = if bytes >= BYTES_WITH_PINNING { number(6) } else { 0 };
        let spec = MapSpec {
            name: symbol.name.to_string(),
            kind: kind(symbol.name, number(0))?,
            key_bytes: number(1),
            value_bytes: number(2),
            max_entries: number(3),
            flags,
            read_only: flags & READ_ONLY_FLAG != 0,
            pinned: pinned(symbol.name, pinning)?,
            inner: None,
            initial: Vec::new(),
            key_type: Vec::new(),
            value_type: Vec::new(),
        };
        if matches!(spec.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
            return Err(map_error(symbol.name, "a map of maps needs a definition in section .maps".into()));
        }
        definitions.push(Definition { offset: symbol.value, spec, inner: None });
    }
    Ok(definitions)
}
