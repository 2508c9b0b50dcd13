//! What the overlay thread and the threads of runs share.
//!
//! The machine has one preemptive CPU, so the state is guarded by critical sections, kept short: a
//! few table entries, or a copy of at most some kilobytes. Nothing inside one waits or calls the kernel.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use critical_section::Mutex;
use uio_protocol::GuestAddress;
use uio_protocol::fault::Outcome;
use uio_protocol::inspect::{ExtensionId, Isolation, ThreadId};
use uio_protocol::programs::TestRun;
use uio_protocol::rpc::RunId;

use crate::bpf::test::Test;
use crate::files::FileJobs;
use crate::gate::Export;
use crate::heap::Heap;
use crate::platform::{PAGE_BYTES, Platform};
use crate::table::Table;

/// The overlay of this machine, for code that is reached without an argument: the jobs of supervised
/// threads and the gates' dispatcher.
static CURRENT: Mutex<Cell<Option<&'static Shared>>> = Mutex::new(Cell::new(None));

/// The kernel, what the image exports, and the state.
pub(crate) struct Shared {
    pub(crate) platform: &'static dyn Platform,
    /// What extensions may call: the overlay's own exports, then the image's. Its indices are gate
    /// indices.
    pub(crate) exports: Vec<&'static Export>,
    state: Mutex<RefCell<State>>,
}

impl Shared {
    /// Makes the shared part of an overlay and registers it as the machine's. Lives as long as the machine.
    pub(crate) fn install(platform: &'static dyn Platform, exports: Vec<&'static Export>) -> &'static Self {
        let state = Mutex::new(RefCell::new(State::default()));
        let shared: &'static Self = Box::leak(Box::new(Self { platform, exports, state }));
        critical_section::with(|section| CURRENT.borrow(section).set(Some(shared)));
        shared
    }

    /// The machine's overlay; `None` before there is one.
    pub(crate) fn current() -> Option<&'static Self> {
        critical_section::with(|section| CURRENT.borrow(section).get())
    }

    /// Looks at or changes the state, with interrupts off: `action` is short and does not call the kernel.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        critical_section::with(|section| action(&mut self.state.borrow_ref_mut(section)))
    }
}

/// Runs, and what gates need to know of loaded extensions.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) runs: Vec<Run>,
    pub(crate) domains: Table<ExtensionId, Domain>,
    /// Functions of extensions that other extensions call, by gate index minus the number of exports.
    pub(crate) links: Vec<Option<Link>>,
    pub(crate) files: FileJobs,
}

/// A function of one extension that another calls through a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name, for reports.
    pub(crate) name: String,
    pub(crate) extension: ExtensionId,
    pub(crate) function: GuestAddress,
}

/// What the gates know of a loaded extension.
pub(crate) struct Domain {
    pub(crate) name: String,
    pub(crate) isolation: Isolation,
    pub(crate) key: u8,
    /// Memory of the extension besides heap and stacks: its sections.
    pub(crate) ranges: Vec<Range>,
    pub(crate) heap: Heap,
    /// All its stacks, in use or not.
    pub(crate) stacks: Vec<Stack>,
    /// Runs that were ended by a fault or limit while in it.
    pub(crate) faults: u32,
}

/// A range of pages of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: GuestAddress,
    pub(crate) bytes: u64,
    pub(crate) writable: bool,
}

impl Range {
    /// Whether `length` bytes from `address` lie in it.
    pub(crate) fn contains(&self, address: GuestAddress, length: u64) -> bool {
        address
            .offset_from(self.start)
            .and_then(|offset| offset.checked_add(length))
            .is_some_and(|end| end <= self.bytes)
    }
}

/// A stack in a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) bottom: GuestAddress,
    pub(crate) pages: u32,
    pub(crate) in_use: bool,
}

impl Stack {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES
    }

    pub(crate) fn top(&self) -> GuestAddress {
        GuestAddress(self.bottom.0 + self.bytes())
    }

    pub(crate) fn range(&self) -> Range {
        Range { start: self.bottom, bytes: self.bytes(), writable: true }
    }
}

impl Domain {
    /// Whether `length` bytes from `address` lie in memory of this extension that it may read, or write.
    pub(crate) fn owns(&self, address: GuestAddress, length: u64, write: bool) -> bool {
        let heap = self.heap.regions().map(|(start, pages)| Range {
            start,
            bytes: u64::from(pages) * PAGE_BYTES,
            writable: true,
        });
        let stacks = self.stacks.iter().map(Stack::range);
        self.ranges
            .iter()
            .copied()
            .chain(heap)
            .chain(stacks)
            .any(|range| range.contains(address, length) && (range.writable || !write))
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let ranges: u64 = self.ranges.iter().map(|range| range.bytes).sum();
        let stacks: u64 = self.stacks.iter().map(Stack::bytes).sum();
        ranges + stacks + self.heap.reserved_bytes()
    }
}

/// One execution of loaded or guest code on a supervised thread.
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// Who started it; `None` when that session is gone, and nobody is told of its end.
    pub(crate) session: Option<u32>,
    pub(crate) purpose: Purpose,
    /// Known once the thread has started.
    pub(crate) thread: Option<ThreadId>,
    /// What is still to be called, in order.
    pub(crate) calls: VecDeque<PlannedCall>,
    /// Domains it is in, the innermost last.
    pub(crate) frames: Vec<DomainFrame>,
    pub(crate) output: Output,
    /// Page range of its arguments.
    pub(crate) exchange: Option<(GuestAddress, u32)>,
    /// The eBPF program that it tests, with its data, while its thread lives.
    pub(crate) test: Option<Box<Test>>,
    /// What came of the test, until the session was told.
    pub(crate) tested: Option<TestRun>,
    /// Set when its thread has ended; the outcome as the kernel told it, completed.
    pub(crate) ended: Option<(Outcome, u64)>,
}

impl Run {
    /// Whether it was started in the extension or is in it now.
    pub(crate) fn is_in(&self, extension: ExtensionId) -> bool {
        self.frames.iter().any(|frame| frame.extension == Some(extension))
    }
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session asked for it and is told of its end.
    Request,
    /// Constructors and `init`, or `exit` and destructors, within a load or unload.
    Operation,
}

/// A call that a run makes from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedCall {
    pub(crate) function: GuestAddress,
    pub(crate) arguments: [u64; 6],
    pub(crate) result: ResultKind,
}

/// What the value means that a planned call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultKind {
    /// Nothing: `void`.
    Ignored,
    /// A C `int`.
    Int,
    /// A C `int`; the calls after it are made only if it is zero.
    Status,
    /// All 64 bits.
    Whole,
}

/// A domain that a run is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DomainFrame {
    /// The extension; `None` for the guest's own code, unrestricted.
    pub(crate) extension: Option<ExtensionId>,
    pub(crate) stack: Stack,
    /// Gate it is in: it called out of the domain and has not come back.
    pub(crate) gate: Option<u32>,
}

/// Output of a run on its way to the session.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) bytes: VecDeque<u8>,
    /// Bytes that found no room. Only runs of operations drop: others would wait for them.
    pub(crate) dropped_bytes: u64,
    /// The overlay thread knows that there is something.
    pub(crate) noticed: bool,
    /// The run waits for room.
    pub(crate) waiting: bool,
    /// When output was last sent.
    pub(crate) sent_ns: u64,
}

impl State {
    pub(crate) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.id == id)
    }

    pub(crate) fn run_of_thread(&mut self, thread: ThreadId) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.thread == Some(thread) && run.ended.is_none())
    }
}
