//! A scripted guest: speaks the protocol over a byte stream as an overlay does, for tests that need
//! no machine. It keeps sessions apart, honours credit, and knows a few files, threads and extensions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use uio_protocol::error::{FileError, RpcError};
use uio_protocol::event::Event;
use uio_protocol::fault::{Attempt, Cause, Denial, FaultReport, Outcome};
use uio_protocol::frame::{Channel, DELIMITER, Decoder, Frame, Header, Kind, encode};
use uio_protocol::inspect::{
    Access, BuildId, Export, ExtensionId, ExtensionInfo, FileInfo, FileKind, HeapSummary, Info, Isolation,
    IsolationBackend, LogLevel, LogLine, Placed, Region, Registers, ThreadId, ThreadInfo, ThreadState,
};
use uio_protocol::limits::{EVENT_CREDIT_BYTES, SESSIONS_MAX};
use uio_protocol::rpc::{Reply, Request, Response, RunId};
use uio_protocol::{GuestAddress, PROTOCOL_HASH};

/// First address of the guest's readable and writable memory.
pub(crate) const MEMORY: u64 = 0xffff_ffff_8007_2000;

/// What the guest did, for assertions once it has ended.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Sessions that said `Hello`, in order.
    pub opened: Vec<u32>,
    /// Sessions that said `Bye` or were ended by one.
    pub closed: BTreeSet<u32>,
    /// Frames that could not be decoded.
    pub bad_frames: u64,
    /// Output bytes dropped for lack of credit.
    pub dropped_bytes: u64,
    /// Exit code of `PowerOff`.
    pub powered_off: Option<u8>,
}

/// Serves one connection on a socket at `path`, as QEMU's console does.
pub(crate) fn serve_socket(path: &Path) -> JoinHandle<Report> {
    let listener = UnixListener::bind(path).expect("bind the console");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept on the console");
        Guest::default().serve(stream)
    })
}

/// Serves one end of a connection.
pub(crate) fn serve(stream: UnixStream) -> JoinHandle<Report> {
    std::thread::spawn(move || Guest::default().serve(stream))
}

struct Session {
    credit: u32,
    follows_log: bool,
}

#[derive(Default)]
struct Guest {
    report: Report,
    sessions: HashMap<u32, Session>,
    files: BTreeMap<String, Vec<u8>>,
    memory: Vec<u8>,
    /// Run and session of what runs until it is interrupted.
    running: BTreeMap<u32, u32>,
    next_run: u32,
    extensions: BTreeMap<u32, ExtensionInfo>,
    /// Deaf after this: answers nothing any more.
    silent: bool,
}

impl Guest {
    fn serve(mut self, mut stream: UnixStream) -> Report {
        self.memory = (0..=255).cycle().take(4096).collect();
        self.files.insert("/etc/motd".into(), b"Welcome to count.\n".to_vec());
        for (id, name) in [(1, "hello"), (2, "loop"), (3, "wild"), (4, "chatty"), (5, "mute")] {
            self.extensions.insert(id, extension(id, name));
        }
        let mut decoder = Decoder::new();
        let mut buffer = [0; 4096];
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return self.report,
                Ok(count) => count,
            };
            let mut input = &buffer[..count];
            while let Some(frame) = decoder.next_frame(&mut input) {
                match frame {
                    Ok(frame) => self.handle(&frame, &mut stream),
                    Err(_) => self.report.bad_frames += 1,
                }
                if self.report.powered_off.is_some() {
                    return self.report;
                }
            }
        }
    }

    fn handle(&mut self, frame: &Frame, stream: &mut UnixStream) {
        let session = frame.header.session;
        let mut events = Vec::new();
        let response = match frame.message::<Request>() {
            Ok(_) if self.silent => return,
            Ok(request) => self.answer(session, request, &mut events),
            Err(_) => Err(RpcError::Malformed),
        };
        let header = Header { kind: Kind::Response, ..frame.header };
        let mut bytes = encode(header, &response).expect("the answer fits a frame");
        for (to, event) in events {
            let header = Header { channel: Channel::Events, kind: Kind::Notice, session: to, id: 0 };
            let event = encode(header, &event).expect("the event fits a frame");
            // Like a console that was cut in the middle once: readers have to cope with empty frames.
            bytes.push(DELIMITER);
            bytes.extend(event);
        }
        let _ = stream.write_all(&bytes);
    }

    fn answer(&mut self, session: u32, request: Request, events: &mut Vec<(u32, Event)>) -> Response {
        if let Request::Hello { protocol_hash } = request {
            if protocol_hash != PROTOCOL_HASH {
                return Err(RpcError::ProtocolMismatch { guest: PROTOCOL_HASH });
            }
            if self.sessions.len() >= SESSIONS_MAX {
                return Err(RpcError::TooManySessions);
            }
            self.report.opened.push(session);
            self.sessions.insert(session, Session { credit: EVENT_CREDIT_BYTES, follows_log: false });
            return Ok(Reply::Welcome { build_id: BuildId([0x3f; 20]), image: "count".into() });
        }
        if !self.sessions.contains_key(&session) {
            return Err(RpcError::NoSession);
        }
        match request {
            Request::Hello { .. } => Err(RpcError::Malformed),
            Request::Bye => {
                self.sessions.remove(&session);
                self.report.closed.insert(session);
                self.running.retain(|_, owner| *owner != session);
                Ok(Reply::Done)
            }
            Request::Ping { marker } => Ok(Reply::Pong { marker }),
            Request::Info => Ok(Reply::Info(self.info())),
            Request::Threads { skip } => {
                let (threads, more) = page(&threads(), skip);
                Ok(Reply::Threads { threads, more })
            }
            Request::Regions { skip } => {
                let (regions, more) = page(&[region()], skip);
                Ok(Reply::Regions { regions, more })
            }
            Request::Heap => Ok(Reply::Heap(HeapSummary {
                reserved_bytes: 1 << 20,
                used_bytes: 217_088,
                used_blocks: 1204,
                largest_free_bytes: 830_464,
                allocations: 18_220,
            })),
            Request::Peek { address, length } => {
                let range = self.range(address, length as usize, false)?;
                Ok(Reply::Bytes(self.memory[range].to_vec()))
            }
            Request::Poke { address, bytes } => {
                let range = self.range(address, bytes.len(), true)?;
                self.memory[range].copy_from_slice(&bytes);
                Ok(Reply::Done)
            }
            Request::Log { from } => {
                Ok(Reply::Log(log().into_iter().filter(|line| line.sequence >= from).take(2).collect()))
            }
            Request::FollowLog(on) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.follows_log = on;
                }
                if on {
                    let text = "a line for followers".into();
                    let line = LogLine { sequence: 9, time_ns: 5_000_000_000, level: LogLevel::Error, text };
                    events.push((session, Event::Log(vec![line])));
                }
                Ok(Reply::Done)
            }
            Request::Credit { bytes } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.credit = (session.credit + bytes).min(EVENT_CREDIT_BYTES);
                }
                Ok(Reply::Done)
            }
            Request::ListDirectory { path, skip } => self.list(&path, skip as usize),
            Request::FileStatus { path } => self.status(&path),
            Request::ReadFile { path, offset, length } => {
                let file = self.files.get(&path).ok_or_else(|| not_found(&path))?;
                let start = (offset as usize).min(file.len());
                let end = (start + length as usize).min(file.len());
                Ok(Reply::Bytes(file[start..end].to_vec()))
            }
            Request::WriteFile { path, offset, truncate, bytes } => {
                let file = self.files.entry(path).or_default();
                let start = offset as usize;
                if truncate {
                    file.truncate(start);
                }
                file.resize(file.len().max(start + bytes.len()), 0);
                file[start..start + bytes.len()].copy_from_slice(&bytes);
                Ok(Reply::Done)
            }
            Request::RemoveFile { path } => {
                self.files.remove(&path).map(|_| Reply::Done).ok_or_else(|| not_found(&path))
            }
            Request::Extensions { skip } => {
                let all: Vec<ExtensionInfo> = self.extensions.values().cloned().collect();
                let (extensions, more) = page(&all, skip);
                Ok(Reply::Extensions { extensions, more })
            }
            Request::Exports { skip } => {
                let (exports, more) = page(&[export()], skip);
                Ok(Reply::Exports { exports, more })
            }
            Request::Run { extension, arguments, .. } => self.run(session, extension, &arguments, events),
            Request::Interrupt(run) => match self.running.remove(&run.0) {
                Some(owner) => {
                    events.push((owner, exited(run, ended(Cause::Interrupted, ExtensionId(2)))));
                    Ok(Reply::Done)
                }
                None => Err(RpcError::NoRun(run.0)),
            },
            Request::Kill(extension) => match self.extensions.get(&extension.0) {
                Some(_) => Ok(Reply::Done),
                None => Err(RpcError::NoExtension(extension)),
            },
            Request::Unload(extension) => {
                if extension.0 == 2 {
                    return Err(RpcError::InUse { runs: 1, used_by: vec!["wild".into()] });
                }
                let gone = self.extensions.remove(&extension.0);
                gone.map(|_| Reply::Done).ok_or(RpcError::NoExtension(extension))
            }
            Request::PowerOff { exit_code } => {
                self.report.powered_off = Some(exit_code);
                Ok(Reply::Done)
            }
            other => Err(RpcError::Unsupported { what: format!("{other:?}").chars().take(20).collect() }),
        }
    }

    fn run(
        &mut self,
        session: u32,
        extension: ExtensionId,
        arguments: &[String],
        events: &mut Vec<(u32, Event)>,
    ) -> Response {
        let name = self.extensions.get(&extension.0).ok_or(RpcError::NoExtension(extension))?.name.clone();
        self.next_run += 1;
        let run = RunId(self.next_run);
        let output = |text: String| Event::Output { run, bytes: text.into_bytes() };
        match name.as_str() {
            "hello" => {
                events.push((session, output(format!("Hello, {}!\n", arguments[1..].join(" ")))));
                events.push((session, exited(run, Outcome::Returned(0))));
            }
            "loop" => {
                self.running.insert(run.0, session);
            }
            "wild" => {
                let cause = Cause::Access {
                    address: GuestAddress(MEMORY),
                    attempt: Attempt::Write,
                    denial: Denial::Key(1),
                    owner: Some("application data".into()),
                };
                events.push((session, output("about to write\n".into())));
                events.push((session, exited(run, ended(cause, extension))));
            }
            "chatty" => {
                let mut dropped = 0;
                for number in 0..400 {
                    let event = output(format!("{number:04} {}\n", "x".repeat(2000)));
                    let cost = postcard::to_allocvec(&event).expect("serializes").len() as u32;
                    let credit = self.sessions.get_mut(&session).map(|session| &mut session.credit);
                    match credit {
                        Some(credit) if *credit >= cost => {
                            *credit -= cost;
                            events.push((session, event));
                        }
                        _ => dropped += 2006,
                    }
                }
                self.report.dropped_bytes += dropped;
                let outcome = Outcome::Returned(3);
                let event = Event::Exited { run, outcome, cpu_time_ns: 1, dropped_bytes: dropped };
                events.push((session, event));
            }
            "mute" => self.silent = true,
            _ => return Err(RpcError::NoEntry),
        }
        Ok(Reply::Started(run))
    }

    fn info(&self) -> Info {
        Info {
            image: "count".into(),
            build_id: BuildId([0x3f; 20]),
            uptime_ns: 12_410_000_000,
            memory_bytes: 256 << 20,
            memory_free_bytes: 231 << 20,
            isolation: IsolationBackend::Pku,
            machine: "q35".into(),
            clock: "tsc".into(),
            tsc_hertz: 2_000_000_000,
            command_line: String::new(),
            devices: vec!["console".into(), "rng".into()],
            sessions: self.sessions.len() as u32,
            extensions: self.extensions.len() as u32,
            bad_frames: self.report.bad_frames,
        }
    }

    fn range(
        &self,
        address: GuestAddress,
        length: usize,
        write: bool,
    ) -> Result<std::ops::Range<usize>, RpcError> {
        let start = address.0.wrapping_sub(MEMORY) as usize;
        let end = start.checked_add(length).filter(|end| *end <= self.memory.len());
        end.map(|end| start..end).ok_or(RpcError::BadAddress { address, write })
    }

    fn list(&self, path: &str, skip: usize) -> Response {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let mut entries: BTreeMap<&str, FileInfo> = BTreeMap::new();
        for (name, contents) in &self.files {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            let (name, kind, size) = match rest.split_once('/') {
                Some((folder, _)) => (folder, FileKind::Directory, 0),
                None => (rest, FileKind::Regular, contents.len() as u64),
            };
            entries.insert(name, FileInfo { name: name.into(), kind, size });
        }
        if entries.is_empty() && path != "/" {
            return Err(not_found(path));
        }
        // One entry a page, so that paging is tested.
        let more = entries.len() > skip + 1;
        Ok(Reply::Directory { entries: entries.into_values().skip(skip).take(1).collect(), more })
    }

    fn status(&self, path: &str) -> Response {
        let name: String = path.rsplit('/').next().unwrap_or_default().into();
        if let Some(file) = self.files.get(path) {
            return Ok(Reply::FileStatus(FileInfo {
                name,
                kind: FileKind::Regular,
                size: file.len() as u64,
            }));
        }
        let prefix = format!("{}/", path.trim_end_matches('/'));
        if path == "/" || self.files.keys().any(|file| file.starts_with(&prefix)) {
            return Ok(Reply::FileStatus(FileInfo { name, kind: FileKind::Directory, size: 0 }));
        }
        Err(not_found(path))
    }
}

/// Two items a page, so that paging is tested.
fn page<T: Clone>(all: &[T], skip: u32) -> (Vec<T>, bool) {
    let rest = all.get(skip as usize..).unwrap_or_default();
    (rest.iter().take(2).cloned().collect(), rest.len() > 2)
}

fn region() -> Region {
    Region {
        start: GuestAddress(MEMORY),
        size: 4096,
        access: Access { write: true, execute: false },
        key: 1,
        owner: "application data".into(),
    }
}

fn export() -> Export {
    Export {
        name: "uio_print".into(),
        prototype: "void uio_print(const char *text)".into(),
        address: GuestAddress(0xffff_ffff_8000_1000),
    }
}

fn not_found(path: &str) -> RpcError {
    RpcError::File { path: path.into(), reason: FileError::NotFound }
}

fn exited(run: RunId, outcome: Outcome) -> Event {
    Event::Exited { run, outcome, cpu_time_ns: 1000, dropped_bytes: 0 }
}

fn ended(cause: Cause, extension: ExtensionId) -> Outcome {
    let registers = Registers { rip: 0xffff_ffff_c000_0010, ..Registers::default() };
    let extension = Some(extension);
    Outcome::Ended(Box::new(FaultReport { extension, cause, registers, stack: Vec::new(), gate: None }))
}

fn extension(id: u32, name: &str) -> ExtensionInfo {
    let start = GuestAddress(0xffff_ffff_c000_0000 + u64::from(id) * 0x1_0000);
    ExtensionInfo {
        id: ExtensionId(id),
        name: name.into(),
        isolation: Isolation::Mpk,
        key: 2 + id as u8,
        sections: vec![Placed { name: ".text".into(), start, size: 128 }],
        runs: 0,
        used_by: Vec::new(),
        resident: false,
        memory_bytes: 28 << 10,
        faults: 0,
    }
}

fn threads() -> Vec<ThreadInfo> {
    let thread = |id, name: &str, state, priority, cpu_time_ns| ThreadInfo {
        id: ThreadId(id),
        name: name.into(),
        state,
        priority,
        cpu_time_ns,
        stack_bytes: 65_536,
        stack_margin_bytes: 61_440,
        extension: None,
    };
    vec![
        thread(1, "idle", ThreadState::Ready, 0, 11_800_000_000),
        thread(2, "app", ThreadState::Sleeping { until_ns: 12_410_600_000 }, 2, 520_100_000),
        thread(3, "overlay", ThreadState::Running, 3, 2_400_000),
        thread(4, "9p", ThreadState::Waiting { reason: "9p reply".into() }, 4, 0),
    ]
}

fn log() -> Vec<LogLine> {
    let line = |sequence, time_ns, level, text: &str| LogLine { sequence, time_ns, level, text: text.into() };
    vec![
        line(3, 0, LogLevel::Info, "uio count 0.1.0"),
        line(4, 12_000_000, LogLevel::Info, "virtio: console, rng"),
        line(5, 4_310_000_000, LogLevel::Warn, "extension loop ended"),
    ]
}
