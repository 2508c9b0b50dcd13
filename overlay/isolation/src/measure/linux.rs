//! The system calls that a measurement needs.

use std::io::Error;

use crate::pkru::ProtectionKey;

const PAGE_BYTES: usize = 4096;

/// A system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// Its name.
    pub call: &'static str,
    /// Its error number.
    pub errno: i32,
}

fn last_error(call: &'static str) -> SystemError {
    SystemError { call, errno: Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// Pages of our own, unmapped at the end.
pub(super) struct Pages {
    start: *mut libc::c_void,
    bytes: usize,
}

impl Pages {
    pub(super) fn new(count: usize) -> Result<Self, SystemError> {
        let bytes = count * PAGE_BYTES;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a fresh anonymous mapping.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, rights, flags, -1, 0) };
        if start == libc::MAP_FAILED { Err(last_error("mmap")) } else { Ok(Self { start, bytes }) }
    }

    /// One page that holds this code, executable and read-only.
    pub(super) fn with_text(code: &[u8]) -> Result<Self, SystemError> {
        let pages = Self::new(1)?;
        let fitting = code.len().min(pages.bytes);
        // SAFETY: the page is ours, writable, and large enough.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), pages.start.cast::<u8>(), fitting) };
        // SAFETY: our page; nobody writes it any more.
        let result = unsafe { libc::mprotect(pages.start, pages.bytes, libc::PROT_READ | libc::PROT_EXEC) };
        if result == 0 { Ok(pages) } else { Err(last_error("mprotect")) }
    }

    pub(super) fn set_key(&self, key: ProtectionKey) -> Result<(), SystemError> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let number = libc::c_int::from(key.number());
        // SAFETY: our pages, with the rights they have.
        let result =
            unsafe { libc::syscall(libc::SYS_pkey_mprotect, self.start, self.bytes, rights, number) };
        if result == 0 { Ok(()) } else { Err(last_error("pkey_mprotect")) }
    }

    pub(super) fn start(&self) -> u64 {
        self.start.addr() as u64
    }

    pub(super) fn end(&self) -> u64 {
        self.start() + self.bytes as u64
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our mapping, which nobody uses any more.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// A key of the process, given back at the end. Drop it after the pages that carry it.
pub(super) struct Key(pub(super) ProtectionKey);

impl Key {
    pub(super) fn allocate() -> Result<Self, SystemError> {
        // SAFETY: takes numbers only.
        let key = unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) };
        let key = u8::try_from(key).ok().and_then(ProtectionKey::new);
        key.map(Self).ok_or_else(|| last_error("pkey_alloc"))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: ours, and no page carries it any more.
        unsafe { libc::syscall(libc::SYS_pkey_free, libc::c_int::from(self.0.number())) };
    }
}

/// Ends the thread's restartable sequences. Kernels up to at least 6.1 write their area with the rights of
/// interrupted code, and kill a process whose domain may not write it.
pub(super) fn unregister_rseq() {
    const UNREGISTER: libc::c_int = 1;
    // What glibc registers with (`RSEQ_SIG` on x86), and the original size of the area.
    const SIGNATURE: u32 = 0x5305_3053;
    const AREA_BYTES: u32 = 32;
    // SAFETY: looks up a symbol, which glibc has since 2.35.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) }.cast::<isize>();
    if offset.is_null() {
        return;
    }
    let thread: u64;
    // SAFETY: on x86-64 the thread control block begins with its own address.
    unsafe { core::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly, preserves_flags)) };
    // SAFETY: the symbol is a `ptrdiff_t` that glibc set at start.
    let area = thread.wrapping_add_signed(unsafe { *offset } as i64);
    // SAFETY: fails without effect unless exactly this area is registered.
    unsafe { libc::syscall(libc::SYS_rseq, area, AREA_BYTES, UNREGISTER, SIGNATURE) };
}
