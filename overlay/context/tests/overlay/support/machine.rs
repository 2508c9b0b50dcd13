//! The kernel of the test machine.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uio_isolation::gate::{GateContext, set_current};
use uio_overlay::platform::{
    Clock, DomainCall, Domains, EndedThread, Files, HeapBlock, Identity, Interrupted, KEY_APPLICATION, Link,
    Log, Memory, OutOfMemory, Threads,
};
use uio_protocol::GuestAddress;
use uio_protocol::error::FileError;
use uio_protocol::fault::{Cause, FaultReport, Outcome};
use uio_protocol::inspect::{
    Access, BuildId, ExtensionId, FileInfo, FileKind, HeapSummary, IsolationBackend, LogLevel, LogLine,
    Region, Registers, ThreadId, ThreadInfo, ThreadSnapshot, ThreadState,
};

use super::memory::{self, AddressSpace};

pub(crate) const IMAGE_NAME: &str = "test";

/// Stack pointer of thread 0; that of each other is its number above.
const STACK_POINTER: u64 = 0x51ac_0000;

/// Files of a host that can hang.
pub(crate) const HUNG_FOLDER: &str = "/hung/";

/// Thread number of the overlay.
const OVERLAY: ThreadId = ThreadId(1);

/// Lines that the log keeps.
const LOG_LINES: usize = 64;

pub(crate) fn build_id() -> BuildId {
    BuildId([7; 20])
}

thread_local! {
    static THREAD: Cell<ThreadId> = const { Cell::new(OVERLAY) };
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) input: VecDeque<u8>,
    pub(crate) output: Vec<u8>,
    woken: bool,
    pub(crate) space: AddressSpace,
    threads: BTreeMap<ThreadId, Thread>,
    last_thread: u32,
    ended: VecDeque<EndedThread>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) boot_files: BTreeMap<String, Vec<u8>>,
    /// The status of files in [`HUNG_FOLDER`] is not told until this is over; see [`Machine::set_host_hangs`].
    host_hangs: bool,
    log: VecDeque<LogLine>,
    log_next: u64,
    pub(crate) log_watched: bool,
    /// Times that loaded code came back to the host.
    pub(crate) interrupt_checks: u32,
    /// Who has the processor; `None` while everybody waits.
    running: Option<ThreadId>,
    pub(crate) application: Vec<(u64, u64)>,
    halted: bool,
}

struct Thread {
    name: String,
    extension: Option<ExtensionId>,
    token: bool,
    end: Option<Cause>,
    waiting: bool,
    context: &'static GateContext,
}

pub(crate) struct Machine {
    state: Mutex<State>,
    changed: Condvar,
    booted: Instant,
}

impl Machine {
    pub(crate) fn boot() -> &'static Self {
        THREAD.set(OVERLAY);
        // SAFETY: the overlay thread enters no domain.
        unsafe { set_current(None) };
        let state = State { running: Some(OVERLAY), last_thread: OVERLAY.0, ..State::default() };
        Box::leak(Box::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            booted: Instant::now(),
        }))
    }

    /// Stops or wakes the host of [`HUNG_FOLDER`].
    pub(crate) fn set_host_hangs(&self, hangs: bool) {
        self.state().host_hangs = hangs;
        self.changed.notify_all();
    }

    /// Threads that still wait never run again.
    pub(crate) fn halt(&self) {
        self.state().halted = true;
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn thread_names(&self) -> Vec<String> {
        self.state().threads.values().map(|thread| thread.name.clone()).collect()
    }

    /// Gives the processor away until `ready` says to go on, or the deadline has passed.
    fn wait(&self, me: ThreadId, deadline_ns: Option<u64>, mut ready: impl FnMut(&mut State) -> bool) {
        let mut state = self.state();
        if state.running == Some(me) {
            state.running = None;
            self.changed.notify_all();
        }
        loop {
            let now = self.now_ns();
            // The overlay goes first.
            let free = state.running.is_none() && (me == OVERLAY || !overlay_is_due(&state)) && !state.halted;
            if free && (ready(&mut state) || deadline_ns.is_some_and(|deadline| now >= deadline)) {
                state.running = Some(me);
                let context = state.threads.get(&me).map(|thread| thread.context);
                // SAFETY: contexts are leaked, and this one is of the thread that goes on here.
                unsafe { set_current(context) };
                return;
            }
            let pause = deadline_ns.map_or(Duration::from_millis(5), |deadline| {
                Duration::from_nanos(deadline.saturating_sub(now).clamp(10_000, 5_000_000))
            });
            state = self.changed.wait_timeout(state, pause).unwrap().0;
        }
    }

    fn told_to_end(&self, me: ThreadId) -> Result<(), Interrupted> {
        let ending = self.state().threads.get(&me).is_some_and(|thread| thread.end.is_some());
        if ending { Err(Interrupted) } else { Ok(()) }
    }

    fn finish(&self, me: ThreadId, outcome: Outcome) {
        let mut state = self.state();
        state.threads.remove(&me);
        state.ended.push_back(EndedThread { id: me, outcome, cpu_time_ns: 1000 });
        state.woken = true;
        state.running = None;
        self.changed.notify_all();
    }
}

fn overlay_is_due(state: &State) -> bool {
    state.woken || !state.input.is_empty()
}

impl Clock for Machine {
    fn now_ns(&self) -> u64 {
        // Not at zero, so that times before now exist.
        1_000_000_000 + u64::try_from(self.booted.elapsed().as_nanos()).unwrap()
    }

    fn unix_seconds(&self) -> Option<u64> {
        Some(1_800_000_000)
    }
}

impl Link for Machine {
    fn receive(&self, buffer: &mut [u8], deadline_ns: Option<u64>) -> usize {
        self.wait(OVERLAY, deadline_ns, |state| overlay_is_due(state));
        let mut state = self.state();
        state.woken = false;
        let count = buffer.len().min(state.input.len());
        buffer.iter_mut().zip(state.input.drain(..count)).for_each(|(to, from)| *to = from);
        count
    }

    fn send(&self, bytes: &[u8]) {
        assert_eq!(THREAD.get(), OVERLAY);
        self.state().output.extend_from_slice(bytes);
    }

    fn wake(&self) {
        self.state().woken = true;
        self.changed.notify_all();
    }
}

impl Memory for Machine {
    fn regions(&self) -> Vec<Region> {
        self.state().space.regions()
    }

    fn heap_summary(&self) -> HeapSummary {
        HeapSummary { used_blocks: 3, used_bytes: 48, ..HeapSummary::default() }
    }

    fn heap_blocks(&self, cursor: u64, out: &mut [HeapBlock]) -> (usize, u64) {
        let blocks = (cursor..3).map(|n| HeapBlock { address: GuestAddress(0x1000 + n * 16), bytes: 16 });
        let count = out.iter_mut().zip(blocks).map(|(to, from)| *to = from).count();
        (count, cursor + count as u64)
    }

    fn memory_bytes(&self) -> u64 {
        1 << 30
    }

    fn memory_free_bytes(&self) -> u64 {
        1 << 29
    }

    fn read_memory(&self, address: GuestAddress, buffer: &mut [u8]) -> Result<(), GuestAddress> {
        memory::read(address, buffer)
    }

    fn write_memory(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
        memory::write(address, bytes)
    }

    fn check(&self, address: GuestAddress, length: u64, write: bool) -> Result<(), GuestAddress> {
        let end = address.checked_add(length).ok_or(address)?.0;
        let maps = memory::process_maps();
        let mut position = address.0;
        while position < end {
            let map =
                maps.iter().find(|(range, writable, _)| range.contains(&position) && (*writable || !write));
            position = map.ok_or(GuestAddress(position))?.0.end;
        }
        Ok(())
    }

    fn page_key(&self, address: GuestAddress) -> Option<u8> {
        let state = self.state();
        if let Some(mapped) = state.space.find(address) {
            return Some(mapped.key);
        }
        let application = state.application.iter().any(|&(start, end)| {
            let page = address.0 & !4095;
            page < end && start < page + 4096
        });
        Some(if application { KEY_APPLICATION } else { 0 })
    }

    fn owner(&self, address: GuestAddress) -> Option<String> {
        let state = self.state();
        Some(state.space.find(address)?.owner.clone())
    }

    fn in_image(&self, address: GuestAddress) -> bool {
        memory::process_maps().iter().any(|(range, _, executable)| *executable && range.contains(&address.0))
    }

    fn map(&self, pages: u32, owner: &str, guard_below: bool) -> Result<GuestAddress, OutOfMemory> {
        self.state().space.map(pages, owner, guard_below)
    }

    fn fill(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
        self.state().space.fill(address, bytes)
    }

    fn protect(
        &self,
        address: GuestAddress,
        pages: u32,
        access: Access,
        key: u8,
        _ring3: bool,
    ) -> Result<(), GuestAddress> {
        self.state().space.protect(address, pages, access, key)
    }

    fn unmap(&self, address: GuestAddress, pages: u32) {
        self.state().space.unmap(address, pages);
    }
}

impl Threads for Machine {
    fn threads(&self) -> Vec<ThreadInfo> {
        let state = self.state();
        let threads = state.threads.iter().map(|(&id, thread)| info(id, &thread.name, thread.extension));
        std::iter::once(info(OVERLAY, "overlay", None)).chain(threads).collect()
    }

    fn thread_snapshot(&self, thread: ThreadId) -> Option<ThreadSnapshot> {
        let info = self.threads().into_iter().find(|info| info.id == thread)?;
        let registers = Registers { rsp: STACK_POINTER + u64::from(thread.0), ..Registers::default() };
        Some(ThreadSnapshot { info, registers, stack: vec![1; 100_000] })
    }

    fn thread_name(&self, thread: ThreadId, name: &mut [u8]) {
        if let Some(thread) = self.state().threads.get(&thread) {
            let count = thread.name.len().min(name.len());
            name[..count].copy_from_slice(&thread.name.as_bytes()[..count]);
        }
    }

    fn spawn(
        &self,
        name: &str,
        job: fn(u64) -> i64,
        argument: u64,
        _budget_ms: u32,
        extension: Option<ExtensionId>,
    ) -> Result<ThreadId, OutOfMemory> {
        let id = {
            let mut state = self.state();
            state.last_thread += 1;
            let id = ThreadId(state.last_thread);
            let context = Box::leak(Box::default());
            let name = name.to_string();
            let thread = Thread { name, extension, token: false, end: None, waiting: false, context };
            state.threads.insert(id, thread);
            id
        };
        // SAFETY: machines are leaked.
        let machine: &'static Self = unsafe { &*std::ptr::from_ref(self) };
        std::thread::spawn(move || {
            THREAD.set(id);
            machine.wait(id, None, |_| true);
            if machine.told_to_end(id).is_err() {
                machine.end_current(Cause::Interrupted);
            }
            let value = job(argument);
            machine.finish(id, Outcome::Returned(value));
        });
        Ok(id)
    }

    fn spawn_worker(&self, _: &str, job: fn()) -> Result<(), OutOfMemory> {
        // Beside the one processor: it only waits and looks at files.
        std::thread::spawn(job);
        Ok(())
    }

    fn end(&self, thread: ThreadId, cause: Cause) {
        let mut state = self.state();
        if let Some(thread) = state.threads.get_mut(&thread) {
            thread.end.get_or_insert(cause);
            thread.context.request_kill();
        }
        self.changed.notify_all();
    }

    fn end_current(&self, cause: Cause) -> ! {
        let me = THREAD.get();
        let cause = self.state().threads[&me].end.clone().unwrap_or(cause);
        let report = FaultReport {
            extension: None,
            cause,
            registers: Registers::default(),
            stack: vec![2; 100],
            gate: None,
        };
        self.finish(me, Outcome::Ended(Box::new(report)));
        loop {
            std::thread::park();
        }
    }

    fn take_ended(&self) -> Option<EndedThread> {
        self.state().ended.pop_front()
    }

    fn current(&self) -> ThreadId {
        THREAD.get()
    }

    fn yield_now(&self) {
        self.wait(THREAD.get(), None, |_| true);
    }

    fn sleep_until(&self, deadline_ns: u64) -> Result<(), Interrupted> {
        let me = THREAD.get();
        self.wait(me, Some(deadline_ns), |state| state.threads[&me].end.is_some());
        self.told_to_end(me)
    }

    fn park(&self, reason: &'static str) -> Result<(), Interrupted> {
        assert!(!reason.is_empty());
        let me = THREAD.get();
        self.state().threads.get_mut(&me).unwrap().waiting = true;
        self.wait(me, None, |state| {
            let thread = state.threads.get_mut(&me).unwrap();
            std::mem::take(&mut thread.token) || thread.end.is_some()
        });
        self.state().threads.get_mut(&me).unwrap().waiting = false;
        self.told_to_end(me)
    }

    fn unpark(&self, thread: ThreadId) {
        if let Some(thread) = self.state().threads.get_mut(&thread) {
            thread.token = true;
        }
        self.changed.notify_all();
    }
}

fn info(id: ThreadId, name: &str, extension: Option<ExtensionId>) -> ThreadInfo {
    ThreadInfo {
        id,
        name: name.to_string(),
        state: ThreadState::Ready,
        priority: 1,
        cpu_time_ns: 0,
        stack_bytes: 16384,
        stack_margin_bytes: 8192,
        extension,
    }
}

impl Domains for Machine {
    fn backend(&self) -> IsolationBackend {
        IsolationBackend::Pku
    }

    fn ring3_missing(&self) -> Option<&'static str> {
        Some("a Linux process is ring 3 already")
    }

    fn check_interrupts(&self) {
        assert_ne!(THREAD.get(), OVERLAY);
        self.state().interrupt_checks += 1;
    }

    fn enter_ring3(&self, _: &DomainCall) -> u64 {
        unreachable!("ring 3 is missing")
    }
}

impl Files for Machine {
    fn list_directory(&self, path: &str, skip: u32, max: u32) -> Result<(Vec<FileInfo>, bool), FileError> {
        let state = self.state();
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let names =
            state.files.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&prefix)?, bytes.len())));
        let all: Vec<_> = names
            .map(|(name, size)| FileInfo {
                name: name.to_string(),
                kind: FileKind::Regular,
                size: size as u64,
            })
            .collect();
        let page: Vec<_> = all.iter().skip(skip as usize).take(max as usize).cloned().collect();
        let more = skip as usize + page.len() < all.len();
        Ok((page, more))
    }

    fn file_status(&self, path: &str) -> Result<FileInfo, FileError> {
        let mut state = self.state();
        while path.starts_with(HUNG_FOLDER) && state.host_hangs {
            state = self.changed.wait(state).unwrap();
        }
        drop(state);
        let size = self.state().files.get(path).ok_or(FileError::NotFound)?.len() as u64;
        let name = path.rsplit('/').next().unwrap().to_string();
        Ok(FileInfo { name, kind: FileKind::Regular, size })
    }

    fn read_file(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let state = self.state();
        let file = state.files.get(path).ok_or(FileError::NotFound)?;
        let rest = file.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_file(&self, path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), FileError> {
        let mut state = self.state();
        let file = state.files.entry(path.to_string()).or_default();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if truncate || file.len() < end {
            file.resize(if truncate { end } else { end.max(file.len()) }, 0);
        }
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        self.state().files.remove(path).map(|_| ()).ok_or(FileError::NotFound)
    }

    fn make_directory(&self, _: &str) -> Result<(), FileError> {
        Err(FileError::Unsupported)
    }
}

impl Log for Machine {
    fn log_lines(&self, from: u64, max: usize) -> Vec<LogLine> {
        self.state().log.iter().filter(|line| line.sequence >= from).take(max).cloned().collect()
    }

    fn log_next(&self) -> u64 {
        self.state().log_next
    }

    fn watch_log(&self, on: bool) {
        self.state().log_watched = on;
    }

    fn log_line(&self, level: LogLevel, text: &str) {
        let time_ns = self.now_ns();
        let mut state = self.state();
        let sequence = state.log_next;
        state.log_next += 1;
        state.log.push_back(LogLine { sequence, time_ns, level, text: text.to_string() });
        if state.log.len() > LOG_LINES {
            state.log.pop_front();
        }
        state.woken |= state.log_watched;
    }
}

impl uio_overlay::platform::Machine for Machine {
    fn identity(&self) -> Identity {
        Identity {
            image: IMAGE_NAME.to_string(),
            build_id: build_id(),
            machine: "test".to_string(),
            clock: "std".to_string(),
            tsc_hertz: 1,
            command_line: String::new(),
            devices: vec!["console".to_string()],
        }
    }

    fn boot_file(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.state().boot_files.get(path).cloned())
    }

    fn random(&self, out: &mut [u8]) -> bool {
        out.fill(7);
        true
    }

    fn power_off(&self, exit_code: u8) -> ! {
        panic!("powered off with {exit_code}")
    }
}
