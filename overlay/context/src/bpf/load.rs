//! Loading an object: all of its programs, or nothing.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use uio_bpf::instruction::decode;
use uio_bpf::program::{Executable, Parts};
use uio_protocol::bpf::{ObjectImage, ProgramImage};
use uio_protocol::error::RpcError;
use uio_protocol::limits::{
    BPF_FUNCTIONS_MAX, BPF_NAME_BYTES_MAX, BPF_PROGRAMS_MAX, BPF_PROGRAMS_PER_OBJECT_MAX, BPF_SLOTS_MAX,
};
use uio_protocol::programs::{ProgramError, ProgramId, SignedInfo};
use uio_verifier::{Checked, Proof, check};

use super::admission::{Admission, refused, signed_info};
use super::helpers::helpers;
use super::maps::{Bound, MapSlot};
use super::program::{Counters, Program};
use super::run::{Ready, compile};
use super::services::GuestServices;
use crate::overlay::Overlay;
use crate::upload::limit;

/// How to load a package.
pub(crate) struct Options<'a> {
    /// Name of the only program, or what the names of all begin with.
    pub(crate) name: Option<&'a str>,
    pub(crate) interpret: bool,
    pub(crate) rollback: bool,
    /// The only program to prepare; `None` for all.
    pub(crate) only: Option<&'a str>,
}

/// Programs that passed, with their maps. Not in the books yet; dropped, nothing is left.
pub(crate) struct Prepared {
    pub(crate) programs: Vec<Arc<Program>>,
    pub(crate) bound: Bound,
}

/// What the programs of one object have in common.
struct Common<'a> {
    object: &'a ObjectImage,
    digest: [u8; 32],
    signed: Option<SignedInfo>,
    slots: &'a [Arc<MapSlot>],
    interpret: bool,
    now_ns: u64,
}

impl Overlay {
    /// Admits, checks, binds and compiles a package; records its certificate's generation when all else is well.
    pub(crate) fn load_package(
        &mut self,
        package: &[u8],
        options: &Options<'_>,
    ) -> Result<Prepared, RpcError> {
        let mut admission = match self.bpf.admission.take() {
            Some(admission) => admission,
            None => Admission::read(self.platform),
        };
        let result = self.load_admitted(&mut admission, package, options);
        self.bpf.admission = Some(admission);
        result
    }

    fn load_admitted(
        &mut self,
        admission: &mut Admission,
        package: &[u8],
        options: &Options<'_>,
    ) -> Result<Prepared, RpcError> {
        let admitted = admission.admit(package, options.rollback, self.platform.unix_seconds())?;
        let object = &admitted.object;
        validate(object)?;
        let chosen = choose(object, options.only)?;
        limit("programs", BPF_PROGRAMS_MAX, self.bpf.programs.len() + chosen.len())?;
        let mut checked = Vec::new();
        for index in chosen {
            let program = &object.programs[index];
            let proof = admitted.proofs.get(index).copied().unwrap_or_default();
            let passed = prove(object, index, proof)?;
            admitted.grant_stack(passed.stack_bytes.into()).map_err(|error| refused(&error))?;
            checked.push((program, proof, passed));
        }
        let services = self.bpf_services();
        let bound = self.bpf.maps.bind(object, || services.random_u64())?;
        let common = Common {
            object,
            digest: admitted.digest.0,
            signed: signed_info(&admitted),
            slots: &bound.slots,
            interpret: options.interpret,
            now_ns: self.platform.now_ns(),
        };
        let alone = object.programs.len() == 1;
        let mut programs = Vec::new();
        for (program, proof, passed) in checked {
            let name = match options.name {
                None => program.name.clone(),
                Some(name) if alone => name.to_string(),
                Some(name) => alloc::format!("{name}.{}", program.name),
            };
            limit("bytes of a program's name", BPF_NAME_BYTES_MAX, name.len())?;
            programs.push(Arc::new(self.prepare(&common, program, name, proof, &passed)?));
        }
        admission.record(&admitted)?;
        Ok(Prepared { programs, bound })
    }

    /// Binds a checked program to its maps and makes it ready to run.
    fn prepare(
        &mut self,
        common: &Common<'_>,
        image: &ProgramImage,
        name: String,
        proof: &[u8],
        checked: &Checked,
    ) -> Result<Program, RpcError> {
        let services = self.bpf_services();
        let bad = |reason: String| RpcError::Program(ProgramError::BadObject { reason });
        let operations = decode(&image.slots).map_err(|error| bad(error.to_string()))?;
        let parts = Parts {
            kind: image.kind,
            operations,
            functions: image.functions.clone(),
            maps: common.slots.iter().map(|slot| slot.map.binding()).collect(),
            helpers: helpers(),
            fuelled: checked.fuel.clone(),
        };
        let executable =
            Executable::new(parts).map_err(|error| bad(alloc::format!("{}: {error}", image.name)))?;
        let seed = (!common.interpret).then(|| services.random_u64());
        let Ready { runnable, code, offsets } = compile(self.platform, executable, &name, seed)?;
        self.bpf.last_program += 1;
        Ok(Program {
            runnable,
            code,
            offsets,
            id: ProgramId(self.bpf.last_program),
            name,
            object: common.object.name.clone(),
            target: image.target.clone(),
            digest: common.digest,
            signed: common.signed.clone(),
            slots: image.slots.clone(),
            proof: proof.to_vec(),
            maps: checked.maps.iter().filter_map(|&map| common.slots.get(map as usize).cloned()).collect(),
            loaded_ns: common.now_ns,
            counters: Counters::default(),
        })
    }

    /// The services of this guest's programs.
    pub(crate) fn bpf_services(&mut self) -> &'static GuestServices {
        let shared = self.shared;
        self.bpf.services.get_or_insert_with(|| {
            // Programs hold it for as long as the machine lives; there is one.
            alloc::boxed::Box::leak(alloc::boxed::Box::new(GuestServices::new(shared)))
        })
    }

    /// Loads all programs of a package.
    pub(crate) fn load_programs(
        &mut self,
        package: &[u8],
        options: &Options<'_>,
    ) -> Result<Vec<ProgramId>, RpcError> {
        let Prepared { programs, bound } = self.load_package(package, options)?;
        self.bpf.maps.commit(bound);
        let ids = programs.iter().map(|program| program.id).collect();
        for program in programs {
            self.bpf.programs.insert(program.id, program);
        }
        Ok(ids)
    }
}

/// Limits of an object that nothing later checks in time.
fn validate(object: &ObjectImage) -> Result<(), RpcError> {
    limit("programs of an object", BPF_PROGRAMS_PER_OBJECT_MAX, object.programs.len())?;
    limit("bytes of an object's name", BPF_NAME_BYTES_MAX, object.name.len())?;
    for program in &object.programs {
        limit("bytes of a program's name", BPF_NAME_BYTES_MAX, program.name.len())?;
        limit("bytes of a program's target", BPF_NAME_BYTES_MAX, program.target.len())?;
        limit("instruction slots of a program", BPF_SLOTS_MAX, program.slots.len())?;
        limit("functions of a program", BPF_FUNCTIONS_MAX, program.functions.len())?;
    }
    Ok(())
}

/// Indices of the programs that are meant: all, or the one named `only`; the only one if that is empty.
fn choose(object: &ObjectImage, only: Option<&str>) -> Result<Vec<usize>, RpcError> {
    let Some(name) = only else { return Ok((0..object.programs.len()).collect()) };
    let found = match object.programs.as_slice() {
        [_] if name.is_empty() => Some(0),
        programs => programs.iter().position(|program| program.name == name),
    };
    found.map(|index| alloc::vec![index]).ok_or_else(|| {
        let programs = object.programs.iter().map(|program| program.name.clone()).collect();
        RpcError::Program(ProgramError::NoSuchProgram { name: name.to_string(), programs })
    })
}

/// Checks a program against its proof.
fn prove(object: &ObjectImage, index: usize, proof: &[u8]) -> Result<Checked, RpcError> {
    let program = object.programs[index].name.clone();
    let unproven =
        |slot, reason| RpcError::Program(ProgramError::Unproven { program: program.clone(), slot, reason });
    let proof = Proof::decode(proof).map_err(|error| unproven(None, error.to_string()))?;
    check(object, index, &proof).map_err(|error| unproven(Some(error.slot), error.reason.to_string()))
}
