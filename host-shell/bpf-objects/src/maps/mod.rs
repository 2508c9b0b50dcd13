//! The maps of an object: declared ones, and sections of variables.

mod definition;
mod legacy;

use std::collections::HashMap;

use uio_protocol::bpf::{MapKind, MapSpec};

use crate::btf::Btf;
use crate::elf::Object;
use crate::error::{BpfObjectError, limit};
use crate::limits::{KEY_BYTES_MAX, MAPS_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX};
use crate::section;
use crate::type_info::{self, TypeInfo};

/// `BPF_F_RDONLY_PROG`.
const READ_ONLY_FLAG: u32 = 0x80;

/// A variable of `.data`, `.rodata` or `.bss`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Index of its map in the image.
    pub map: u32,
    /// Bytes from the value's start.
    pub offset: u32,
    /// Its size.
    pub bytes: u32,
}

/// All maps, by their index in the image.
pub(crate) struct Maps {
    pub(crate) specs: Vec<MapSpec>,
    pub(crate) variables: Vec<Variable>,
    /// Declared maps by section and offset of their definition.
    declared: HashMap<(usize, u64), u32>,
    /// Sections of variables that are in use.
    sections: HashMap<usize, u32>,
}

impl Maps {
    /// Reads all declarations.
    pub(crate) fn read(object: &Object<'_>, btf: Option<&Btf<'_>>) -> Result<Self, BpfObjectError> {
        let mut maps = Self {
            specs: Vec::new(),
            variables: Vec::new(),
            declared: HashMap::new(),
            sections: HashMap::new(),
        };
        let mut inner = Vec::new();
        for (index, section) in object.sections.iter().enumerate() {
            let found = if section.name == section::MAPS && section.is_allocated() {
                definition::read(object, index, btf)?
            } else if section::is_legacy_maps(section.name) && section.is_allocated() {
                legacy::read(object, index)?
            } else {
                continue;
            };
            for definition in found {
                let number = maps.push(definition.spec)?;
                if maps.declared.insert((index, definition.offset), number).is_some() {
                    return Err(map_error(&maps.specs[number as usize].name, "two maps in one place".into()));
                }
                if let Some(spec) = definition.inner {
                    inner.push((number, spec));
                }
            }
        }
        for (outer, spec) in inner {
            let number = maps.push(spec)?;
            maps.specs[outer as usize].inner = Some(number);
        }
        Ok(maps)
    }

    fn push(&mut self, spec: MapSpec) -> Result<u32, BpfObjectError> {
        check(&spec)?;
        limit("maps", self.specs.len() + 1, MAPS_MAX)?;
        self.specs.push(spec);
        Ok(self.specs.len() as u32 - 1)
    }

    /// The declared map at `offset` of `section`.
    pub(crate) fn declared(&self, section: usize, offset: u64) -> Option<u32> {
        self.declared.get(&(section, offset)).copied()
    }

    /// The map of a section of variables, made when first asked for.
    pub(crate) fn of_section(
        &mut self,
        object: &Object<'_>,
        btf: Option<&Btf<'_>>,
        index: usize,
        read_only: bool,
    ) -> Result<u32, BpfObjectError> {
        if let Some(number) = self.sections.get(&index) {
            return Ok(*number);
        }
        let section = &object.sections[index];
        if let Some(relocation) = object.relocations(index).first() {
            return Err(BpfObjectError::AddressInData {
                section: section.name.to_string(),
                offset: relocation.offset,
                symbol: object.display_name(&object.symbols[relocation.symbol]),
            });
        }
        let value_bytes = u32::try_from(section.size).unwrap_or(u32::MAX);
        let number = self.specs.len() as u32;
        let types: HashMap<_, _> = match btf {
            Some(btf) => btf.section(section.name)?.into_iter().collect(),
            None => HashMap::new(),
        };
        let mut members = Vec::new();
        for symbol in object.symbols_of(index) {
            let inside = symbol.value.checked_add(symbol.size).is_some_and(|end| end <= section.size);
            if symbol.name.is_empty() || symbol.size == 0 || !inside {
                continue;
            }
            let (offset, bytes) = (symbol.value as u32, symbol.size as u32);
            self.variables.push(Variable { name: symbol.name.to_string(), map: number, offset, bytes });
            if let Some(id) = types.get(symbol.name)
                && btf.is_some_and(|btf| btf.size(*id) == Ok(bytes))
            {
                members.push((symbol.name, offset, *id));
            }
        }
        members.sort_by_key(|member| member.1);
        let value_type = match btf {
            Some(btf) if !members.is_empty() => {
                type_info::from_variables(btf, section.name, value_bytes, &members)?.encode()
            }
            _ => Vec::new(),
        };
        // Zeros need not travel.
        let initial =
            if section.bytes.iter().all(|byte| *byte == 0) { Vec::new() } else { section.bytes.to_vec() };
        let spec = MapSpec {
            name: section.name.to_string(),
            kind: MapKind::Array,
            key_bytes: 4,
            value_bytes,
            max_entries: 1,
            flags: if read_only { READ_ONLY_FLAG } else { 0 },
            read_only,
            pinned: false,
            inner: None,
            initial,
            key_type: Vec::new(),
            value_type,
        };
        let number = self.push(spec)?;
        self.sections.insert(index, number);
        Ok(number)
    }
}

/// A definition as it stands in the object.
struct Definition {
    /// Bytes from the section's start.
    offset: u64,
    spec: MapSpec,
    /// Describes the inner maps.
    inner: Option<MapSpec>,
}

fn map_error(map: &str, reason: String) -> BpfObjectError {
    BpfObjectError::Map { map: map.to_string(), reason }
}

/// Linux's kinds that are not among ours, for messages.
fn foreign_kind(number: u32) -> &'static str {
    match number {
        4 => "perf_event_array",
        7 => "stack_trace",
        8 => "cgroup_array",
        14 => "devmap",
        15 => "sockmap",
        16 => "cpumap",
        17 => "xskmap",
        18 => "sockhash",
        24 => "sk_storage",
        25 => "devmap_hash",
        26 => "struct_ops",
        28 => "inode_storage",
        29 => "task_storage",
        30 => "bloom_filter",
        31 => "user_ringbuf",
        33 => "arena",
        _ => "unknown",
    }
}

fn kind(map: &str, number: u32) -> Result<MapKind, BpfObjectError> {
    MapKind::from_number(number).ok_or_else(|| {
        map_error(map, format!("maps of type {number} ({}) are not supported", foreign_kind(number)))
    })
}

fn pinned(map: &str, number: u32) -> Result<bool, BpfObjectError> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(map_error(map, format!("pinning {number} is neither LIBBPF_PIN_NONE nor _BY_NAME"))),
    }
}

/// What no map of this kind can be. The guest checks what depends on it.
fn check(spec: &MapSpec) -> Result<(), BpfObjectError> {
    limit("bytes in a map's name", spec.name.len(), NAME_BYTES_MAX)?;
    let (keys, values) = match spec.kind {
        MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash | MapKind::LruPerCpuHash => {
            (1..=KEY_BYTES_MAX, 1..=VALUE_BYTES_MAX)
        }
        MapKind::Array | MapKind::PerCpuArray => (4..=4, 1..=VALUE_BYTES_MAX),
        MapKind::ProgArray | MapKind::ArrayOfMaps => (4..=4, 4..=4),
        MapKind::HashOfMaps => (1..=KEY_BYTES_MAX, 4..=4),
        // The prefix's length and at least a byte.
        MapKind::LpmTrie => (5..=KEY_BYTES_MAX, 1..=VALUE_BYTES_MAX),
        MapKind::Queue | MapKind::Stack => (0..=0, 1..=VALUE_BYTES_MAX),
        MapKind::RingBuffer => (0..=0, 0..=0),
    };
    for (what, bytes, allowed) in [("key", spec.key_bytes, keys), ("value", spec.value_bytes, values)] {
        if !allowed.contains(&bytes) {
            let (least, most) = allowed.into_inner();
            let allowed = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let kind = spec.kind.name();
            return Err(map_error(&spec.name, format!("a {what} of {bytes} bytes; a {kind} has {allowed}")));
        }
    }
    if spec.max_entries == 0 {
        return Err(map_error(&spec.name, "no max_entries".into()));
    }
    Ok(())
}

/// The type of a map's keys.
#[must_use]
pub fn key_type(spec: &MapSpec) -> TypeInfo {
    described(&spec.key_type, spec.key_bytes)
}

/// The type of a map's values.
#[must_use]
pub fn value_type(spec: &MapSpec) -> TypeInfo {
    described(&spec.value_type, spec.value_bytes)
}

/// The description, or bytes where there is none that fits.
fn described(encoded: &[u8], bytes: u32) -> TypeInfo {
    TypeInfo::decode(encoded)
        .ok()
        .filter(|info| info.bytes() == bytes)
        .unwrap_or_else(|| TypeInfo::opaque(bytes))
}
