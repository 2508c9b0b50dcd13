//! The shells of the test machine: they write frames and read frames, as over the console.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;

use uio_overlay::Overlay;
use uio_overlay::platform::Clock;
use uio_protocol::PROTOCOL_HASH;
use uio_protocol::error::RpcError;
use uio_protocol::event::Event;
use uio_protocol::fault::Outcome;
use uio_protocol::frame::{self, Channel, Decoder, Header, Kind};
use uio_protocol::image::ExtensionImage;
use uio_protocol::inspect::{ExtensionInfo, Isolation};
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::rpc::{Reply, Request, Response, RunId};

use super::machine::{Machine, build_id};

/// Longest that anything here takes.
const PATIENCE_NS: u64 = 20_000_000_000;

pub(crate) struct Shell {
    pub(crate) machine: &'static Machine,
    pub(crate) overlay: Overlay,
    decoder: Decoder,
    next_id: u32,
    responses: VecDeque<(u32, u32, Response)>,
    pub(crate) events: VecDeque<(u32, Event)>,
    /// Whether events are paid back as they come.
    pub(crate) pays: bool,
}

impl Shell {
    pub(crate) fn new(machine: &'static Machine, overlay: Overlay) -> Self {
        let (responses, events) = (VecDeque::new(), VecDeque::new());
        Self { machine, overlay, decoder: Decoder::new(), next_id: 1, responses, events, pays: true }
    }

    /// Puts bytes on the link.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.machine.state().input.extend(bytes);
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, session: u32, request: &Request) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let header = Header { channel: Channel::Rpc, kind: Kind::Request, session, id };
        let bytes = frame::encode(header, request).unwrap();
        self.write(&bytes);
        id
    }

    /// Lets the overlay do what there is to do for this long.
    pub(crate) fn step(&mut self, milliseconds: u64) {
        self.overlay.step(Some(self.machine.now_ns() + milliseconds * 1_000_000));
        let bytes = std::mem::take(&mut self.machine.state().output);
        let mut input = &bytes[..];
        while let Some(frame) = self.decoder.next_frame(&mut input) {
            let frame = frame.expect("the overlay sends whole frames");
            let Header { channel, kind, session, id } = frame.header;
            match (channel, kind) {
                (Channel::Rpc, Kind::Response) => {
                    self.responses.push_back((session, id, frame.message().unwrap()));
                }
                (Channel::Events, Kind::Notice) => {
                    self.events.push_back((session, frame.message().unwrap()));
                    if self.pays {
                        self.send(session, &Request::Credit { bytes: frame.body.len() as u32 });
                    }
                }
                other => panic!("unexpected frame {other:?}"),
            }
        }
    }

    /// Runs the overlay until `found` finds something.
    pub(crate) fn wait<T>(&mut self, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = self.machine.now_ns() + PATIENCE_NS;
        loop {
            if let Some(value) = found(self) {
                return value;
            }
            assert!(self.machine.now_ns() < deadline, "waited too long; events: {:?}", self.events);
            self.step(20);
        }
    }

    /// The response to a request.
    pub(crate) fn response(&mut self, session: u32, id: u32) -> Response {
        self.wait(|shell| {
            let index =
                shell.responses.iter().position(|(owner, number, _)| (*owner, *number) == (session, id))?;
            shell.responses.remove(index).map(|(_, _, response)| response)
        })
    }

    pub(crate) fn try_response(&mut self, session: u32, id: u32) -> Option<Response> {
        let found = self.responses.iter().find(|(owner, number, _)| (*owner, *number) == (session, id));
        found.map(|(_, _, response)| response.clone())
    }

    pub(crate) fn ask(&mut self, session: u32, request: &Request) -> Response {
        let id = self.send(session, request);
        self.response(session, id)
    }

    pub(crate) fn hello(&mut self, session: u32) {
        let reply = self.ask(session, &Request::Hello { protocol_hash: PROTOCOL_HASH });
        assert!(matches!(reply, Ok(Reply::Welcome { .. })), "{reply:?}");
    }

    pub(crate) fn upload(&mut self, session: u32, bytes: &[u8]) -> u32 {
        let Reply::Upload(upload) =
            self.ask(session, &Request::UploadBegin { bytes: bytes.len() as u32 }).unwrap()
        else {
            panic!("no upload")
        };
        for (index, piece) in bytes.chunks(CHUNK_BYTES_MAX).enumerate() {
            let offset = (index * CHUNK_BYTES_MAX) as u32;
            let put = Request::UploadPut { upload, offset, bytes: piece.to_vec() };
            assert_eq!(self.ask(session, &put), Ok(Reply::Done));
        }
        upload
    }

    pub(crate) fn begin_load(&mut self, session: u32, image: &ExtensionImage, isolation: Isolation) -> u32 {
        let bytes = postcard::to_allocvec(image).unwrap();
        let upload = self.upload(session, &bytes);
        self.send(session, &Request::Load { upload, isolation, build_id: build_id() })
    }

    pub(crate) fn try_load(
        &mut self,
        session: u32,
        image: &ExtensionImage,
        isolation: Isolation,
    ) -> Result<ExtensionInfo, RpcError> {
        let id = self.begin_load(session, image, isolation);
        match self.response(session, id)? {
            Reply::Loaded(info) => Ok(info),
            other => panic!("{other:?}"),
        }
    }

    /// Loads C source in an own domain.
    pub(crate) fn load(&mut self, session: u32, name: &str, source: &str) -> ExtensionInfo {
        self.try_load(session, &image(name, source), Isolation::Mpk).unwrap()
    }

    pub(crate) fn start(&mut self, session: u32, request: &Request) -> RunId {
        match self.ask(session, request) {
            Ok(Reply::Started(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    /// Runs `main` to its end: what it printed and how it ended.
    pub(crate) fn run(
        &mut self,
        session: u32,
        extension: &ExtensionInfo,
        arguments: &[&str],
    ) -> (String, Outcome) {
        let run = self.start(session, &run_request(extension, arguments));
        self.finish(session, run)
    }

    pub(crate) fn finish(&mut self, session: u32, run: RunId) -> (String, Outcome) {
        let outcome = self.wait(|shell| {
            shell.events.iter().find_map(|(owner, event)| match event {
                Event::Exited { run: ended, outcome, .. } if *ended == run && *owner == session => {
                    Some(outcome.clone())
                }
                _ => None,
            })
        });
        (self.output(session, run), outcome)
    }

    /// What a run has printed so far.
    pub(crate) fn output(&self, session: u32, run: RunId) -> String {
        let pieces = self.events.iter().filter_map(|(owner, event)| match event {
            Event::Output { run: printed, bytes } if *printed == run && *owner == session => Some(&bytes[..]),
            _ => None,
        });
        String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap()
    }

    pub(crate) fn pages(&self) -> u32 {
        self.machine.state().space.pages()
    }
}

pub(crate) fn run_request(extension: &ExtensionInfo, arguments: &[&str]) -> Request {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Request::Run { extension: extension.id, arguments, budget_ms: 1000 }
}

/// What C sources of tests begin with.
const HEADER: &str = "
typedef unsigned long size_t; typedef unsigned long uint64_t; typedef unsigned int uint32_t; typedef long int64_t;
void uio_print(const char *, size_t); void uio_log(const char *, size_t);
_Noreturn void uio_abort(const char *, size_t);
uint64_t uio_time_ns(void); void uio_sleep_ns(uint64_t); void uio_yield(void); uint32_t uio_thread_id(void);
void *uio_alloc(size_t, size_t); void uio_free(void *);
int uio_write(void *, const void *, size_t); int uio_read(void *, const void *, size_t);
struct uio_thread { uint64_t cpu_time_ns, stack_pointer; uint32_t id, extension, stack_bytes, stack_margin_bytes, state, priority; char name[32]; };
struct uio_region { uint64_t start, bytes; uint32_t access, key; char owner[32]; };
struct uio_block { uint64_t address, bytes; };
size_t uio_threads(struct uio_thread *, size_t); size_t uio_regions(struct uio_region *, size_t);
size_t uio_heap_blocks(uint64_t *, struct uio_block *, size_t);
int64_t uio_file_size(const char *); int64_t uio_file_read(const char *, uint64_t, void *, size_t);
int64_t uio_file_write(const char *, uint64_t, const void *, size_t);
size_t strlen(const char *);
static void say(const char *s) { uio_print(s, strlen(s)); }
static void say_number(long n) {
    char text[24]; int at = 24; unsigned long rest = n < 0 ? -(unsigned long)n : (unsigned long)n;
    do { text[--at] = '0' + rest % 10; rest /= 10; } while (rest);
    if (n < 0) text[--at] = '-';
    uio_print(text + at, 24 - at);
}
";

/// Compiles C into a relocatable object.
pub(crate) fn compile(name: &str, source: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let unique = format!("{name}-{}-{:?}", std::process::id(), std::thread::current().id());
    let (from, to) = (folder.join(format!("{unique}.c")), folder.join(format!("{unique}.o")));
    std::fs::write(&from, format!("{HEADER}\n{source}")).unwrap();
    let flags = [
        "-c",
        "-O1",
        "-ffreestanding",
        "-fno-pic",
        "-fno-pie",
        "-mno-red-zone",
        "-fno-stack-protector",
        "-w",
    ];
    let status = Command::new("gcc").args(flags).arg("-o").arg(&to).arg(&from).status().expect("gcc runs");
    assert!(status.success(), "{name} does not compile");
    std::fs::read(&to).unwrap()
}

/// Compiles C into an extension image, without hints.
pub(crate) fn image(name: &str, source: &str) -> ExtensionImage {
    uio_objects::parse(&compile(name, source), name).unwrap().image
}
