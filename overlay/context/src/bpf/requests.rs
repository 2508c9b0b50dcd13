//! What each request about programs does.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::GuestAddress;
use uio_protocol::bpf::MapKind;
use uio_protocol::error::RpcError;
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::programs::{BpfFeatures, Engine, ProgramId, ProgramInfo};
use uio_protocol::rpc::{Reply, Request, RunId};

use super::admission::Admission;
use super::helpers::helpers;
use super::load::Options;
use super::program::Program;
use super::run::execute;
use super::test::Test;
use crate::overlay::Overlay;
use crate::paging::page;
use crate::runs::{self, Plan};
use crate::shared::{PlannedCall, Purpose, ResultKind};

impl Overlay {
    /// Serves a request about eBPF.
    pub(crate) fn dispatch_bpf(&mut self, session: u32, request: Request) -> Result<Reply, RpcError> {
        let reply = match request {
            Request::BpfFeatures => Reply::BpfFeatures(self.bpf_features()),
            Request::LoadPrograms { upload, name, interpret, rollback } => {
                let package = self.uploads.take(session, upload)?;
                let options = Options { name: name.as_deref(), interpret, rollback, only: None };
                let ids = self.load_programs(&package, &options)?;
                let programs = ids.into_iter().filter_map(|id| self.program_info(id)).collect();
                Reply::Programs { programs, more: false }
            }
            Request::Programs { skip } => {
                let infos: Vec<ProgramInfo> =
                    self.bpf.programs.iter().map(|(_, program)| program.info()).collect();
                let (programs, more) = page(infos, skip);
                Reply::Programs { programs, more }
            }
            Request::ProgramDump { program, part, offset } => {
                Reply::Bytes(self.find_program(program)?.dump(part, offset, CHUNK_BYTES_MAX))
            }
            Request::TestProgram { program, data, repeat, budget_ms } => {
                let program = self.find_program(program)?;
                Reply::Started(self.start_test(session, program, &data, repeat, budget_ms)?)
            }
            Request::RunOnce { upload, program, interpret, rollback, data, budget_ms } => {
                let package = self.uploads.take(session, upload)?;
                let options = Options { name: None, interpret, rollback, only: Some(&program) };
                let mut prepared = self.load_package(&package, &options)?;
                let program = prepared.programs.pop().ok_or(RpcError::Malformed)?;
                let run = self.start_test(session, program, &data, 1, budget_ms)?;
                prepared.bound.keep_pinned_only();
                self.bpf.maps.commit(prepared.bound);
                Reply::Started(run)
            }
            Request::UnloadProgram(program) => {
                self.unload_program(program)?;
                Reply::Done
            }
            other => self.dispatch_maps(other)?,
        };
        Ok(reply)
    }

    fn bpf_features(&mut self) -> BpfFeatures {
        let platform = self.platform;
        let policy = &self.bpf.admission.get_or_insert_with(|| Admission::read(platform)).policy;
        BpfFeatures {
            engines: vec![Engine::Jit, Engine::Interpreter],
            helpers: helpers().iter().map(|(number, _)| *number).collect(),
            maps: MapKind::ALL.to_vec(),
            signature_required: policy.require_signature,
            keys: policy.keys().iter().map(|key| key.id.0.to_vec()).collect(),
            programs: self.bpf.programs.len() as u32,
        }
    }

    pub(crate) fn find_program(&self, id: ProgramId) -> Result<Arc<Program>, RpcError> {
        self.bpf.programs.get(&id).cloned().ok_or(RpcError::NoProgram(id))
    }

    fn program_info(&self, id: ProgramId) -> Option<ProgramInfo> {
        self.bpf.programs.get(&id).map(|program| program.info())
    }

    /// Starts a test on a thread of its own.
    fn start_test(
        &mut self,
        session: u32,
        program: Arc<Program>,
        data: &[u8],
        repeat: u32,
        budget_ms: u32,
    ) -> Result<RunId, RpcError> {
        let id = self.new_run();
        let name = program.name.clone();
        let test = Test::new(program, self.bpf_services(), data, repeat)?;
        let function = GuestAddress(execute as *const () as usize as u64);
        let call =
            PlannedCall { function, arguments: [u64::from(id.0), 0, 0, 0, 0, 0], result: ResultKind::Whole };
        let plan = Plan {
            session,
            purpose: Purpose::Request,
            extension: None,
            name: &name,
            calls: vec![call],
            arguments: None,
            test: Some(Box::new(test)),
            budget_ms,
        };
        runs::start(self.shared, id, plan)?;
        Ok(id)
    }

    fn unload_program(&mut self, id: ProgramId) -> Result<(), RpcError> {
        let info = self.program_info(id).ok_or(RpcError::NoProgram(id))?;
        let held_by = self.maps_that_hold(id);
        if info.running > 0 || !held_by.is_empty() {
            return Err(RpcError::ProgramInUse { runs: info.running, held_by });
        }
        self.bpf.programs.remove(&id);
        self.bpf.maps.sweep();
        Ok(())
    }

    /// Names of the maps through which other programs may call one.
    fn maps_that_hold(&self, id: ProgramId) -> Vec<String> {
        let Some(program) = self.bpf.programs.get(&id) else { return Vec::new() };
        let holding = self.bpf.maps.iter().filter(|entry| entry.slot.holds(program));
        holding.map(|entry| entry.slot.map.spec().name.clone()).collect()
    }
}
