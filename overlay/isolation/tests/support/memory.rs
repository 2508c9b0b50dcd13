//! Pages with a protection key, real or emulated.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use uio_isolation::pkru::{KeyRights, Pkru, ProtectionKey};

use super::Mode;

pub const PAGE: usize = 4096;
static HARDWARE: AtomicBool = AtomicBool::new(false);
/// Start, length and key of what the emulator protects. Only added to while no domain runs.
static REGIONS: Mutex<Vec<(u64, usize, u8)>> = Mutex::new(Vec::new());

pub struct Pages {
    start: u64,
    length: usize,
}

impl Pages {
    pub fn new(count: usize, key: u8) -> Self {
        let length = count * PAGE;
        // SAFETY: a fresh anonymous mapping.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        if HARDWARE.load(Ordering::Relaxed) {
            let rights = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: our own mapping; `take_all_keys` allocated the key.
            let result =
                unsafe { libc::syscall(libc::SYS_pkey_mprotect, start, length, rights, i32::from(key)) };
            assert_eq!(result, 0, "pkey_mprotect with key {key}");
        }
        let start = start as u64;
        REGIONS.lock().unwrap().push((start, length, key));
        Self { start, length }
    }

    /// Takes them from the emulator: traps must be deliverable whatever the emulated register says.
    pub fn not_emulated(self) -> Self {
        REGIONS.lock().unwrap().retain(|region| region.0 != self.start);
        self
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.start + self.length as u64
    }

    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end()).contains(&address)
    }

    pub fn read(&self, offset: u64) -> u64 {
        assert!(offset + 8 <= self.length as u64);
        // SAFETY: inside our mapping; host code may read everything.
        unsafe { ((self.start + offset) as *const u64).read_volatile() }
    }

    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        assert!(offset as usize + bytes.len() <= self.length);
        // SAFETY: inside our mapping, which host code may write.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.start + offset) as *mut u8, bytes.len());
        }
    }

    pub fn clear(&self) {
        // SAFETY: the whole of our mapping, between tests.
        unsafe { std::ptr::write_bytes(self.start as *mut u8, 0, self.length) };
    }

    pub fn is_zero(&self) -> bool {
        (0..self.length as u64 / 8).all(|word| self.read(word * 8) == 0)
    }

    /// Turns it into text; from then on the emulator leaves it alone.
    pub fn make_executable(self) -> Self {
        // SAFETY: our mapping.
        let result = unsafe {
            libc::mprotect(self.start as *mut libc::c_void, self.length, libc::PROT_READ | libc::PROT_EXEC)
        };
        assert_eq!(result, 0);
        self.not_emulated()
    }
}

/// Makes key numbers usable as they are: Linux hands them out in order.
pub fn take_all_keys(mode: Mode) {
    if mode != Mode::Pku {
        return;
    }
    HARDWARE.store(true, Ordering::Relaxed);
    for expected in 1..16 {
        // SAFETY: allocates a key.
        let key = unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) };
        assert_eq!(key, expected, "pkey_alloc");
    }
}

/// Gives the emulated pages the protection that a register value means.
pub fn apply(pkru: Pkru) {
    // Never blocks: regions are added only between domains' runs, on the one thread that tests.
    let Ok(regions) = REGIONS.try_lock() else { return };
    for &(start, length, key) in regions.iter() {
        let protection = match pkru.rights(ProtectionKey::new(key).unwrap()) {
            KeyRights::None => libc::PROT_NONE,
            KeyRights::Read => libc::PROT_READ,
            KeyRights::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a mapping of ours that lives as long as the process.
        let result = unsafe { libc::mprotect(start as *mut libc::c_void, length, protection) };
        assert_eq!(result, 0);
    }
}
