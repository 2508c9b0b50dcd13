//! A service in this process, and a client that can also misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_json::Value;
use uio_verify::engine::Engines;
use uio_verify::service::{Config, Limits, Service, ServiceError, Stopper};
use uio_verify::worker::{Job, Outcome, Runner};
use uio_verify::{Judgement, Loadable, ProgramReport, Report, Verification};

/// A running service; it stops when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stopper: Stopper,
    thread: Option<JoinHandle<Result<(), ServiceError>>>,
}

pub(crate) fn config(limits: Limits) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        engines: Engines::default(),
        clients: None,
        limits,
        log: false,
    }
}

pub(crate) fn start(config: Config, key: Option<SigningKey>, runner: impl Runner + 'static) -> Running {
    let service = Service::bind(config, key, Box::new(runner)).expect("a free port");
    let address = service.address();
    let stopper = service.stopper();
    Running { address, stopper, thread: Some(std::thread::spawn(|| service.run())) }
}

impl Running {
    /// Waits for the end of a service that was told to stop.
    pub(crate) fn join(mut self) {
        self.thread.take().expect("once").join().expect("no panic").expect("it ran");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Code of the error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a code").to_owned()
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

/// Reads one answer.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).expect("an answer");
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("a number"));
    while bytes.len() < end + length {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).expect("a body");
        assert_ne!(count, 0, "closed within the body");
        bytes.extend_from_slice(&piece[..count]);
    }
    assert_eq!(bytes.len(), end + length, "more than one answer");
    let status = head[9..12].parse().expect("a status");
    Answer { status, head, body: String::from_utf8(bytes[end..].to_vec()).expect("text") }
}

/// One request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = connect(address);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a head");
    // A refusal may come before the body is through.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", &[])
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &[u8]) -> Answer {
    ask(address, "POST", path, "", body)
}

/// Value of a metric by its whole name.
pub(crate) fn metric(address: SocketAddr, name: &str) -> f64 {
    let text = get(address, "/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// A runner that waits at a gate, and counts.
#[derive(Clone, Default)]
pub(crate) struct Gated(Arc<GatedState>);

#[derive(Default)]
struct GatedState {
    open: Mutex<bool>,
    opened: Condvar,
    runs: AtomicUsize,
}

impl Gated {
    /// Its gate is open.
    pub(crate) fn open() -> Self {
        let gated = Self::default();
        gated.release();
        gated
    }

    pub(crate) fn release(&self) {
        *self.0.open.lock().expect("no panic") = true;
        self.0.opened.notify_all();
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// Waits until this many jobs have been begun.
    pub(crate) fn wait_for_runs(&self, count: usize) {
        for _ in 0..1000 {
            if self.runs() >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} of {count} jobs began", self.runs());
    }
}

impl Runner for Gated {
    fn run(&self, job: &Job, _deadline: Duration) -> Outcome {
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        let mut open = self.0.open.lock().expect("no panic");
        while !*open {
            open = self.0.opened.wait(open).expect("no panic");
        }
        drop(open);
        Ok(verification(job))
    }
}

/// Accepts whatever does not begin with `bad`, without looking.
pub(crate) fn verification(job: &Job) -> Verification {
    use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};
    let accepted = !job.file.starts_with(b"bad");
    let object = ObjectImage {
        name: job.name.clone(),
        maps: Vec::new(),
        programs: vec![ProgramImage {
            name: "main".into(),
            kind: ProgramKind::Packet,
            target: String::new(),
            slots: vec![0x0000_0002_0000_00b7, 0x95],
            functions: vec![0],
        }],
    };
    let judgement = Judgement {
        engine: uio_verify::EngineName::Uio,
        version: "0.1.0".into(),
        accepted,
        micros: 1,
        proof_bytes: None,
        stack_bytes: None,
        fuel_jumps: Vec::new(),
        rejected: None,
        states: Vec::new(),
    };
    let program = ProgramReport {
        name: "main".into(),
        kind: "packet".into(),
        target: String::new(),
        instructions: 2,
        accepted,
        disagreement: false,
        judgements: vec![judgement],
    };
    Verification {
        report: Report {
            name: job.name.clone(),
            accepted,
            digest: None,
            map_schema: String::new(),
            instructions: 2,
            map_bytes: 0,
            programs: vec![program],
        },
        loadable: accepted.then(|| Loadable {
            object: postcard::to_allocvec(&object).expect("an object encodes"),
            proofs: vec![vec![1, 2, 3]],
            stack_bytes: 0,
        }),
    }
}

/// TEST ONLY. Everybody knows this key.
pub(crate) fn test_only_key() -> SigningKey {
    SigningKey::from_bytes(b"uio TEST ONLY key, never trust!!")
}
