//! What each request does.

use alloc::string::{String, ToString};
use alloc::vec;

use uio_protocol::GuestAddress;
use uio_protocol::error::RpcError;
use uio_protocol::inspect::{ExtensionId, Info, ThreadId};
use uio_protocol::limits::{CALL_ARGUMENTS_MAX, CHUNK_BYTES_MAX, STACK_SNAPSHOT_BYTES_MAX};
use uio_protocol::rpc::{Reply, Request, RunId};

use crate::events::log_lines;
use crate::files::shown;
use crate::overlay::Overlay;
use crate::paging::{BODY_BYTES_MAX, page, page_within};
use crate::platform::Platform;
use crate::runs::{self, Plan};
use crate::shared::{PlannedCall, Purpose, ResultKind};
use crate::upload::limit;

impl Overlay {
    /// Serves a request of an open session. `Ok(None)` if the answer comes later.
    pub(crate) fn dispatch(
        &mut self,
        session: u32,
        id: u32,
        request: Request,
    ) -> Result<Option<Reply>, RpcError> {
        let platform = self.platform;
        let reply = match request {
            // Served before, since it opens the session.
            Request::Hello { .. } => Reply::Done,
            Request::Bye => {
                self.end_session(session);
                Reply::Done
            }
            Request::Ping { marker } => Reply::Pong { marker },
            Request::Info => Reply::Info(self.info()),
            Request::Threads { skip } => {
                let (threads, more) = page(platform.threads(), skip);
                Reply::Threads { threads, more }
            }
            Request::ThreadSnapshot(thread) => thread_snapshot(platform, thread)?,
            Request::Regions { skip } => {
                let (regions, more) = page(platform.regions(), skip);
                Reply::Regions { regions, more }
            }
            Request::Heap => Reply::Heap(platform.heap_summary()),
            Request::Peek { address, length } => peek(platform, address, length)?,
            Request::Poke { address, bytes } => poke(platform, address, &bytes)?,
            Request::Log { from } => Reply::Log(page_within(log_lines(platform, from), BODY_BYTES_MAX).0),
            Request::FollowLog(on) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.log_from = on.then(|| platform.log_next());
                }
                self.watch_log();
                Reply::Done
            }
            Request::Credit { bytes } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.add_credit(bytes);
                }
                Reply::Done
            }
            Request::ListDirectory { ref path, .. }
            | Request::FileStatus { ref path }
            | Request::ReadFile { ref path, .. }
            | Request::WriteFile { ref path, .. }
            | Request::RemoveFile { ref path }
            | Request::MakeDirectory { ref path } => {
                self.queue_file(session, id, shown(path), request)?;
                return Ok(None);
            }
            Request::Exports { skip } => {
                let (exports, more) = page(self.all_exports(), skip);
                Reply::Exports { exports, more }
            }
            Request::UploadBegin { bytes } => Reply::Upload(self.uploads.begin(session, bytes)?),
            Request::UploadPut { upload, offset, bytes } => {
                self.uploads.put(session, upload, offset, &bytes)?;
                Reply::Done
            }
            Request::Load { upload, isolation, build_id } => {
                self.queue_load(session, id, upload, isolation, build_id)?;
                return Ok(None);
            }
            Request::Extensions { skip } => {
                let (extensions, more) = page(self.extension_infos(), skip);
                Reply::Extensions { extensions, more }
            }
            Request::Run { extension, arguments, budget_ms } => {
                Reply::Started(self.start_main(session, extension, &arguments, budget_ms)?)
            }
            Request::Call { function, arguments, budget_ms } => {
                Reply::Started(self.start_call(session, function, &arguments, budget_ms)?)
            }
            Request::Interrupt(run) => {
                let known = self.shared.with(|state| state.run_mut(run).is_some());
                if !known {
                    return Err(RpcError::NoRun(run.0));
                }
                runs::interrupt(self.shared, |other| other.id == run);
                Reply::Done
            }
            Request::Kill(extension) => {
                self.extensions.find_any(extension)?;
                runs::interrupt(self.shared, |run| run.is_in(extension));
                Reply::Done
            }
            Request::Unload(extension) => {
                self.queue_unload(session, id, extension)?;
                return Ok(None);
            }
            request @ (Request::BpfFeatures
            | Request::LoadPrograms { .. }
            | Request::Programs { .. }
            | Request::ProgramDump { .. }
            | Request::TestProgram { .. }
            | Request::RunOnce { .. }
            | Request::UnloadProgram(_)
            | Request::Maps { .. }
            | Request::MapTypes(_)
            | Request::MapEntries { .. }
            | Request::MapLookup { .. }
            | Request::MapUpdate { .. }
            | Request::MapDelete { .. }
            | Request::MapTake(_)
            | Request::MapPin { .. }
            | Request::MapUnpin(_)) => self.dispatch_bpf(session, request)?,
            Request::PowerOff { exit_code } => {
                self.respond(session, id, &Ok(Reply::Done));
                platform.power_off(exit_code)
            }
        };
        Ok(Some(reply))
    }

    fn info(&self) -> Info {
        let identity = self.platform.identity();
        Info {
            image: identity.image,
            build_id: identity.build_id,
            uptime_ns: self.platform.now_ns(),
            memory_bytes: self.platform.memory_bytes(),
            memory_free_bytes: self.platform.memory_free_bytes(),
            isolation: self.platform.backend(),
            machine: identity.machine,
            clock: identity.clock,
            tsc_hertz: identity.tsc_hertz,
            command_line: identity.command_line,
            devices: identity.devices,
            sessions: self.sessions.len() as u32,
            extensions: self.extensions.len() as u32,
            bad_frames: self.bad_frames,
        }
    }

    fn start_main(
        &mut self,
        session: u32,
        extension: ExtensionId,
        arguments: &[String],
        budget_ms: u32,
    ) -> Result<RunId, RpcError> {
        let entry = self.extensions.find(extension)?;
        let function = entry.linked.entry("main").ok_or(RpcError::NoEntry)?;
        let name = entry.name.clone();
        let call = PlannedCall { function, arguments: [0; 6], result: ResultKind::Int };
        let plan = Plan {
            session,
            purpose: Purpose::Request,
            extension: Some(extension),
            name: &name,
            calls: vec![call],
            arguments: Some(arguments),
            test: None,
            budget_ms,
        };
        let id = self.new_run();
        runs::start(self.shared, id, plan)?;
        Ok(id)
    }

    /// Calls a function of an extension in its domain, or one of the guest's image unrestricted.
    fn start_call(
        &mut self,
        session: u32,
        function: GuestAddress,
        arguments: &[u64],
        budget_ms: u32,
    ) -> Result<RunId, RpcError> {
        limit("arguments of a call", CALL_ARGUMENTS_MAX, arguments.len())?;
        let owner = self.extensions.containing(function);
        let name = match owner {
            Some((_, name)) => name.to_string(),
            None if self.platform.in_image(function) => "call".to_string(),
            None => return Err(RpcError::BadAddress { address: function, write: false }),
        };
        let extension = owner.map(|(extension, _)| extension);
        let mut registers = [0; CALL_ARGUMENTS_MAX];
        registers[..arguments.len()].copy_from_slice(arguments);
        let plan = Plan {
            session,
            purpose: Purpose::Request,
            extension,
            name: &name,
            calls: vec![PlannedCall { function, arguments: registers, result: ResultKind::Whole }],
            arguments: None,
            test: None,
            budget_ms,
        };
        let id = self.new_run();
        runs::start(self.shared, id, plan)?;
        Ok(id)
    }
}

fn thread_snapshot(platform: &dyn Platform, thread: ThreadId) -> Result<Reply, RpcError> {
    let mut snapshot = platform.thread_snapshot(thread).ok_or(RpcError::NoThread(thread))?;
    snapshot.stack.truncate(STACK_SNAPSHOT_BYTES_MAX);
    Ok(Reply::ThreadSnapshot(snapshot))
}

fn peek(platform: &dyn Platform, address: GuestAddress, length: u32) -> Result<Reply, RpcError> {
    limit("bytes of a peek", CHUNK_BYTES_MAX, length as usize)?;
    let mut bytes = vec![0; length as usize];
    platform
        .read_memory(address, &mut bytes)
        .map_err(|address| RpcError::BadAddress { address, write: false })?;
    Ok(Reply::Bytes(bytes))
}

/// Writes all or nothing.
fn poke(platform: &dyn Platform, address: GuestAddress, bytes: &[u8]) -> Result<Reply, RpcError> {
    limit("bytes of a poke", CHUNK_BYTES_MAX, bytes.len())?;
    platform
        .check(address, bytes.len() as u64, true)
        .and_then(|()| platform.write_memory(address, bytes))
        .map_err(|address| RpcError::BadAddress { address, write: true })?;
    Ok(Reply::Done)
}
