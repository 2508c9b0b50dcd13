//! Speaks the overlay protocol to a guest, through a keeper's socket or QEMU's console socket.
//!
//! One thread per connection reads: responses go to whoever asked, events to the run they belong to
//! or to the log handler. Any number of threads may ask at once.

mod error;
mod files;
pub(crate) mod link;
mod requests;
mod runs;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::event::Event;
use uio_protocol::frame::{Channel, DELIMITER, Header, Kind, encode};
use uio_protocol::inspect::BuildId;
use uio_protocol::limits::EVENT_CREDIT_BYTES;
use uio_protocol::rpc::{Reply, Request, Response};

pub use error::ClientError;
pub use runs::{RunEnd, RunEvent, RunStream};

use crate::lock;
use link::Link;
use runs::Runs;

/// How long a request may take before the guest counts as silent. A guest answers within
/// milliseconds; an emulated one on a busy host has been seen to need a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Event bytes that are taken before credit goes back: a quarter of all, so that credit requests are
/// rare and the guest never runs dry while the shell keeps up.
const CREDIT_BATCH_BYTES: u32 = EVENT_CREDIT_BYTES / 4;

/// What `Hello` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Identity of the running image.
    pub build_id: BuildId,
    /// Its name.
    pub image: String,
}

type LogHandler = Box<dyn FnMut(Event) + Send>;

/// An open session with a guest.
pub struct Client {
    shared: Arc<Shared>,
    path: PathBuf,
    welcome: Welcome,
}

struct Shared {
    link: Link,
    session: u32,
    next_id: AtomicU32,
    /// `None` once the connection is gone.
    pending: Mutex<Option<HashMap<u32, SyncSender<Response>>>>,
    runs: Runs,
    log_handler: Mutex<Option<LogHandler>>,
    taken_bytes: AtomicU32,
}

impl Client {
    /// Connects to `path` and says `Hello`, waiting at most `timeout` for the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`] without a listener, [`ClientError::Timeout`] if the guest keeps silent,
    /// [`ClientError::Rpc`] with [`uio_protocol::error::RpcError::ProtocolMismatch`] if it was built with other messages.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .map_err(|source| ClientError::Connect { path: path.to_path_buf(), source })?;
        Self::over(stream, path, timeout)
    }

    /// As [`Self::connect`], over a connection that exists. `path` is only for messages.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn over(stream: UnixStream, path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let reader = stream.try_clone().map_err(ClientError::Io)?;
        let shared = Arc::new(Shared {
            link: Link::new(stream),
            session: random_session(),
            next_id: AtomicU32::new(1),
            pending: Mutex::new(Some(HashMap::new())),
            runs: Runs::default(),
            log_handler: Mutex::new(None),
            taken_bytes: AtomicU32::new(0),
        });
        // Ends whatever frame a predecessor on a raw console left half-written.
        shared.link.send(&[DELIMITER]).map_err(ClientError::Io)?;
        let for_reader = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("uio-client".into())
            .spawn(move || for_reader.read_all(reader))
            .map_err(ClientError::Io)?;
        let welcome = match shared.request(&Request::Hello { protocol_hash: PROTOCOL_HASH }, timeout) {
            Ok(Reply::Welcome { build_id, image }) => Welcome { build_id, image },
            Ok(other) => return Err(ClientError::unexpected("Hello", &other)),
            Err(error) => {
                shared.link.close();
                return Err(error);
            }
        };
        Ok(Self { shared, path: path.to_path_buf(), welcome })
    }

    /// What the guest said at `Hello`.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The session number that this side chose. A keeper replaces it on the way to the guest.
    #[must_use]
    pub fn session(&self) -> u32 {
        self.shared.session
    }

    /// Whether the connection still stands, as far as this side has seen.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        lock(&self.shared.pending).is_some()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Rpc`] with the guest's refusal, [`ClientError::Timeout`],
    /// [`ClientError::Closed`] when the guest or its keeper is gone.
    pub fn request(&self, request: &Request) -> Result<Reply, ClientError> {
        self.shared.request(request, REQUEST_TIMEOUT)
    }

    /// As [`Self::request`] with another time limit.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn request_within(&self, request: &Request, timeout: Duration) -> Result<Reply, ClientError> {
        self.shared.request(request, timeout)
    }

    /// Asks that answers `Done`.
    fn command(&self, request: &Request) -> Result<(), ClientError> {
        match self.request(request)? {
            Reply::Done => Ok(()),
            other => Err(ClientError::unexpected("request", &other)),
        }
    }

    /// Sends without waiting; the answer is dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`] when the connection is gone.
    pub fn notify(&self, request: &Request) -> Result<(), ClientError> {
        self.shared.notify(request)
    }

    /// What to do with log events. They come on the reading thread: be brief.
    pub fn on_log(&self, handler: impl FnMut(Event) + Send + 'static) {
        *lock(&self.shared.log_handler) = Some(Box::new(handler));
    }

    /// Drops the log handler.
    pub fn ignore_log(&self) {
        *lock(&self.shared.log_handler) = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A keeper would say it for us; a raw console would not.
        let _ = self.shared.notify(&Request::Bye);
        self.shared.link.close();
    }
}

impl Shared {
    fn header(&self, id: u32) -> Header {
        Header { channel: Channel::Rpc, kind: Kind::Request, session: self.session, id }
    }

    fn notify(&self, request: &Request) -> Result<(), ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(self.header(id), request).map_err(ClientError::Frame)?;
        self.link.send(&bytes).map_err(ClientError::Io)
    }

    fn request(&self, request: &Request, timeout: Duration) -> Result<Reply, ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(self.header(id), request).map_err(ClientError::Frame)?;
        let (sender, receiver) = sync_channel(1);
        match lock(&self.pending).as_mut() {
            Some(pending) => pending.insert(id, sender),
            None => return Err(ClientError::Closed),
        };
        let started = Instant::now();
        let answer = self
            .link
            .send(&bytes)
            .map_err(|_| ClientError::Closed)
            .and_then(|()| wait(&receiver, timeout.saturating_sub(started.elapsed())));
        if answer.is_err()
            && let Some(pending) = lock(&self.pending).as_mut()
        {
            pending.remove(&id);
        }
        answer
    }

    fn read_all(&self, reader: UnixStream) {
        link::read_frames(reader, |frame| {
            let header = frame.header;
            if header.session != self.session {
                return;
            }
            match (header.channel, header.kind) {
                (Channel::Rpc, Kind::Response) => {
                    let waiting = lock(&self.pending).as_mut().and_then(|pending| pending.remove(&header.id));
                    let response = frame.message::<Response>();
                    if let Ok(Ok(Reply::Started(run))) = response {
                        // Before anybody knows of the run, so that no event of it comes too early.
                        self.runs.started(run);
                    }
                    if let Some(sender) = waiting
                        && let Ok(response) = response
                    {
                        // The asker may have given up meanwhile.
                        let _ = sender.send(response);
                    }
                }
                (Channel::Events, Kind::Notice) => {
                    let bytes = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
                    let kept = match frame.message::<Event>() {
                        Ok(Event::Output { run, bytes: output }) => {
                            self.runs.push(run, RunEvent::Output(output), bytes)
                        }
                        Ok(Event::Exited { run, outcome, cpu_time_ns, dropped_bytes }) => {
                            let end = RunEnd { outcome, cpu_time_ns, dropped_bytes };
                            self.runs.push(run, RunEvent::Ended(end), bytes)
                        }
                        Ok(Event::Tested { run, test }) => self.runs.push(run, RunEvent::Tested(test), bytes),
                        Ok(event @ (Event::Log(_) | Event::LogDropped { .. })) => {
                            if let Some(handler) = lock(&self.log_handler).as_mut() {
                                handler(event);
                            }
                            false
                        }
                        Err(_) => false,
                    };
                    if !kept {
                        self.take(bytes);
                    }
                }
                _ => {}
            }
        });
        // Dropping the senders wakes everybody who waits.
        *lock(&self.pending) = None;
        self.runs.close();
    }

    /// Counts event bytes as taken and gives credit back in batches.
    fn take(&self, bytes: u32) {
        let taken = self.taken_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken >= CREDIT_BATCH_BYTES {
            self.taken_bytes.fetch_sub(taken, Ordering::Relaxed);
            let _ = self.notify(&Request::Credit { bytes: taken });
        }
    }
}

fn wait(receiver: &Receiver<Response>, timeout: Duration) -> Result<Reply, ClientError> {
    match receiver.recv_timeout(timeout) {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(ClientError::Rpc(error)),
        Err(RecvTimeoutError::Timeout) => Err(ClientError::Timeout { after: timeout }),
        Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed),
    }
}

/// A session number for a raw console, where nobody assigns one. The standard library's hash keys
/// are random per process, which is all that is needed: two shells shall not meet by accident.
fn random_session() -> u32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let number = RandomState::new().build_hasher().finish();
    // The upper half; keepers count from 1.
    (number as u32) | 0x8000_0000
}
