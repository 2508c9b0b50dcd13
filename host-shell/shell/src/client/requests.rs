//! Requests with their typed answers.

use std::time::Duration;

use uio_protocol::GuestAddress;
use uio_protocol::inspect::{
    BuildId, Export, ExtensionId, ExtensionInfo, HeapSummary, Info, Isolation, LogLine, Region, ThreadId,
    ThreadInfo, ThreadSnapshot,
};
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::maps::{MapEntry, MapId, MapInfo};
use uio_protocol::programs::{BpfFeatures, ProgramId, ProgramInfo, ProgramPart};
use uio_protocol::rpc::{Reply, Request, RunId};

use super::{Client, ClientError};

/// How long linking may take: constructors and `init` run meanwhile, and have a budget of their own.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

macro_rules! expect {
    ($client:expr, $request:expr, $reply:pat => $value:expr) => {
        match $client.request(&$request)? {
            $reply => Ok($value),
            other => Err(ClientError::unexpected(stringify!($request), &other)),
        }
    };
}

/// Asks for one page of a list after the other, until the guest says that there is no more, or sends an empty page.
macro_rules! pages {
    ($client:expr, $request:ident, $reply:ident { $items:ident }) => {{
        let mut all = Vec::new();
        loop {
            let request = Request::$request { skip: all.len() as u32 };
            let (items, more) =
                expect!($client, request, Reply::$reply { $items, more } => ($items, more))?;
            let empty = items.is_empty();
            all.extend(items);
            if !more || empty {
                break Ok(all);
            }
        }
    }};
}

/// # Errors
///
/// Each method: [`ClientError`] as [`Client::request`] says.
impl Client {
    /// Identity and state of the guest.
    pub fn info(&self) -> Result<Info, ClientError> {
        expect!(self, Request::Info, Reply::Info(info) => info)
    }

    /// Measures the link: the guest sends `marker` back.
    pub fn ping(&self, marker: u64) -> Result<u64, ClientError> {
        expect!(self, Request::Ping { marker }, Reply::Pong { marker } => marker)
    }

    /// All threads.
    pub fn threads(&self) -> Result<Vec<ThreadInfo>, ClientError> {
        pages!(self, Threads, Threads { threads })
    }

    /// One thread with registers and stack.
    pub fn thread_snapshot(&self, thread: ThreadId) -> Result<ThreadSnapshot, ClientError> {
        expect!(self, Request::ThreadSnapshot(thread), Reply::ThreadSnapshot(snapshot) => snapshot)
    }

    /// The address space.
    pub fn regions(&self) -> Result<Vec<Region>, ClientError> {
        pages!(self, Regions, Regions { regions })
    }

    /// The heap.
    pub fn heap(&self) -> Result<HeapSummary, ClientError> {
        expect!(self, Request::Heap, Reply::Heap(heap) => heap)
    }

    /// Reads `length` bytes of memory, in as many requests as it takes.
    pub fn peek(&self, address: GuestAddress, length: usize) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::with_capacity(length.min(CHUNK_BYTES_MAX));
        while bytes.len() < length {
            let piece = (length - bytes.len()).min(CHUNK_BYTES_MAX);
            let from = GuestAddress(address.0.wrapping_add(bytes.len() as u64));
            let request = Request::Peek { address: from, length: piece as u32 };
            match self.request(&request)? {
                Reply::Bytes(part) if part.len() == piece => bytes.extend(part),
                other => return Err(ClientError::unexpected("Peek", &other)),
            }
        }
        Ok(bytes)
    }

    /// Writes memory.
    pub fn poke(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), ClientError> {
        let mut at = address.0;
        for piece in bytes.chunks(CHUNK_BYTES_MAX) {
            self.command(&Request::Poke { address: GuestAddress(at), bytes: piece.to_vec() })?;
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Lines of the log from sequence number `from` to the newest.
    pub fn log_from(&self, from: u64) -> Result<Vec<LogLine>, ClientError> {
        let mut lines: Vec<LogLine> = Vec::new();
        loop {
            let next = lines.last().map_or(from, |line| line.sequence + 1);
            let part = expect!(self, Request::Log { from: next }, Reply::Log(part) => part)?;
            // A guest that repeats itself would keep us here for ever.
            if part.last().is_none_or(|line| line.sequence < next) {
                return Ok(lines);
            }
            lines.extend(part);
        }
    }

    /// Turns log events of this session on or off.
    pub fn follow_log(&self, on: bool) -> Result<(), ClientError> {
        self.command(&Request::FollowLog(on))
    }

    /// Names that extensions may link to.
    pub fn exports(&self) -> Result<Vec<Export>, ClientError> {
        pages!(self, Exports, Exports { exports })
    }

    /// Uploads a serialized image in pieces; gives the upload's number.
    pub fn upload(&self, image: &[u8]) -> Result<u32, ClientError> {
        let bytes = u32::try_from(image.len()).unwrap_or(u32::MAX);
        let upload = expect!(self, Request::UploadBegin { bytes }, Reply::Upload(upload) => upload)?;
        for (index, piece) in image.chunks(CHUNK_BYTES_MAX).enumerate() {
            let offset = (index * CHUNK_BYTES_MAX) as u32;
            self.command(&Request::UploadPut { upload, offset, bytes: piece.to_vec() })?;
        }
        Ok(upload)
    }

    /// Links what was uploaded.
    pub fn load(
        &self,
        upload: u32,
        isolation: Isolation,
        build_id: BuildId,
    ) -> Result<ExtensionInfo, ClientError> {
        match self.request_within(&Request::Load { upload, isolation, build_id }, LOAD_TIMEOUT)? {
            Reply::Loaded(extension) => Ok(extension),
            other => Err(ClientError::unexpected("Load", &other)),
        }
    }

    /// Loaded extensions.
    pub fn extensions(&self) -> Result<Vec<ExtensionInfo>, ClientError> {
        pages!(self, Extensions, Extensions { extensions })
    }

    /// Starts `main` of an extension.
    pub fn run(
        &self,
        extension: ExtensionId,
        arguments: Vec<String>,
        budget_ms: u32,
    ) -> Result<RunId, ClientError> {
        expect!(self, Request::Run { extension, arguments, budget_ms },
            Reply::Started(run) => run)
    }

    /// Starts a function.
    pub fn call(
        &self,
        function: GuestAddress,
        arguments: Vec<u64>,
        budget_ms: u32,
    ) -> Result<RunId, ClientError> {
        expect!(self, Request::Call { function, arguments, budget_ms },
            Reply::Started(run) => run)
    }

    /// Ends a run.
    pub fn interrupt(&self, run: RunId) -> Result<(), ClientError> {
        self.command(&Request::Interrupt(run))
    }

    /// Ends every run of an extension.
    pub fn kill(&self, extension: ExtensionId) -> Result<(), ClientError> {
        self.command(&Request::Kill(extension))
    }

    /// Removes an extension.
    pub fn unload(&self, extension: ExtensionId) -> Result<(), ClientError> {
        match self.request_within(&Request::Unload(extension), LOAD_TIMEOUT)? {
            Reply::Done => Ok(()),
            other => Err(ClientError::unexpected("Unload", &other)),
        }
    }

    /// What the guest offers to eBPF programs.
    pub fn bpf_features(&self) -> Result<BpfFeatures, ClientError> {
        expect!(self, Request::BpfFeatures, Reply::BpfFeatures(features) => features)
    }

    /// Loads the programs of an uploaded package.
    pub fn load_programs(
        &self,
        upload: u32,
        name: Option<String>,
        interpret: bool,
        rollback: bool,
    ) -> Result<Vec<ProgramInfo>, ClientError> {
        let request = Request::LoadPrograms { upload, name, interpret, rollback };
        match self.request_within(&request, LOAD_TIMEOUT)? {
            Reply::Programs { programs, .. } => Ok(programs),
            other => Err(ClientError::unexpected("LoadPrograms", &other)),
        }
    }

    /// Loaded programs.
    pub fn programs(&self) -> Result<Vec<ProgramInfo>, ClientError> {
        pages!(self, Programs, Programs { programs })
    }

    /// A part of what the guest keeps of a program.
    pub fn program_dump(&self, program: ProgramId, part: ProgramPart) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        loop {
            let request = Request::ProgramDump { program, part, offset: all.len() as u32 };
            let bytes = expect!(self, request, Reply::Bytes(bytes) => bytes)?;
            if bytes.is_empty() {
                return Ok(all);
            }
            all.extend(bytes);
        }
    }

    /// Starts a test run.
    pub fn test_program(
        &self,
        program: ProgramId,
        data: Vec<u8>,
        repeat: u32,
        budget_ms: u32,
    ) -> Result<RunId, ClientError> {
        expect!(self, Request::TestProgram { program, data, repeat, budget_ms },
            Reply::Started(run) => run)
    }

    /// Starts a program of an uploaded package that is removed afterwards.
    pub fn run_once(
        &self,
        upload: u32,
        program: String,
        interpret: bool,
        data: Vec<u8>,
        budget_ms: u32,
    ) -> Result<RunId, ClientError> {
        let request = Request::RunOnce { upload, program, interpret, rollback: false, data, budget_ms };
        match self.request_within(&request, LOAD_TIMEOUT)? {
            Reply::Started(run) => Ok(run),
            other => Err(ClientError::unexpected("RunOnce", &other)),
        }
    }

    /// Removes a program.
    pub fn unload_program(&self, program: ProgramId) -> Result<(), ClientError> {
        self.command(&Request::UnloadProgram(program))
    }

    /// Maps.
    pub fn maps(&self) -> Result<Vec<MapInfo>, ClientError> {
        pages!(self, Maps, Maps { maps })
    }

    /// Descriptions of the types of a map's key and value.
    pub fn map_types(&self, map: MapId) -> Result<(Vec<u8>, Vec<u8>), ClientError> {
        expect!(self, Request::MapTypes(map), Reply::MapTypes { key, value } => (key, value))
    }

    /// Entries from `cursor` on, 0 for the first, and where to go on if there may be more.
    pub fn map_entries(&self, map: MapId, cursor: u32) -> Result<(Vec<MapEntry>, Option<u32>), ClientError> {
        expect!(self, Request::MapEntries { map, cursor },
            Reply::MapEntries { entries, next } => (entries, next))
    }

    /// The value of a key, `bytes` of it.
    pub fn map_lookup(&self, map: MapId, key: &[u8], bytes: usize) -> Result<Vec<u8>, ClientError> {
        let mut value = Vec::new();
        loop {
            let request = Request::MapLookup { map, key: key.to_vec(), offset: value.len() as u32 };
            let part = expect!(self, request, Reply::Bytes(part) => part)?;
            let end = part.is_empty();
            value.extend(part);
            if end || value.len() >= bytes {
                return Ok(value);
            }
        }
    }

    /// Sets the value of a key, or adds to a queue or stack.
    pub fn map_update(
        &self,
        map: MapId,
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u64,
    ) -> Result<(), ClientError> {
        self.command(&Request::MapUpdate { map, key, value, flags })
    }

    /// Removes a key.
    pub fn map_delete(&self, map: MapId, key: Vec<u8>) -> Result<(), ClientError> {
        self.command(&Request::MapDelete { map, key })
    }

    /// Takes a value or record.
    pub fn map_take(&self, map: MapId) -> Result<Vec<u8>, ClientError> {
        expect!(self, Request::MapTake(map), Reply::Bytes(bytes) => bytes)
    }

    /// Pins a map.
    pub fn map_pin(&self, map: MapId, name: String) -> Result<(), ClientError> {
        self.command(&Request::MapPin { map, name })
    }

    /// Unpins a map.
    pub fn map_unpin(&self, map: MapId) -> Result<(), ClientError> {
        self.command(&Request::MapUnpin(map))
    }

    /// Powers the machine off. The connection usually ends before an answer comes.
    pub fn power_off(&self, exit_code: u8) -> Result<(), ClientError> {
        match self.command(&Request::PowerOff { exit_code }) {
            Ok(()) | Err(ClientError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
