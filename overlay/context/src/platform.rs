//! What the overlay needs of the kernel: small traits, implemented by the kernel in the guest and by
//! a Linux process in tests.
//!
//! Unless a method says otherwise it may be called from the overlay thread and from supervised
//! threads inside gates, at the same time, and may wait; none is called with interrupts off or
//! inside a critical section. None panics on any argument.
//!
//! Besides these traits the kernel supplies an implementation of `critical-section` (interrupts off,
//! nesting) and a global allocator that may be called inside a critical section.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use uio_protocol::GuestAddress;
use uio_protocol::error::FileError;
use uio_protocol::fault::{Cause, Outcome};
use uio_protocol::inspect::{
    Access, BuildId, ExtensionId, FileInfo, HeapSummary, IsolationBackend, LogLevel, LogLine, Region,
    ThreadId, ThreadInfo, ThreadSnapshot,
};

/// Bytes of a page: the unit of [`Memory::map`].
pub const PAGE_BYTES: u64 = 4096;

/// Protection key of everything that no domain may write.
pub const KEY_KERNEL: u8 = 0;
/// Protection key of the application's data.
pub const KEY_APPLICATION: u8 = 1;
/// Protection key of pages that every domain may read and write: arguments, output.
pub const KEY_EXCHANGE: u8 = 2;

/// How long a thread that shall end may stay in a gate before it is ended there, in nanoseconds. A
/// gate's own waits are interruptible, so only a stuck device or a bug takes longer.
pub const GATE_GRACE_NS: u64 = 1_000_000_000;

/// Everything below, in one object.
pub trait Platform: Clock + Link + Memory + Threads + Domains + Files + Log + Machine + Sync {}

impl<T: Clock + Link + Memory + Threads + Domains + Files + Log + Machine + Sync> Platform for T {}

/// Monotonic time.
pub trait Clock {
    /// Nanoseconds since boot.
    fn now_ns(&self) -> u64;

    /// Seconds since 1970 (UTC); `None` if the machine does not tell.
    fn unix_seconds(&self) -> Option<u64>;
}

/// The byte stream to the shells.
pub trait Link {
    /// Waits for bytes, for [`Link::wake`], or for `deadline_ns` (time since boot; `None` is never),
    /// and returns how many bytes it put into `buffer`; 0 if it was woken or the time came. A wake
    /// that came since the last call counts: the call then returns at once. Only the overlay
    /// thread calls this.
    fn receive(&self, buffer: &mut [u8], deadline_ns: Option<u64>) -> usize;

    /// Sends all of `bytes`, in order. Waits for the device, never for a shell: what nobody reads is
    /// thrown away by whoever owns the host's end. Only the overlay thread calls this.
    fn send(&self, bytes: &[u8]);

    /// Makes [`Link::receive`] return. Callable from anywhere: any thread, an interrupt handler, a
    /// critical section; never waits.
    fn wake(&self);
}

/// The address space.
pub trait Memory {
    /// Every mapped range with its owner, ascending, including those made by [`Memory::map`].
    fn regions(&self) -> Vec<Region>;

    /// Summary of the kernel's heap.
    fn heap_summary(&self) -> HeapSummary;

    /// Puts live blocks of the kernel's heap into `out`, in a fixed order, going on after `cursor`
    /// (0 starts). Returns how many, and the cursor for the next call; 0 blocks means the end. Blocks
    /// allocated or freed between two calls may be missed or seen; no call ever faults.
    fn heap_blocks(&self, cursor: u64, out: &mut [HeapBlock]) -> (usize, u64);

    /// Bytes the machine offers.
    fn memory_bytes(&self) -> u64;

    /// Bytes in no use.
    fn memory_free_bytes(&self) -> u64;

    /// Reads guest memory of any owner. Walks the page tables instead of risking a fault; each page
    /// is copied with no chance for an unmap in between.
    ///
    /// # Errors
    ///
    /// The first address that is not mapped; bytes before it are in `buffer`.
    fn read_memory(&self, address: GuestAddress, buffer: &mut [u8]) -> Result<(), GuestAddress>;

    /// Writes guest memory of any owner and key, as [`Memory::read_memory`] reads it.
    ///
    /// # Errors
    ///
    /// The first address that is not mapped or whose page is read-only. Bytes before it are
    /// written, unless the whole range was to be refused: see [`Memory::check`].
    fn write_memory(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress>;

    /// Whether `length` bytes from `address` are mapped, and writable pages if `write`. Keys do not matter.
    /// A range past the end of the address space is not.
    ///
    /// # Errors
    ///
    /// The first address that is not.
    fn check(&self, address: GuestAddress, length: u64, write: bool) -> Result<(), GuestAddress>;

    /// Protection key of the page at an address, or the one it would have on a machine with keys; `None` where
    /// nothing is mapped. The application's own memory is what has [`KEY_APPLICATION`].
    fn page_key(&self, address: GuestAddress) -> Option<u8>;

    /// Whose memory an address is, worded as in [`Region::owner`]; `None` where nothing is mapped.
    fn owner(&self, address: GuestAddress) -> Option<String>;

    /// Whether an address lies in the guest's image (text, constants, data, zeroed data).
    fn in_image(&self, address: GuestAddress) -> bool;

    /// Maps `pages` fresh pages in the window near the kernel: contiguous, zeroed, readable and writable,
    /// key 0, supervisor, all under the one `owner` until unmapped. With `guard_below`, the page below
    /// the range stays unmapped for as long as the range lives and is known as a stack's guard
    /// ([`uio_protocol::fault::Denial::StackGuard`]). The direct map must not show the frames writable
    /// while any of them is executable.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with nothing mapped.
    fn map(&self, pages: u32, owner: &str, guard_below: bool) -> Result<GuestAddress, OutOfMemory>;

    /// Writes into pages of [`Memory::map`], before or regardless of [`Memory::protect`].
    ///
    /// # Errors
    ///
    /// The first address that is not of such a page.
    fn fill(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress>;

    /// Sets what `pages` pages from `address`, all of one [`Memory::map`], allow; the overlay never asks
    /// for write and execute together. `ring3`: reachable from the second set of page tables, the one ring-3
    /// code runs on. Flushes the TLB.
    ///
    /// # Errors
    ///
    /// The first address that is not of such a page, with nothing changed.
    fn protect(
        &self,
        address: GuestAddress,
        pages: u32,
        access: Access,
        key: u8,
        ring3: bool,
    ) -> Result<(), GuestAddress>;

    /// Gives a whole range of [`Memory::map`] back, with its guard page.
    fn unmap(&self, address: GuestAddress, pages: u32);
}

/// A live block of the kernel's heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapBlock {
    /// First byte.
    pub address: GuestAddress,
    /// Bytes, as the allocator rounds them.
    pub bytes: u64,
}

/// No memory, or no room in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no memory for {} bytes", self.bytes)
    }
}

impl core::error::Error for OutOfMemory {}

/// The calling thread shall end; it gives up what it waits for and leaves its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl core::error::Error for Interrupted {}

/// Threads, and supervised threads for loaded code.
///
/// A supervised thread runs its job on a kernel stack, key 0, and has a
/// [`GateContext`](uio_isolation::gate::GateContext) of its own, which the kernel makes current
/// (`uio_isolation::gate::set_current`) whenever the thread runs. The job enters domains from there
/// ([`uio_isolation::gate::enter`], [`Domains::enter_ring3`]), and gates come back to that stack. Whether
/// the thread is "in a gate" is what its context says.
///
/// The overlay registers the gates' handlers ([`uio_isolation::gate::set_handlers`]): a tampered
/// gate, and a pending kill found at the end of one, come to the kernel as [`Threads::end_current`].
pub trait Threads {
    /// All threads.
    fn threads(&self) -> Vec<ThreadInfo>;

    /// One thread with registers and stack; `None` if there is no such thread.
    fn thread_snapshot(&self, thread: ThreadId) -> Option<ThreadSnapshot>;

    /// Puts the first bytes of a thread's name into `name`. Never waits and does not allocate; nothing happens if there is
    /// no such thread.
    fn thread_name(&self, thread: ThreadId, name: &mut [u8]);

    /// Starts a supervised thread: `job(argument)`, with `budget_ms` of CPU time (0 is unlimited), which
    /// counts gates too.
    ///
    /// When it has returned, faulted in domain code, used up its budget or been ended, an
    /// [`EndedThread`] is queued and [`Link::wake`] called. A thread that ends otherwise than by returning is never
    /// resumed, and its kernel stack is freed without unwinding: `job` and every gate own nothing that
    /// matters across a wait; the overlay owns it, by thread.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with nothing started.
    fn spawn(
        &self,
        name: &str,
        job: fn(u64) -> i64,
        argument: u64,
        budget_ms: u32,
        extension: Option<ExtensionId>,
    ) -> Result<ThreadId, OutOfMemory>;

    /// Starts an ordinary thread for work of the overlay's that may wait long: `job()`. It ends by returning.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with nothing started.
    fn spawn_worker(&self, name: &str, job: fn()) -> Result<(), OutOfMemory>;

    /// Ends a supervised thread: at once if it is in domain code; if it is in a gate, when it leaves
    /// the gate, or after [`GATE_GRACE_NS`]. Its waits ([`Threads::park`], [`Threads::sleep_until`], file operations)
    /// return [`Interrupted`] or an error meanwhile. Nothing happens if it has ended already.
    fn end(&self, thread: ThreadId, cause: Cause);

    /// Ends the calling supervised thread now, from inside a gate. The report shows the registers
    /// with which its code called the gate, and its stack. If the thread was told to end before
    /// ([`Threads::end`], its budget), that cause is reported instead of this one.
    fn end_current(&self, cause: Cause) -> !;

    /// The next supervised thread that has ended, once each.
    fn take_ended(&self) -> Option<EndedThread>;

    /// The calling thread.
    fn current(&self) -> ThreadId;

    /// Lets other threads run.
    fn yield_now(&self);

    /// Sleeps until a time since boot.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if the thread shall end.
    fn sleep_until(&self, deadline_ns: u64) -> Result<(), Interrupted>;

    /// Waits for [`Threads::unpark`] of the calling thread, as `std::thread::park` does: an unpark since the last
    /// return counts, several count as one. May return without cause. `reason` is what
    /// [`uio_protocol::inspect::ThreadState::Waiting`] shows.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if the thread shall end.
    fn park(&self, reason: &'static str) -> Result<(), Interrupted>;

    /// Makes a thread's [`Threads::park`] return. Never waits; nothing happens if there is no such thread.
    fn unpark(&self, thread: ThreadId);
}

/// A supervised thread that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedThread {
    /// The thread; its id is not used again.
    pub id: ThreadId,
    /// How. In a report, the kernel fills in cause, registers and stack; `extension` and `gate` it leaves
    /// `None`, for the overlay knows them.
    pub outcome: Outcome,
    /// CPU time it used, in nanoseconds.
    pub cpu_time_ns: u64,
}

/// Processor mechanisms that isolate domains, as far as the kernel has to provide them.
pub trait Domains {
    /// What the machine has.
    fn backend(&self) -> IsolationBackend;

    /// Why domains cannot run in ring 3 here; `None` if they can.
    fn ring3_missing(&self) -> Option<&'static str>;

    /// Ends the calling supervised thread if interrupts are off, after turning them on: called where loaded code comes
    /// back to the host, through a gate or by returning.
    fn check_interrupts(&self);

    /// Calls extension code in ring 3 on the calling supervised thread and returns what it
    /// returned. The handler of [`uio_isolation::gate::RING3_VECTOR`] passes gates inside to
    /// [`crate::gate_entry`] on this thread's kernel stack; calls nest. The code and stack are pages
    /// with `ring3` set, and `stack_top` is 16-byte aligned.
    ///
    /// Called only if [`Domains::ring3_missing`] is `None`.
    fn enter_ring3(&self, call: &DomainCall) -> u64;
}

/// A call into a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainCall {
    /// The function.
    pub function: GuestAddress,
    /// Its integer arguments, as the System V ABI passes them.
    pub arguments: [u64; 6],
    /// One past the highest byte of the stack it runs on.
    pub stack_top: GuestAddress,
    /// Lowest byte of that stack.
    pub stack_bottom: GuestAddress,
    /// PKRU while it runs.
    pub pkru: u32,
}

/// The file tree. Paths are absolute; the kernel checks and resolves them.
#[expect(clippy::missing_errors_doc, reason = "each returns why the file system refused")]
pub trait Files {
    /// Entries of a directory from number `skip` on, at most `max`, in an order that stays while the directory
    /// does; and whether there are more.
    fn list_directory(&self, path: &str, skip: u32, max: u32) -> Result<(Vec<FileInfo>, bool), FileError>;

    /// Kind and size.
    fn file_status(&self, path: &str) -> Result<FileInfo, FileError>;

    /// Reads from `offset` into `buffer`; how many bytes, 0 at the end.
    fn read_file(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError>;

    /// Writes all of `bytes` at `offset`, creating the file, cutting it at `offset` first if `truncate`.
    fn write_file(&self, path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), FileError>;

    /// Removes a file or an empty directory.
    fn remove_file(&self, path: &str) -> Result<(), FileError>;

    /// Makes a directory.
    fn make_directory(&self, path: &str) -> Result<(), FileError>;
}

/// The guest's log: a ring of lines numbered since boot.
pub trait Log {
    /// Lines numbered `from` and up, ascending, at most `max`; what was overwritten is left out.
    fn log_lines(&self, from: u64, max: usize) -> Vec<LogLine>;

    /// The number that the next line will get.
    fn log_next(&self) -> u64;

    /// While watched, every new line calls [`Link::wake`]. Not watched at boot, so that a guest
    /// without shells pays nothing.
    fn watch_log(&self, on: bool);

    /// Adds a line.
    fn log_line(&self, level: LogLevel, text: &str);
}

/// Identity of the machine and the image.
pub trait Machine {
    /// What stays the same from boot on.
    fn identity(&self) -> Identity;

    /// A file of the image's configuration, as the loader brought it: nothing that happens later changes it. Does not
    /// wait. `None` if there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, or why it is not known whether there is one.
    fn boot_file(&self, path: &str) -> Result<Option<Vec<u8>>, FileError>;

    /// Puts random bytes into `out`; whether there was a source for them. May wait a moment.
    fn random(&self, out: &mut [u8]) -> bool;

    /// Powers the machine off, with a code for the virtual machine monitor where it takes one. Only
    /// the overlay thread calls this.
    fn power_off(&self, exit_code: u8) -> !;
}

/// See the fields of the same names in [`uio_protocol::inspect::Info`].
#[expect(missing_docs, reason = "the fields are those of Info, described there")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub image: String,
    pub build_id: BuildId,
    pub machine: String,
    pub clock: String,
    pub tsc_hertz: u64,
    pub command_line: String,
    pub devices: Vec<String>,
}
