//! The overlay thread: frames in, requests served one at a time, replies and events out.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::error::RpcError;
use uio_protocol::frame::{self, Channel, Decoder, Frame, Header, Kind};
use uio_protocol::limits::FRAME_BYTES_MAX;
use uio_protocol::rpc::{Reply, Request, Response, RunId};

use crate::bpf::Bpf;
use crate::enter::register_handlers;
use crate::extensions::Extensions;
use crate::files::FileRequests;
use crate::gate::Export;
use crate::gate::api::EXPORTS;
use crate::operations::Operations;
use crate::paging::serialize;
use crate::platform::Platform;
use crate::runs;
use crate::session::Sessions;
use crate::shared::Shared;
use crate::upload::Uploads;

/// Bytes taken from the link at a time. Between two such pieces events are sent and ended runs
/// collected, so it also bounds how long a flood of requests keeps others waiting.
const RECEIVE_BYTES: usize = 8 * 1024;

/// Serves the shells. One per machine; lives on the overlay thread.
pub struct Overlay {
    pub(crate) shared: &'static Shared,
    pub(crate) platform: &'static dyn Platform,
    decoder: Decoder,
    buffer: Box<[u8]>,
    pub(crate) sessions: Sessions,
    pub(crate) uploads: Uploads,
    pub(crate) extensions: Extensions,
    pub(crate) operations: Operations,
    pub(crate) bpf: Bpf,
    pub(crate) files: FileRequests,
    /// Frames that were cut, corrupted, too long, or not for the guest.
    pub(crate) bad_frames: u64,
    next_run: u32,
    /// When there is something to send that waits for company, time since boot.
    pub(crate) flush_ns: Option<u64>,
}

impl Overlay {
    /// The overlay of this machine. `exports` is what the image offers to extensions besides the
    /// overlay's own functions; of two of the same name, the overlay's wins.
    ///
    /// Call it once, before any supervised thread runs: it registers the gates' handlers.
    #[must_use]
    pub fn new(platform: &'static dyn Platform, exports: &'static [Export]) -> Self {
        let shared = Shared::install(platform, EXPORTS.iter().chain(exports).collect());
        register_handlers();
        Self {
            shared,
            platform,
            decoder: Decoder::new(),
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            sessions: Sessions::default(),
            uploads: Uploads::default(),
            extensions: Extensions::default(),
            operations: Operations::default(),
            bpf: Bpf::default(),
            files: FileRequests::default(),
            bad_frames: 0,
            next_run: 1,
            flush_ns: None,
        }
    }

    /// Serves forever.
    pub fn run(&mut self) -> ! {
        loop {
            self.step(None);
        }
    }

    /// Waits for something to do, at most until `deadline_ns` (time since boot), and does it: serves the
    /// requests of one piece of the link's stream, collects ended runs, goes on with loads, sends events.
    pub fn step(&mut self, deadline_ns: Option<u64>) {
        let deadlines = [deadline_ns, self.flush_ns, self.operations.deadline_ns(), self.files.deadline_ns()];
        let deadline = deadlines.into_iter().flatten().min();
        let mut buffer = core::mem::take(&mut self.buffer);
        let received = self.platform.receive(&mut buffer, deadline).min(buffer.len());
        let mut input = &buffer[..received];
        while let Some(result) = self.decoder.next_frame(&mut input) {
            match result {
                Ok(frame) => self.serve(&frame),
                Err(_) => self.bad_frames += 1,
            }
        }
        self.buffer = buffer;
        while let Some(thread) = self.platform.take_ended() {
            if let Some((run, outcome)) = runs::ended(self.shared, thread) {
                self.operation_ended(run, outcome);
            }
            self.tidy_bpf();
        }
        self.advance_operations();
        self.answer_files();
        self.send_events();
    }

    fn serve(&mut self, frame: &Frame) {
        let Header { channel, kind, session, id } = frame.header;
        if channel != Channel::Rpc || kind != Kind::Request {
            self.bad_frames += 1;
            return;
        }
        let response = match frame.message::<Request>() {
            Ok(request) => self.serve_request(session, id, request),
            Err(_) => Some(Err(RpcError::Malformed)),
        };
        // Loads and unloads answer when they are through.
        if let Some(response) = response {
            self.respond(session, id, &response);
        }
    }

    fn serve_request(&mut self, session: u32, id: u32, request: Request) -> Option<Response> {
        if let Request::Hello { protocol_hash } = request {
            return Some(self.hello(session, protocol_hash));
        }
        if self.sessions.hear(session, self.platform.now_ns()).is_none() {
            return Some(Err(RpcError::NoSession));
        }
        self.dispatch(session, id, request).transpose()
    }

    /// Opens a session, or resets one: a shell that comes back under its number starts afresh.
    fn hello(&mut self, session: u32, protocol_hash: u64) -> Response {
        if protocol_hash != PROTOCOL_HASH {
            return Err(RpcError::ProtocolMismatch { guest: PROTOCOL_HASH });
        }
        self.end_session(session);
        let shared = self.shared;
        let busy = |id| shared.with(|state| state.runs.iter().any(|run| run.session == Some(id)));
        if let Some(forgotten) = self.sessions.open(session, self.platform.now_ns(), busy)? {
            self.end_session(forgotten);
        }
        let identity = self.platform.identity();
        Ok(Reply::Welcome { build_id: identity.build_id, image: identity.image })
    }

    /// Ends a session: its runs are interrupted, its uploads and waiting loads dropped.
    pub(crate) fn end_session(&mut self, session: u32) {
        self.uploads.drop_session(session);
        self.operations.drop_session(session);
        self.drop_file_requests(session);
        runs::abandon(self.shared, session);
        if self.sessions.close(session) {
            self.watch_log();
        }
    }

    /// Has the kernel wake this thread for new log lines exactly while somebody follows them.
    pub(crate) fn watch_log(&mut self) {
        self.platform.watch_log(self.sessions.log_followed());
    }

    /// Sends a response. One that does not fit a frame becomes an error that says so.
    pub(crate) fn respond(&mut self, session: u32, id: u32, response: &Response) {
        let header = Header { channel: Channel::Rpc, kind: Kind::Response, session, id };
        let body = serialize(response).unwrap_or_default();
        let encoded = frame::encode_body(header, &body).or_else(|_| {
            let refusal: Response = Err(RpcError::Limit {
                what: "bytes of a reply".to_string(),
                limit: FRAME_BYTES_MAX as u64,
                asked: body.len() as u64,
            });
            frame::encode_body(header, &serialize(&refusal).unwrap_or_default())
        });
        if let Ok(bytes) = encoded {
            self.platform.send(&bytes);
        }
    }

    /// Drops what programs used that run no more.
    pub(crate) fn tidy_bpf(&mut self) {
        let quiet = self.shared.with(|state| state.runs.iter().all(|run| run.test.is_none()));
        self.bpf.tidy(quiet);
    }

    /// Names a new run.
    pub(crate) fn new_run(&mut self) -> RunId {
        let id = RunId(self.next_run);
        self.next_run = self.next_run.wrapping_add(1).max(1);
        id
    }

    /// All names that extensions may link to without a hint.
    pub(crate) fn all_exports(&self) -> Vec<uio_protocol::inspect::Export> {
        let exports = self.shared.exports.iter();
        exports
            .map(|export| uio_protocol::inspect::Export {
                name: export.name.to_string(),
                prototype: export.prototype.to_string(),
                address: export.address(),
            })
            .collect()
    }
}
