//! File requests of shells. Threads of their own serve them, since a share's host may take long or hang: other requests go
//! on, and whoever asked gets an answer in time.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::error::{FileError, RpcError};
use uio_protocol::limits::{
    CHUNK_BYTES_MAX, FILE_REQUESTS_MAX, FILE_TIME_MAX_MS, FILE_WORKERS_MAX, PATH_BYTES_MAX,
};
use uio_protocol::rpc::{Reply, Request, Response};

use crate::overlay::Overlay;
use crate::paging::page;
use crate::platform::Platform;
use crate::runs::out_of_memory;
use crate::shared::Shared;
use crate::upload::limit;

/// Directory entries asked for at a time: more than fit a frame with names of some length.
const ENTRIES_MAX: u32 = 1024;
const NS_PER_MS: u64 = 1_000_000;
/// Linux error number (asm-generic/errno.h).
const ETIMEDOUT: u32 = 110;

/// What the overlay thread and the workers share.
#[derive(Default)]
pub(crate) struct FileJobs {
    waiting: VecDeque<Job>,
    /// Sessions whose requests are being served: one at a time each, so that they stay in order.
    busy: Vec<u32>,
    done: Vec<(u32, Response)>,
    workers: usize,
}

struct Job {
    number: u32,
    session: u32,
    request: Request,
}

impl FileJobs {
    /// The next job for a worker. `None` ends the worker.
    fn take(&mut self) -> Option<Job> {
        let next = self.waiting.iter().position(|job| !self.busy.contains(&job.session));
        let job = next.and_then(|index| self.waiting.remove(index));
        match &job {
            Some(job) => self.busy.push(job.session),
            None => self.workers -= 1,
        }
        job
    }

    fn finish(&mut self, number: u32, session: u32, response: Response) {
        if let Some(index) = self.busy.iter().position(|busy| *busy == session) {
            self.busy.swap_remove(index);
        }
        self.done.push((number, response));
    }
}

/// Requests that are to be answered.
#[derive(Default)]
pub(crate) struct FileRequests {
    pending: Vec<Pending>,
    last_number: u32,
}

struct Pending {
    number: u32,
    session: u32,
    id: u32,
    path: String,
    deadline_ns: u64,
}

impl FileRequests {
    /// When the next one has had its time.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.pending.iter().map(|pending| pending.deadline_ns).min()
    }
}

impl Overlay {
    /// Has a worker serve the request, which is about `path`.
    pub(crate) fn queue_file(
        &mut self,
        session: u32,
        id: u32,
        path: String,
        request: Request,
    ) -> Result<(), RpcError> {
        limit("file requests that wait", FILE_REQUESTS_MAX, self.files.pending.len() + 1)?;
        self.files.last_number = self.files.last_number.wrapping_add(1);
        let number = self.files.last_number;
        let start = self.shared.with(|state| {
            state.files.waiting.push_back(Job { number, session, request });
            let start = state.files.workers < FILE_WORKERS_MAX;
            state.files.workers += usize::from(start);
            start
        });
        if start && let Err(error) = self.platform.spawn_worker("files", work) {
            let served = self.shared.with(|state| {
                state.files.workers -= 1;
                let served = state.files.workers > 0;
                if !served {
                    state.files.waiting.retain(|job| job.number != number);
                }
                served
            });
            if !served {
                return Err(out_of_memory(error));
            }
        }
        let deadline_ns = self.platform.now_ns() + u64::from(FILE_TIME_MAX_MS) * NS_PER_MS;
        self.files.pending.push(Pending { number, session, id, path, deadline_ns });
        Ok(())
    }

    /// Sends the answers that have come, and to those who have waited too long that none has.
    pub(crate) fn answer_files(&mut self) {
        if self.files.pending.is_empty() {
            return;
        }
        for (number, response) in self.shared.with(|state| core::mem::take(&mut state.files.done)) {
            // Whoever asked may be gone, or have been answered.
            if let Some(index) = self.files.pending.iter().position(|pending| pending.number == number) {
                let Pending { session, id, .. } = self.files.pending.swap_remove(index);
                self.respond(session, id, &response);
            }
        }
        let now = self.platform.now_ns();
        while let Some(index) = self.files.pending.iter().position(|pending| pending.deadline_ns <= now) {
            let Pending { number, session, id, path, .. } = self.files.pending.swap_remove(index);
            self.shared.with(|state| state.files.waiting.retain(|job| job.number != number));
            let reason = FileError::Errno(ETIMEDOUT);
            self.respond(session, id, &Err(RpcError::File { path, reason }));
        }
    }

    /// Forgets what a session that is gone has asked for.
    pub(crate) fn drop_file_requests(&mut self, session: u32) {
        self.files.pending.retain(|pending| pending.session != session);
        self.shared.with(|state| state.files.waiting.retain(|job| job.session != session));
    }
}

/// What a worker does: jobs, until there is none for it.
fn work() {
    let Some(shared) = Shared::current() else { return };
    while let Some(Job { number, session, request }) = shared.with(|state| state.files.take()) {
        let response = serve(shared.platform, request);
        shared.with(|state| state.files.finish(number, session, response));
        shared.platform.wake();
    }
}

fn serve(platform: &dyn Platform, request: Request) -> Response {
    match request {
        Request::ListDirectory { path, skip } => with_path(&path, |path| {
            let (entries, beyond) = platform.list_directory(path, skip, ENTRIES_MAX)?;
            let (entries, cut): (Vec<_>, bool) = page(entries, 0);
            Ok(Reply::Directory { entries, more: cut || beyond })
        }),
        Request::FileStatus { path } => {
            with_path(&path, |path| platform.file_status(path).map(Reply::FileStatus))
        }
        Request::ReadFile { path, offset, length } => {
            limit("bytes of a read", CHUNK_BYTES_MAX, length as usize)?;
            with_path(&path, |path| {
                let mut bytes = vec![0; length as usize];
                let read = platform.read_file(path, offset, &mut bytes)?;
                bytes.truncate(read);
                Ok(Reply::Bytes(bytes))
            })
        }
        Request::WriteFile { path, offset, truncate, bytes } => {
            limit("bytes of a write", CHUNK_BYTES_MAX, bytes.len())?;
            with_path(&path, |path| platform.write_file(path, offset, truncate, &bytes).map(|()| Reply::Done))
        }
        Request::RemoveFile { path } => {
            with_path(&path, |path| platform.remove_file(path).map(|()| Reply::Done))
        }
        Request::MakeDirectory { path } => {
            with_path(&path, |path| platform.make_directory(path).map(|()| Reply::Done))
        }
        // No other is queued here.
        _ => Err(RpcError::Malformed),
    }
}

/// Does a file operation on a path of allowed length; its error carries the path.
fn with_path(
    path: &str,
    operation: impl FnOnce(&str) -> Result<Reply, FileError>,
) -> Result<Reply, RpcError> {
    let result = if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains('\0') {
        Err(FileError::InvalidPath)
    } else {
        operation(path)
    };
    result.map_err(|reason| RpcError::File { path: shown(path), reason })
}

/// A path as an error carries it.
pub(crate) fn shown(path: &str) -> String {
    path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_string()
}
