//! Requests of the shell and the guest's replies.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;
use crate::error::RpcError;
use crate::inspect::{
    BuildId, Export, ExtensionId, ExtensionInfo, FileInfo, HeapSummary, Info, Isolation, LogLine, Region,
    ThreadId, ThreadInfo, ThreadSnapshot,
};
use crate::maps::{MapEntry, MapId, MapInfo};
use crate::programs::{BpfFeatures, ProgramId, ProgramInfo, ProgramPart};

/// Names a run: one execution of an extension's `main`, of a called function, or of an eBPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u32);

/// What a shell asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Opens the session; has to come first, and comes again after a reconnect.
    Hello {
        /// The shell's [`crate::PROTOCOL_HASH`].
        protocol_hash: u64,
    },
    /// Ends the session: its runs are interrupted, its uploads dropped.
    Bye,
    /// Answers at once with the same marker; measures the link.
    Ping {
        /// Any number.
        marker: u64,
    },
    /// Identity and state of the guest.
    Info,
    /// All threads.
    Threads {
        /// Threads to skip, for the next page of a long list.
        skip: u32,
    },
    /// One thread with registers and stack.
    ThreadSnapshot(ThreadId),
    /// The address space.
    Regions {
        /// Regions to skip, for the next page of a long list.
        skip: u32,
    },
    /// The heap.
    Heap,
    /// Reads memory.
    Peek {
        /// First byte.
        address: GuestAddress,
        /// Bytes, at most [`crate::limits::CHUNK_BYTES_MAX`].
        length: u32,
    },
    /// Writes memory. Text and constants refuse.
    Poke {
        /// First byte.
        address: GuestAddress,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Lines of the log from `from` on, as many as fit a frame; none at the end.
    Log {
        /// First sequence number wanted.
        from: u64,
    },
    /// Turns log events of this session on or off.
    FollowLog(bool),
    /// Gives back event credit: bytes of event bodies (frames without header, checksum and stuffing)
    /// that the shell has taken. A session starts with [`crate::limits::EVENT_CREDIT_BYTES`] and never
    /// holds more.
    Credit {
        /// Bytes.
        bytes: u32,
    },
    /// Entries of a directory.
    ListDirectory {
        /// Absolute path.
        path: String,
        /// Entries to skip, for the next page of a long listing.
        skip: u32,
    },
    /// One file's kind and size.
    FileStatus {
        /// Absolute path.
        path: String,
    },
    /// Reads a file.
    ReadFile {
        /// Absolute path.
        path: String,
        /// First byte.
        offset: u64,
        /// Bytes, at most [`crate::limits::CHUNK_BYTES_MAX`]; the reply is shorter at the end.
        length: u32,
    },
    /// Writes a file, creating it.
    WriteFile {
        /// Absolute path.
        path: String,
        /// Where to write.
        offset: u64,
        /// Whether to cut the file at `offset` first.
        truncate: bool,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Removes a file or an empty directory.
    RemoveFile {
        /// Absolute path.
        path: String,
    },
    /// Makes a directory.
    MakeDirectory {
        /// Absolute path.
        path: String,
    },
    /// Names that extensions may link to without a hint.
    Exports {
        /// Names to skip, for the next page of a long list.
        skip: u32,
    },
    /// Announces an upload.
    UploadBegin {
        /// Its size in bytes.
        bytes: u32,
    },
    /// A piece of an upload, in order.
    UploadPut {
        /// From [`Reply::Upload`].
        upload: u32,
        /// Offset of the piece.
        offset: u32,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// Links an uploaded [`crate::image::ExtensionImage`].
    Load {
        /// From [`Reply::Upload`]; is used up.
        upload: u32,
        /// How to isolate it.
        isolation: Isolation,
        /// The image that the hints were made from.
        build_id: BuildId,
    },
    /// Loaded extensions.
    Extensions {
        /// Extensions to skip, for the next page of a long list.
        skip: u32,
    },
    /// Calls `main(argc, argv)` of an extension on a thread of its own.
    Run {
        /// The extension.
        extension: ExtensionId,
        /// `argv`, the program's name first.
        arguments: Vec<String>,
        /// CPU time in milliseconds; 0 is unlimited.
        budget_ms: u32,
    },
    /// Calls a function of the guest or of an extension on a thread of its own.
    Call {
        /// The function. In an extension, it runs in that extension's domain; elsewhere, unrestricted.
        function: GuestAddress,
        /// Integer arguments, at most [`crate::limits::CALL_ARGUMENTS_MAX`].
        arguments: Vec<u64>,
        /// CPU time in milliseconds; 0 is unlimited.
        budget_ms: u32,
    },
    /// Ends a run of any session.
    Interrupt(RunId),
    /// Ends every run of an extension.
    Kill(ExtensionId),
    /// Removes an extension: its `exit` and destructors run, its memory comes back.
    Unload(ExtensionId),
    /// What this guest offers to eBPF programs.
    BpfFeatures,
    /// Checks an uploaded package and loads all programs of its object, or none.
    LoadPrograms {
        /// From [`Reply::Upload`]; is used up.
        upload: u32,
        /// Name of the program, if the object has one only; else what its programs' names begin with.
        name: Option<String>,
        /// Whether the interpreter shall execute them.
        interpret: bool,
        /// Whether the operator wants it although its certificate's generation is below one that was loaded.
        rollback: bool,
    },
    /// Loaded programs.
    Programs {
        /// Programs to skip, for the next page of a long list.
        skip: u32,
    },
    /// Reads a part of what the guest keeps of a program.
    ProgramDump {
        /// The program.
        program: ProgramId,
        /// What of it.
        part: ProgramPart,
        /// First byte; the reply has at most [`crate::limits::CHUNK_BYTES_MAX`], and none at the end.
        offset: u32,
    },
    /// Runs a program on data, on a thread of its own. Its result comes as an event before its end.
    TestProgram {
        /// The program.
        program: ProgramId,
        /// The packet or memory, or the context of other kinds, filled up with zeros. No packet: 64 zeros.
        data: Vec<u8>,
        /// Runs. Each starts with the packet's first bounds; its bytes are as the run before left them, as in Linux.
        repeat: u32,
        /// CPU time in milliseconds; 0 is unlimited.
        budget_ms: u32,
    },
    /// Checks an uploaded package, runs one of its programs as [`Request::TestProgram`] does, and removes it.
    RunOnce {
        /// From [`Reply::Upload`]; is used up.
        upload: u32,
        /// The program; empty if the object has only one.
        program: String,
        /// Whether the interpreter shall execute it.
        interpret: bool,
        /// As in [`Request::LoadPrograms`].
        rollback: bool,
        /// As in [`Request::TestProgram`].
        data: Vec<u8>,
        /// CPU time in milliseconds; 0 is unlimited.
        budget_ms: u32,
    },
    /// Removes a program, and with it the maps that nobody else uses.
    UnloadProgram(ProgramId),
    /// Maps.
    Maps {
        /// Maps to skip, for the next page of a long list.
        skip: u32,
    },
    /// Descriptions of a map's key and value, as the object brought them.
    MapTypes(MapId),
    /// Entries of a map, in its own order. Entries that come or go meanwhile may be missed or seen.
    MapEntries {
        /// The map.
        map: MapId,
        /// Where to go on, from [`Reply::MapEntries`]; 0 begins.
        cursor: u32,
    },
    /// Reads the value of a key from `offset` on, at most [`crate::limits::CHUNK_BYTES_MAX`]. The oldest value of a queue
    /// or the newest of a stack, with an empty key.
    MapLookup {
        /// The map.
        map: MapId,
        /// The key.
        key: Vec<u8>,
        /// First byte.
        offset: u32,
    },
    /// Sets the value of a key; adds to a queue or stack.
    MapUpdate {
        /// The map.
        map: MapId,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// Linux's `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2.
        flags: u64,
    },
    /// Removes a key.
    MapDelete {
        /// The map.
        map: MapId,
        /// The key.
        key: Vec<u8>,
    },
    /// Takes a value from a queue or stack, or the oldest record from a ring buffer; answers as
    /// [`Request::MapLookup`].
    MapTake(MapId),
    /// Keeps a map when its last program goes, and shares it with programs that declare one pinned by that name.
    MapPin {
        /// The map.
        map: MapId,
        /// The name; empty for its own.
        name: String,
    },
    /// Undoes a pin. A map that no program uses goes.
    MapUnpin(MapId),
    /// Powers the machine off.
    PowerOff {
        /// What the virtual machine monitor shall report.
        exit_code: u8,
    },
}

/// What the guest answers: a [`Reply`] or why not.
pub type Response = Result<Reply, RpcError>;

/// The answer to a request that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to say.
    Done,
    /// To `Hello`.
    Welcome {
        /// Identity of the running image.
        build_id: BuildId,
        /// Its name.
        image: String,
    },
    /// To `Ping`.
    Pong {
        /// The request's.
        marker: u64,
    },
    /// To `Info`.
    Info(Info),
    /// To `Threads`.
    Threads {
        /// A page of them.
        threads: Vec<ThreadInfo>,
        /// Whether there are more.
        more: bool,
    },
    /// To `ThreadSnapshot`.
    ThreadSnapshot(ThreadSnapshot),
    /// To `Regions`.
    Regions {
        /// A page of them.
        regions: Vec<Region>,
        /// Whether there are more.
        more: bool,
    },
    /// To `Heap`.
    Heap(HeapSummary),
    /// To `Peek`, `ReadFile`, `ProgramDump`, `MapLookup` and `MapTake`.
    Bytes(Vec<u8>),
    /// To `Log`.
    Log(Vec<LogLine>),
    /// To `ListDirectory`.
    Directory {
        /// A page of entries.
        entries: Vec<FileInfo>,
        /// Whether there are more.
        more: bool,
    },
    /// To `FileStatus`.
    FileStatus(FileInfo),
    /// To `Exports`.
    Exports {
        /// A page of them.
        exports: Vec<Export>,
        /// Whether there are more.
        more: bool,
    },
    /// To `UploadBegin`.
    Upload(u32),
    /// To `Load`.
    Loaded(ExtensionInfo),
    /// To `Extensions`.
    Extensions {
        /// A page of them.
        extensions: Vec<ExtensionInfo>,
        /// Whether there are more.
        more: bool,
    },
    /// To `Run`, `Call`, `TestProgram` and `RunOnce`: it has started; its output and end come as events.
    Started(RunId),
    /// To `BpfFeatures`.
    BpfFeatures(BpfFeatures),
    /// To `LoadPrograms` and `Programs`.
    Programs {
        /// A page of them; of a load, all.
        programs: Vec<ProgramInfo>,
        /// Whether there are more.
        more: bool,
    },
    /// To `Maps`.
    Maps {
        /// A page of them.
        maps: Vec<MapInfo>,
        /// Whether there are more.
        more: bool,
    },
    /// To `MapTypes`.
    MapTypes {
        /// As [`crate::bpf::MapSpec::key_type`].
        key: Vec<u8>,
        /// As [`crate::bpf::MapSpec::value_type`].
        value: Vec<u8>,
    },
    /// To `MapEntries`.
    MapEntries {
        /// A page of them; may be empty although there are more.
        entries: Vec<MapEntry>,
        /// Where to go on, if there may be more.
        next: Option<u32>,
    },
}
