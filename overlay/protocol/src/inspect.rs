//! What the shell can see of a guest: identity, threads, memory, log, files.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;

/// Names a thread; never reused while the guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ThreadId(pub u32);

/// Names a loaded extension; never reused while the guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExtensionId(pub u32);

/// The GNU build-id of an image (SHA-1 sized).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuildId(pub [u8; 20]);

/// Answer to [`crate::rpc::Request::Info`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Name of the image, `count` for example.
    pub image: String,
    /// Identity of the image's ELF file; the shell matches it with the file it reads symbols from.
    pub build_id: BuildId,
    /// Time since boot in nanoseconds.
    pub uptime_ns: u64,
    /// Memory the machine offers, in bytes.
    pub memory_bytes: u64,
    /// Memory in no use, in bytes.
    pub memory_free_bytes: u64,
    /// Which mechanism isolates extensions on this machine.
    pub isolation: IsolationBackend,
    /// `q35`, `microvm` or what the firmware says.
    pub machine: String,
    /// Source of the clock: `kvmclock`, `tsc`.
    pub clock: String,
    /// Cycles per second of the time-stamp counter.
    pub tsc_hertz: u64,
    /// Kernel command line.
    pub command_line: String,
    /// virtio devices in use: `console`, `9p`, `net`, `rng`.
    pub devices: Vec<String>,
    /// Shells attached.
    pub sessions: u32,
    /// Extensions loaded.
    pub extensions: u32,
    /// Frames discarded since boot because they were cut, corrupted or too long.
    pub bad_frames: u64,
}

/// How the guest keeps an extension from writing what is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IsolationBackend {
    /// Protection keys for user pages (PKRU).
    Pku,
    /// Protection keys for supervisor pages (`IA32_PKRS`).
    Pks,
    /// The machine has neither.
    None,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInfo {
    /// Its name on the wire.
    pub id: ThreadId,
    /// What its creator called it.
    pub name: String,
    /// What it is doing.
    pub state: ThreadState,
    /// Higher runs first.
    pub priority: u8,
    /// CPU time used since it started, in nanoseconds.
    pub cpu_time_ns: u64,
    /// Size of its stack in bytes.
    pub stack_bytes: u32,
    /// Bytes of the stack that were never touched: what is left before its guard page.
    pub stack_margin_bytes: u32,
    /// The extension it runs, if any.
    pub extension: Option<ExtensionId>,
}

/// What a thread is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThreadState {
    /// On the CPU.
    Running,
    /// Waits for the CPU.
    Ready,
    /// Sleeps until `until_ns` (time since boot).
    Sleeping {
        /// When it will be woken, time since boot in nanoseconds.
        until_ns: u64,
    },
    /// Waits for something; `reason` names it (`mutex`, `9p reply`, `console input`).
    Waiting {
        /// What it waits for.
        reason: String,
    },
    /// Has ended and is not yet collected.
    Exited,
}

/// General registers of a thread or of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the register of that name")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// Enough of a stopped thread to unwind it on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSnapshot {
    /// The thread as listed.
    pub info: ThreadInfo,
    /// Its registers when it last left the CPU.
    pub registers: Registers,
    /// Stack contents from `registers.rsp` upward, at most
    /// [`crate::limits::STACK_SNAPSHOT_BYTES_MAX`].
    pub stack: Vec<u8>,
}

/// A range of the guest's address space with one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First byte.
    pub start: GuestAddress,
    /// Bytes.
    pub size: u64,
    /// What the pages allow.
    pub access: Access,
    /// Protection key of its pages.
    pub key: u8,
    /// Whose it is and what for: `kernel text`, `heap`, `stack of app`, `extension hello data`.
    pub owner: String,
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Writable.
    pub write: bool,
    /// Executable. Never together with `write`.
    pub execute: bool,
}

/// Summary of the guest's heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSummary {
    /// Bytes that the heap has taken from the page allocator.
    pub reserved_bytes: u64,
    /// Bytes in live blocks.
    pub used_bytes: u64,
    /// Live blocks.
    pub used_blocks: u64,
    /// Largest free block in bytes.
    pub largest_free_bytes: u64,
    /// Allocations since boot.
    pub allocations: u64,
}

/// One line of the guest's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Position in the log since boot; gaps mean lines that were overwritten before they were read.
    pub sequence: u64,
    /// Time since boot in nanoseconds.
    pub time_ns: u64,
    /// Severity.
    pub level: LogLevel,
    /// The message, without a newline.
    pub text: String,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Milestones.
    Info,
    /// Detail.
    Debug,
}

/// A file, as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Last component of its path.
    pub name: String,
    /// Directory or regular file.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: u64,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Has entries.
    Directory,
    /// Has bytes.
    Regular,
    /// Anything else: a link, a device.
    Other,
}

/// Something that an extension may call or refer to by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Linkage name.
    pub name: String,
    /// C prototype, for help and for the header.
    pub prototype: String,
    /// Address of the function itself.
    pub address: GuestAddress,
}

/// A loaded extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionInfo {
    /// Its name on the wire.
    pub id: ExtensionId,
    /// Name from its image.
    pub name: String,
    /// How it is isolated.
    pub isolation: Isolation,
    /// Protection key of its pages; 0 without isolation.
    pub key: u8,
    /// Where its sections lie, in the order of the image.
    pub sections: Vec<Placed>,
    /// Threads that run in it.
    pub runs: u32,
    /// Extensions that link to it, by name.
    pub used_by: Vec<String>,
    /// Whether its `init` ran and its `exit` is due at unload.
    pub resident: bool,
    /// Bytes of memory that it holds: sections, veneers, heap, stacks.
    pub memory_bytes: u64,
    /// Times that a run of it was ended by a fault or a limit.
    pub faults: u32,
}

/// Where one section of an image came to lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Name of the section.
    pub name: String,
    /// First byte.
    pub start: GuestAddress,
    /// Bytes.
    pub size: u32,
}

/// How an extension is kept from harming the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolation {
    /// Ring 0, own protection key: stops what goes wrong by accident.
    Mpk,
    /// Ring 3, own protection key, supervisor pages out of reach: stops privileged instructions too.
    Ring3,
    /// None: the extension is trusted as the kernel is.
    None,
}
