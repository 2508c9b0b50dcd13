//! The kernel as the overlay sees it: the traits of `uio_overlay::platform`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uio_overlay::platform::{
    Clock, DomainCall, Domains, EndedThread, Files, HeapBlock, Identity, Interrupted, Link, Log, Machine,
    Memory, OutOfMemory, Threads,
};
use uio_overlay::{Export, Overlay};
use uio_protocol::GuestAddress;
use uio_protocol::error::FileError;
use uio_protocol::fault::Cause;
use uio_protocol::inspect::{
    Access, BuildId, ExtensionId, FileInfo, HeapSummary, IsolationBackend, LogLevel, LogLine, Region,
    ThreadId, ThreadInfo, ThreadSnapshot,
};

use crate::arch::cpu::{self, KeyRegister};
use crate::mm::{frames, heap, layout, paging, regions, window};
use crate::thread::{self, Priority, ring3, scheduler, supervised};
use crate::time::timer::NEVER;
use crate::virtio::console;
use crate::{identity, log, mm, power, start, time, virtio};

/// Pages of the overlay thread's stack.
const STACK_PAGES: u64 = 32;

/// How long the device for random numbers is waited for, before the processor is asked.
const RANDOM_WAIT_NS: u64 = 10_000_000;

/// The kernel behind the overlay's traits.
#[derive(Debug)]
struct Kernel {
    image: &'static str,
}

/// Does nothing, once, when shells can attach: a place in the code where a tool can see it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn uio_overlay_ready() {
    // Or the call would be left out.
    core::hint::black_box(());
}

/// Starts the overlay: from now on shells can attach. `exports` is what the image offers to extensions by name.
///
/// # Panics
///
/// If there is no memory for its thread.
pub fn serve(image: &'static str, exports: &'static [Export]) {
    let kernel: &'static Kernel = alloc::boxed::Box::leak(alloc::boxed::Box::new(Kernel { image }));
    supervised::watch_ended(console::wake);
    let body = move || {
        let mut overlay = Overlay::new(kernel, exports);
        crate::info!("overlay ready");
        uio_overlay_ready();
        overlay.run();
    };
    thread::spawn_with(
        "overlay",
        Priority::Overlay,
        STACK_PAGES,
        layout::KEY_KERNEL,
        alloc::boxed::Box::new(alloc::boxed::Box::new(body)),
    )
    .expect("no memory for the overlay");
}

impl Clock for Kernel {
    fn now_ns(&self) -> u64 {
        time::now_ns()
    }

    fn unix_seconds(&self) -> Option<u64> {
        time::wall::unix_seconds()
    }
}

impl Link for Kernel {
    fn receive(&self, buffer: &mut [u8], deadline_ns: Option<u64>) -> usize {
        console::receive(buffer, deadline_ns.unwrap_or(NEVER))
    }

    fn send(&self, bytes: &[u8]) {
        console::send(bytes);
    }

    fn wake(&self) {
        console::wake();
    }
}

impl From<mm::OutOfMemory> for OutOfMemory {
    fn from(error: mm::OutOfMemory) -> Self {
        Self { bytes: error.bytes }
    }
}

impl Memory for Kernel {
    fn regions(&self) -> Vec<Region> {
        regions::list()
    }

    fn heap_summary(&self) -> HeapSummary {
        heap::summary()
    }

    fn heap_blocks(&self, cursor: u64, out: &mut [HeapBlock]) -> (usize, u64) {
        let mut count = 0;
        let mut next = cursor;
        heap::blocks(cursor, |block| {
            let Some(slot) = out.get_mut(count) else {
                return false;
            };
            *slot = HeapBlock { address: GuestAddress(block.start), bytes: block.bytes };
            count += 1;
            next = block.start + 1;
            true
        });
        (count, next)
    }

    fn memory_bytes(&self) -> u64 {
        frames::totals().0
    }

    fn memory_free_bytes(&self) -> u64 {
        frames::totals().1
    }

    fn read_memory(&self, address: GuestAddress, buffer: &mut [u8]) -> Result<(), GuestAddress> {
        by_page(address, buffer.len(), |at, range| paging::read(at, &mut buffer[range]))
    }

    fn write_memory(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
        by_page(address, bytes.len(), |at, range| paging::write(at, &bytes[range]))
    }

    fn check(&self, address: GuestAddress, length: u64, write: bool) -> Result<(), GuestAddress> {
        paging::check(address.0, length, write).map_err(GuestAddress)
    }

    fn page_key(&self, address: GuestAddress) -> Option<u8> {
        paging::access(address.0).map(|(_, key)| key)
    }

    fn owner(&self, address: GuestAddress) -> Option<String> {
        regions::owner(address.0)
    }

    fn in_image(&self, address: GuestAddress) -> bool {
        layout::in_image(address.0)
    }

    fn map(&self, pages: u32, owner: &str, guard_below: bool) -> Result<GuestAddress, OutOfMemory> {
        Ok(GuestAddress(window::map(pages, owner, guard_below)?))
    }

    fn fill(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
        window::fill(address.0, bytes).map_err(GuestAddress)
    }

    fn protect(
        &self,
        address: GuestAddress,
        pages: u32,
        access: Access,
        key: u8,
        ring3: bool,
    ) -> Result<(), GuestAddress> {
        window::check(address.0, u64::from(pages)).map_err(GuestAddress)?;
        window::protect(address.0, pages, access, key, ring3).map_err(|_| address)
    }

    fn unmap(&self, address: GuestAddress, _pages: u32) {
        window::unmap(address.0);
    }
}

/// Calls `body` for each page's part of a range: an address and which bytes of the buffer they are.
fn by_page(
    address: GuestAddress,
    length: usize,
    mut body: impl FnMut(u64, core::ops::Range<usize>) -> Result<(), u64>,
) -> Result<(), GuestAddress> {
    let mut done = 0;
    while done < length {
        let at = address.0.checked_add(done as u64).ok_or(address)?;
        let piece = (length - done).min((mm::PAGE_BYTES - at % mm::PAGE_BYTES) as usize);
        body(at, done..done + piece).map_err(GuestAddress)?;
        done += piece;
    }
    Ok(())
}

/// [`Interrupted`] if the running thread is to be ended.
fn unless_ending() -> Result<(), Interrupted> {
    if supervised::is_ending() { Err(Interrupted) } else { Ok(()) }
}

impl Threads for Kernel {
    fn threads(&self) -> Vec<ThreadInfo> {
        scheduler::list()
    }

    fn thread_snapshot(&self, thread: ThreadId) -> Option<ThreadSnapshot> {
        let (info, registers) =
            scheduler::with_thread(thread, |thread| (thread.info(), thread.frame.registers()))?;
        Some(ThreadSnapshot { info, registers, stack: mm::copy_stack(registers.rsp) })
    }

    fn thread_name(&self, thread: ThreadId, name: &mut [u8]) {
        scheduler::with_thread(thread, |thread| {
            let count = thread.name.len().min(name.len());
            name[..count].copy_from_slice(&thread.name.as_bytes()[..count]);
        });
    }

    fn spawn(
        &self,
        name: &str,
        job: fn(u64) -> i64,
        argument: u64,
        budget_ms: u32,
        extension: Option<ExtensionId>,
    ) -> Result<ThreadId, OutOfMemory> {
        Ok(supervised::spawn(name, job, argument, budget_ms, extension)?)
    }

    fn spawn_worker(&self, name: &str, job: fn()) -> Result<(), OutOfMemory> {
        thread::spawn(name, Priority::Overlay, job)?;
        Ok(())
    }

    fn end(&self, thread: ThreadId, cause: Cause) {
        supervised::end(thread, cause);
    }

    fn end_current(&self, cause: Cause) -> ! {
        supervised::end_current(cause)
    }

    fn take_ended(&self) -> Option<EndedThread> {
        let ended = supervised::take_ended()?;
        Some(EndedThread { id: ended.id, outcome: ended.outcome, cpu_time_ns: ended.cpu_time_ns })
    }

    fn current(&self) -> ThreadId {
        scheduler::current()
    }

    fn yield_now(&self) {
        scheduler::yield_now();
    }

    fn sleep_until(&self, deadline_ns: u64) -> Result<(), Interrupted> {
        thread::sleep_until_ns(deadline_ns);
        unless_ending()
    }

    fn park(&self, reason: &'static str) -> Result<(), Interrupted> {
        scheduler::park(reason);
        unless_ending()
    }

    fn unpark(&self, thread: ThreadId) {
        scheduler::unpark(thread);
    }
}

impl Domains for Kernel {
    fn backend(&self) -> IsolationBackend {
        match cpu::key_register() {
            KeyRegister::Pkru => IsolationBackend::Pku,
            KeyRegister::Pkrs => IsolationBackend::Pks,
            KeyRegister::None => IsolationBackend::None,
        }
    }

    fn ring3_missing(&self) -> Option<&'static str> {
        ring3::missing()
    }

    fn check_interrupts(&self) {
        supervised::check_interrupts();
    }

    fn enter_ring3(&self, call: &DomainCall) -> u64 {
        let call = ring3::Call {
            function: call.function,
            arguments: call.arguments,
            stack_top: call.stack_top,
            pkru: call.pkru,
        };
        ring3::call(&call).unwrap_or_else(|cause| supervised::end_current(cause))
    }
}

impl Files for Kernel {
    fn list_directory(&self, path: &str, skip: u32, max: u32) -> Result<(Vec<FileInfo>, bool), FileError> {
        crate::files::list(path, skip, max)
    }

    fn file_status(&self, path: &str) -> Result<FileInfo, FileError> {
        crate::files::status(path)
    }

    fn read_file(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        crate::files::read(path, offset, buffer)
    }

    fn write_file(&self, path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), FileError> {
        crate::files::write(path, offset, truncate, bytes)
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        crate::files::remove(path)
    }

    fn make_directory(&self, path: &str) -> Result<(), FileError> {
        crate::files::make_directory(path)
    }
}

impl Log for Kernel {
    fn log_lines(&self, from: u64, max: usize) -> Vec<LogLine> {
        log::lines(from, max)
    }

    fn log_next(&self) -> u64 {
        log::next()
    }

    fn watch_log(&self, on: bool) {
        log::watch(on, console::wake);
    }

    fn log_line(&self, level: LogLevel, text: &str) {
        log::write(level, format_args!("{text}"));
    }
}

impl Machine for Kernel {
    fn identity(&self) -> Identity {
        Identity {
            image: self.image.to_string(),
            build_id: BuildId(identity::build_id()),
            machine: identity::machine().to_string(),
            clock: time::clock::source().to_string(),
            tsc_hertz: time::clock::tsc_hertz(),
            command_line: start::with_boot_info(|info| info.command_line().to_string()),
            devices: virtio::devices(),
        }
    }

    fn boot_file(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(crate::files::boot_file(path)?.map(<[u8]>::to_vec))
    }

    fn random(&self, out: &mut [u8]) -> bool {
        virtio::rng::fill(out, time::now_ns() + RANDOM_WAIT_NS)
    }

    fn power_off(&self, exit_code: u8) -> ! {
        crate::info!("power off, exit code {exit_code}");
        power::off(exit_code)
    }
}
