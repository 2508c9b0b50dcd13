//! Limits of the link and of what may be loaded. Each is checked by the side that would pay.

/// Longest encoded frame in bytes, delimiter excluded. Bounds the receive buffer of the guest; large
/// enough that a 32 KiB upload chunk or file read fits with its envelope.
pub const FRAME_BYTES_MAX: usize = 48 * 1024;

/// Most payload bytes that one request or reply carries (file data, peek, upload chunk).
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;

/// Sessions (attached shells) at a time. Each holds some 2 KiB in the guest.
pub const SESSIONS_MAX: usize = 16;

/// Bytes of one upload, the serialized image of an extension. Generous for code; a 4 MiB extension
/// is one that carries data which belongs in a file.
pub const UPLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Uploads under way at a time, over all sessions. Together they bound what half-sent loads can pin.
pub const UPLOADS_MAX: usize = 4;

/// Extensions loaded at a time. Keys run out before (13 are left for domains), but extensions
/// loaded without isolation need none.
pub const EXTENSIONS_MAX: usize = 256;

/// Extension threads running at a time, over all sessions.
pub const RUNS_MAX: usize = 32;

/// Sections of one extension image. `-ffunction-sections` makes one a function; the host merges them.
pub const SECTIONS_MAX: usize = 256;

/// Symbols of one extension image.
pub const SYMBOLS_MAX: usize = 65_536;

/// Relocations of one extension image.
pub const RELOCATIONS_MAX: usize = 262_144;

/// Bytes of a symbol name. Rust's v0 mangling of generic code passes 1,000 at times.
pub const SYMBOL_NAME_BYTES_MAX: usize = 4096;

/// Bytes of a path in the guest's file tree, as in Linux.
pub const PATH_BYTES_MAX: usize = 4096;

/// Arguments of a `run`, and their total size in bytes.
pub const ARGUMENTS_MAX: usize = 64;
/// Total bytes of the arguments of a `run`; they share one page of the exchange domain.
pub const ARGUMENT_BYTES_MAX: usize = 4096;

/// Arguments of a `call`: what the System V ABI passes in registers.
pub const CALL_ARGUMENTS_MAX: usize = 6;

/// Bytes of stack that a snapshot or a fault report carries, from `rsp` upward.
pub const STACK_SNAPSHOT_BYTES_MAX: usize = 16 * 1024;

/// CPU time a run may use when the request names none, in milliseconds.
pub const BUDGET_DEFAULT_MS: u32 = 1_000;

/// Largest CPU budget that a request may ask for, in milliseconds: one hour. A resident extension
/// that needs longer asks for budget 0 (unlimited), which its caller has to say explicitly.
pub const BUDGET_MAX_MS: u32 = 3_600_000;

/// Heap bytes of one extension.
pub const EXTENSION_HEAP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Calls from one domain into another, nested, before the run is ended: bounds the host stack that a
/// recursion through gates can use.
pub const GATE_DEPTH_MAX: usize = 16;

/// Unacknowledged event bytes of one session before the guest drops events and counts them.
pub const EVENT_CREDIT_BYTES: u32 = 256 * 1024;

/// Bytes of an extension's name, a file's stem. With the next limit it makes the description of any
/// extension fit one frame: 256 sections and 256 users of 64 bytes each.
pub const EXTENSION_NAME_BYTES_MAX: usize = 64;

/// Bytes of a section's name in a description of a loaded extension; longer ones are cut.
pub const SECTION_NAME_BYTES_MAX: usize = 64;

/// Output of one run that waits for credit, in bytes. When it is full the run waits, as at a pipe.
pub const OUTPUT_BUFFER_BYTES: usize = 64 * 1024;

/// Uploads under way of one session, so that one shell cannot keep all others from loading.
pub const SESSION_UPLOADS_MAX: usize = 2;

/// Bytes of stack that a domain gets for each run in it: what small kernels give a thread, and enough for
/// formatted output with room to spare.
pub const EXTENSION_STACK_BYTES: usize = 64 * 1024;

/// Loads and unloads that wait for their turn, over all sessions.
pub const OPERATIONS_MAX: usize = 16;

/// Wall-clock time for constructors and `init`, or `exit` and destructors, in milliseconds: others who load
/// wait for it, so sleeping there is bounded as computing is.
pub const INIT_TIME_MAX_MS: u32 = 10_000;

/// Threads that serve file requests: so many sessions can wait for a share's host that hangs before all do.
pub const FILE_WORKERS_MAX: usize = 4;

/// File requests that wait or are being served, over all sessions.
pub const FILE_REQUESTS_MAX: usize = 64;

/// Time in which a file request is answered, in milliseconds: with an error if its share's host has not done it by
/// then. Less than what a shell waits for any answer.
pub const FILE_TIME_MAX_MS: u32 = 5_000;

/// Programs of one eBPF object.
pub const BPF_PROGRAMS_PER_OBJECT_MAX: usize = 32;

/// Maps of one eBPF object. Linux allows a program 64.
pub const BPF_MAPS_PER_OBJECT_MAX: usize = 64;

/// Instruction slots of one program: a firewall of 100,000 rules as a decision tree would not fit, one of 40,000
/// does. The time of the check grows with it.
pub const BPF_SLOTS_MAX: usize = 131_072;

/// Functions of one program, as in Linux.
pub const BPF_FUNCTIONS_MAX: usize = 256;

/// Calls nested, the entry included, as in Linux. Bounds the stack that a run needs.
pub const BPF_CALL_DEPTH_MAX: usize = 8;

/// Bytes of stack of one function, as in Linux.
pub const BPF_STACK_BYTES: usize = 512;

/// Tail calls of one run, as in Linux.
pub const BPF_TAIL_CALLS_MAX: u32 = 33;

/// Bytes of a map's key, as in Linux.
pub const BPF_KEY_BYTES_MAX: u32 = 512;

/// Bytes of a map's value.
pub const BPF_VALUE_BYTES_MAX: u32 = 1024 * 1024;

/// Bytes that one map may reserve: a guest of 256 MiB can hold some of them.
pub const BPF_MAP_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of a program's or a map's name.
pub const BPF_NAME_BYTES_MAX: usize = 64;

/// eBPF programs loaded at a time. Each holds its instructions, proof and code.
pub const BPF_PROGRAMS_MAX: usize = 256;

/// eBPF maps at a time.
pub const BPF_MAPS_MAX: usize = 256;

/// Bytes of the description of a key's or a value's type. A struct of a hundred fields takes some two thousand.
pub const BPF_TYPE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of data of a test run: the largest packet of a virtio device (64 KiB) does not fit a reply; this is a
/// jumbo frame with room to grow, or two pages of arguments.
pub const BPF_TEST_BYTES_MAX: usize = 16 * 1024;

/// Runs of one test. At 5 ns each they take five seconds.
pub const BPF_TEST_REPEAT_MAX: u32 = 1_000_000_000;
