//! What PREVAIL asks about a platform: helpers and maps. Both come from our own tables.

use std::collections::BTreeMap;

use prevail::elf_loader::UnmarshalError;
use prevail::linux::spec_prototypes::{HelperPrototype, map_type_bit};
use prevail::platform::EbpfPlatform;
use prevail::spec::config::EbpfVerifierOptions;
use prevail::spec::ebpf_base::{EbpfArgumentType as Kind, EbpfReturnType};
use prevail::spec::type_descriptors::{EbpfMapDescriptor, EbpfMapType, EbpfMapValueType, EbpfProgramType};
use uio_bpf::helper::{Argument, Effect, PROTOTYPES, Prototype, Returns};
use uio_protocol::bpf::{MapKind, MapSpec, ProgramKind};

/// Our helpers, and the maps of one object.
pub(super) struct Platform {
    helpers: BTreeMap<i32, HelperPrototype>,
    maps: Vec<EbpfMapDescriptor>,
}

/// Stands for "no map" where a descriptor is expected.
const NO_MAP: i32 = -1;

impl Platform {
    /// For programs of `kind` in an object with `maps`.
    pub(super) fn new(maps: &[MapSpec], kind: ProgramKind) -> Self {
        let usable = PROTOTYPES.iter().filter(|prototype| prototype.programs.contains(kind));
        Self {
            helpers: usable.map(|prototype| (prototype.number as i32, translate(prototype))).collect(),
            maps: maps.iter().enumerate().map(|(index, map)| descriptor(index, map)).collect(),
        }
    }

    pub(super) fn maps(&self) -> &[EbpfMapDescriptor] {
        &self.maps
    }
}

/// A map's number is one more than its index, so that none is 0.
fn number(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

fn descriptor(index: usize, map: &MapSpec) -> EbpfMapDescriptor {
    EbpfMapDescriptor {
        original_fd: number(index),
        map_type: map.kind as u32,
        key_size: map.key_bytes,
        value_size: map.value_bytes,
        max_entries: map.max_entries,
        inner_map_fd: map.inner.map_or(NO_MAP, |index| number(index as usize)),
        name: map.name.clone(),
        is_inner_map_template: false,
    }
}

fn translate(prototype: &'static Prototype) -> HelperPrototype {
    let tail_call = prototype.returns == Returns::TailCall;
    let mut argument_type = [Kind::DontCare; 5];
    for (to, from) in argument_type.iter_mut().zip(prototype.arguments) {
        *to = match from {
            Argument::Scalar => Kind::Anything,
            Argument::Map if tail_call => Kind::PtrToMapOfPrograms,
            Argument::Map => Kind::PtrToMap,
            Argument::MapKey => Kind::PtrToMapKey,
            Argument::MapValue => Kind::PtrToMapValue,
            Argument::MapValueOut => Kind::PtrToUninitMapValue,
            Argument::Context => Kind::PtrToCtx,
            Argument::Memory => Kind::PtrToReadableMem,
            Argument::MemoryOrNull => Kind::PtrToReadableMemOrNull,
            Argument::MemoryOut => Kind::PtrToWritableMem,
            Argument::Size => Kind::ConstSize,
            Argument::SizeOrZero => Kind::ConstSizeOrZero,
            Argument::AllocationSize => Kind::ConstAllocSizeOrZero,
            Argument::RingRecord => Kind::PtrToAllocMem,
            // It does not know constant strings; that it is one is for the other engine to see.
            Argument::ConstantString => Kind::Anything,
            Argument::Function => Kind::PtrToFunc,
            Argument::CallbackContext => Kind::PtrToStackOrNull,
        };
    }
    HelperPrototype {
        name: prototype.name,
        return_type: match prototype.returns {
            Returns::Scalar | Returns::Range { .. } => EbpfReturnType::Integer,
            Returns::MapValueOrNull => EbpfReturnType::PtrToMapValueOrNull,
            Returns::RingRecord => EbpfReturnType::PtrToAllocMemOrNull,
            Returns::TailCall => EbpfReturnType::IntegerOrNoReturnIfSucceed,
        },
        argument_type,
        reallocate_packet: prototype.effect == Effect::InvalidatesPackets,
        ctx_descriptor: None,
        unsupported: false,
        might_sleep: false,
        zero_args_mask: 0,
        allowed_map_types: prototype.maps.iter().fold(0, |bits, kind| bits | map_type_bit(*kind as u32)),
    }
}

impl EbpfPlatform for Platform {
    fn get_program_type(&self, _section: &str, _path: &str) -> EbpfProgramType {
        EbpfProgramType::default()
    }

    fn get_helper_prototype(&self, number: i32) -> &HelperPrototype {
        // Only for numbers that `is_helper_usable` let through; a panic here is caught as a rejection.
        &self.helpers[&number]
    }

    fn try_get_helper_prototype(&self, number: i32) -> Option<&HelperPrototype> {
        self.helpers.get(&number)
    }

    fn is_helper_usable(&self, number: i32) -> bool {
        self.helpers.contains_key(&number)
    }

    fn map_record_size(&self) -> usize {
        // Objects are not read by this engine.
        0
    }

    fn parse_maps_section(
        &mut self,
        _descriptors: &mut Vec<EbpfMapDescriptor>,
        _data: &[u8],
        _record_size: usize,
        _count: usize,
        _options: &EbpfVerifierOptions,
    ) {
    }

    fn resolve_inner_map_references(&self, _maps: &mut Vec<EbpfMapDescriptor>) -> Result<(), UnmarshalError> {
        Ok(())
    }

    fn get_map_descriptor(&self, number: i32) -> Option<&EbpfMapDescriptor> {
        self.maps.iter().find(|map| map.original_fd == number)
    }

    fn get_map_type(&self, number: u32) -> EbpfMapType {
        let kind = MapKind::from_number(number);
        EbpfMapType {
            platform_specific_type: number,
            name: kind.map_or("unknown", MapKind::name).to_owned(),
            is_array: matches!(
                kind,
                Some(MapKind::Array | MapKind::PerCpuArray | MapKind::ProgArray | MapKind::ArrayOfMaps)
            ),
            value_type: match kind {
                Some(MapKind::ProgArray) => EbpfMapValueType::Program,
                Some(MapKind::ArrayOfMaps | MapKind::HashOfMaps) => EbpfMapValueType::Map,
                _ => EbpfMapValueType::Any,
            },
        }
    }

    fn supported_conformance_groups(&self) -> u32 {
        // The whole instruction set; ours is that of RFC 9669 without the legacy packet loads, which the decoder
        // of the object refuses.
        u32::MAX
    }
}
