//! Loads and unloads: one at a time, each with the run of its constructors or destructors. Other requests are
//! served meanwhile.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use uio_protocol::error::{LoadError, RpcError};
use uio_protocol::fault::{Cause, Outcome};
use uio_protocol::inspect::{BuildId, ExtensionId, Isolation, LogLevel};
use uio_protocol::limits::{BUDGET_DEFAULT_MS, INIT_TIME_MAX_MS, OPERATIONS_MAX};
use uio_protocol::rpc::{Reply, Response, RunId};

use crate::extensions::runs_in;
use crate::overlay::Overlay;
use crate::runs::{self, Plan};
use crate::shared::{PlannedCall, Purpose, ResultKind};
use crate::upload::limit;

const NS_PER_MS: u64 = 1_000_000;

/// Loads and unloads, waiting and under way.
#[derive(Default)]
pub(crate) struct Operations {
    waiting: VecDeque<Waiting>,
    active: Option<Active>,
}

struct Waiting {
    session: u32,
    id: u32,
    what: Operation,
}

enum Operation {
    Load { image: Vec<u8>, isolation: Isolation, build_id: BuildId },
    Unload(ExtensionId),
}

/// An operation whose run is under way.
struct Active {
    /// Who waits for the reply; `None` when that session is gone.
    session: Option<u32>,
    id: u32,
    extension: ExtensionId,
    loads: bool,
    run: RunId,
    /// When its run is ended, time since boot; `None` once that was done.
    deadline_ns: Option<u64>,
}

/// How far an operation came at once.
enum Progress {
    Through(Box<Reply>),
    Runs(ExtensionId, RunId),
}

impl Operations {
    /// When the run under way has had its time.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.active.as_ref()?.deadline_ns
    }

    /// Drops what waits for a session that is gone, and the reply to what is under way.
    pub(crate) fn drop_session(&mut self, session: u32) {
        self.waiting.retain(|waiting| waiting.session != session);
        if let Some(active) = self.active.as_mut().filter(|active| active.session == Some(session)) {
            active.session = None;
        }
    }
}

impl Overlay {
    pub(crate) fn queue_load(
        &mut self,
        session: u32,
        id: u32,
        upload: u32,
        isolation: Isolation,
        build_id: BuildId,
    ) -> Result<(), RpcError> {
        self.require_room()?;
        let image = self.uploads.take(session, upload)?;
        let what = Operation::Load { image, isolation, build_id };
        self.operations.waiting.push_back(Waiting { session, id, what });
        Ok(())
    }

    pub(crate) fn queue_unload(
        &mut self,
        session: u32,
        id: u32,
        extension: ExtensionId,
    ) -> Result<(), RpcError> {
        self.require_room()?;
        self.extensions.find_any(extension)?;
        self.operations.waiting.push_back(Waiting { session, id, what: Operation::Unload(extension) });
        Ok(())
    }

    fn require_room(&self) -> Result<(), RpcError> {
        limit("loads and unloads that wait", OPERATIONS_MAX, self.operations.waiting.len() + 1)
    }

    /// Begins what waits, as far as nothing is under way; ends the run under way if its time is over.
    pub(crate) fn advance_operations(&mut self) {
        if let Some(active) = self.operations.active.as_mut()
            && active.deadline_ns.is_some_and(|deadline| self.platform.now_ns() >= deadline)
        {
            active.deadline_ns = None;
            let run = active.run;
            let thread = self.shared.with(|state| state.run_mut(run).and_then(|run| run.thread));
            if let Some(thread) = thread {
                self.platform.end(thread, Cause::Budget { budget_ms: INIT_TIME_MAX_MS });
            }
        }
        while self.operations.active.is_none() {
            let Some(Waiting { session, id, what }) = self.operations.waiting.pop_front() else { return };
            let loads = matches!(what, Operation::Load { .. });
            let progress = match what {
                Operation::Load { image, isolation, build_id } => {
                    self.begin_load(session, &image, isolation, build_id)
                }
                Operation::Unload(extension) => self.begin_unload(session, extension),
            };
            match progress {
                Ok(Progress::Through(reply)) => self.respond(session, id, &Ok(*reply)),
                Err(error) => self.respond(session, id, &Err(error)),
                Ok(Progress::Runs(extension, run)) => {
                    let deadline = self.platform.now_ns() + u64::from(INIT_TIME_MAX_MS) * NS_PER_MS;
                    let deadline_ns = Some(deadline);
                    self.operations.active =
                        Some(Active { session: Some(session), id, extension, loads, run, deadline_ns });
                }
            }
        }
    }

    /// Takes note of the end of a run of constructors or destructors.
    pub(crate) fn operation_ended(&mut self, run: RunId, outcome: Outcome) {
        self.flush_run(run);
        let Some(active) = self.operations.active.take_if(|active| active.run == run) else { return };
        let response = if active.loads {
            self.finish_load(active.extension, outcome)
        } else {
            if let Outcome::Ended(report) = outcome {
                let name = self.extensions.find_any(active.extension).map_or("", |found| &found.name);
                let text = format!("exit of extension {name} was ended: {:?}", report.cause);
                self.platform.log_line(LogLevel::Warn, &text);
            }
            self.remove(active.extension);
            Ok(Reply::Done)
        };
        if let Some(session) = active.session {
            self.respond(session, active.id, &response);
        }
    }

    fn begin_load(
        &mut self,
        session: u32,
        image: &[u8],
        isolation: Isolation,
        build_id: BuildId,
    ) -> Result<Progress, RpcError> {
        let id = self.place(image, isolation, build_id)?;
        let extension = self.extensions.find_any(id)?;
        let mut calls = planned(&extension.linked.constructors, ResultKind::Ignored);
        if let Some(init) = extension.linked.entry("init") {
            calls.extend(planned(&[init], ResultKind::Status));
        }
        if calls.is_empty() {
            return self
                .finish_load(id, Outcome::Returned(0))
                .map(|reply| Progress::Through(Box::new(reply)));
        }
        match self.start_operation(session, id, calls) {
            Ok(run) => Ok(Progress::Runs(id, run)),
            Err(error) => {
                self.remove(id);
                Err(error)
            }
        }
    }

    fn finish_load(&mut self, id: ExtensionId, outcome: Outcome) -> Response {
        let Some(extension) = self.extensions.get_mut(id) else { return Err(RpcError::NoExtension(id)) };
        let error = match outcome {
            Outcome::Returned(0) => {
                extension.ready = true;
                extension.resident = extension.linked.entry("init").is_some();
                return self.extension_info(id).map(Reply::Loaded).ok_or(RpcError::NoExtension(id));
            }
            Outcome::Returned(value) => LoadError::InitFailed(value),
            Outcome::Ended(report) => LoadError::InitFaulted { report, sections: extension.sections() },
        };
        self.remove(id);
        Err(RpcError::Load(error))
    }

    fn begin_unload(&mut self, session: u32, id: ExtensionId) -> Result<Progress, RpcError> {
        let extension = self.extensions.find(id)?;
        let (runs, used_by) = (runs_in(self.shared, id), self.extensions.users(id));
        if runs > 0 || !used_by.is_empty() {
            return Err(RpcError::InUse { runs, used_by });
        }
        let exit = extension.linked.entry("exit").filter(|_| extension.resident);
        let mut calls = planned(exit.as_slice(), ResultKind::Ignored);
        calls.extend(planned(&extension.linked.destructors, ResultKind::Ignored));
        if calls.is_empty() {
            self.remove(id);
            return Ok(Progress::Through(Box::new(Reply::Done)));
        }
        let run = self.start_operation(session, id, calls)?;
        // From here on nobody may run it or link to it.
        if let Some(extension) = self.extensions.get_mut(id) {
            extension.ready = false;
        }
        Ok(Progress::Runs(id, run))
    }

    fn start_operation(
        &mut self,
        session: u32,
        extension: ExtensionId,
        calls: Vec<PlannedCall>,
    ) -> Result<RunId, RpcError> {
        let name = self.extensions.find_any(extension)?.name.clone();
        let id = self.new_run();
        let plan = Plan {
            session,
            purpose: Purpose::Operation,
            extension: Some(extension),
            name: &name,
            calls,
            arguments: None,
            test: None,
            budget_ms: BUDGET_DEFAULT_MS,
        };
        runs::start(self.shared, id, plan)?;
        Ok(id)
    }
}

fn planned(functions: &[uio_protocol::GuestAddress], result: ResultKind) -> Vec<PlannedCall> {
    let call = |&function| PlannedCall { function, arguments: [0; 6], result };
    functions.iter().map(call).collect()
}
