//! The address space of the test machine: a window below 2 GiB for what is loaded, found again by
//! `process_vm_readv`, which fails where a load would fault.

use std::ops::Range;

use uio_overlay::platform::{OutOfMemory, PAGE_BYTES};
use uio_protocol::GuestAddress;
use uio_protocol::inspect::{Access, Region};

/// Pages of loaded code and data under one owner.
pub(crate) struct Mapped {
    pub(crate) start: u64,
    pub(crate) pages: u32,
    pub(crate) owner: String,
    pub(crate) guard: bool,
    pub(crate) access: Access,
    pub(crate) key: u8,
}

#[derive(Default)]
pub(crate) struct AddressSpace {
    pub(crate) mapped: Vec<Mapped>,
    /// `map` fails from this many pages on; for tests of memory running out.
    pub(crate) pages_max: Option<u32>,
    /// Where the next mapping goes whose owner ends in `data`.
    pub(crate) data_at: Option<u64>,
}

impl AddressSpace {
    pub(crate) fn pages(&self) -> u32 {
        self.mapped.iter().map(|mapped| mapped.pages).sum()
    }

    pub(crate) fn map(&mut self, pages: u32, owner: &str, guard: bool) -> Result<GuestAddress, OutOfMemory> {
        let bytes = u64::from(pages) * PAGE_BYTES;
        let refused = OutOfMemory { bytes };
        if pages == 0 || self.pages_max.is_some_and(|max| self.pages() + pages > max) {
            return Err(refused);
        }
        let guard_bytes = if guard { PAGE_BYTES } else { 0 };
        let wish = self.data_at.take_if(|_| owner.ends_with("data"));
        let fixed = if wish.is_some() { libc::MAP_FIXED_NOREPLACE } else { libc::MAP_32BIT };
        // SAFETY: a fresh anonymous mapping, which replaces none.
        let start = unsafe {
            libc::mmap(
                wish.unwrap_or(0) as *mut _,
                (bytes + guard_bytes) as usize,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(refused);
        }
        let start = start as u64 + guard_bytes;
        let access = Access { write: true, execute: false };
        set_access(start, pages, access);
        self.mapped.push(Mapped { start, pages, owner: owner.to_string(), guard, access, key: 0 });
        Ok(GuestAddress(start))
    }

    pub(crate) fn fill(&self, address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
        let mapped = self.find(address).filter(|mapped| {
            address.0 + bytes.len() as u64 <= mapped.start + u64::from(mapped.pages) * PAGE_BYTES
        });
        let mapped = mapped.ok_or(address)?;
        set_access(mapped.start, mapped.pages, Access { write: true, execute: false });
        // SAFETY: the range lies in a mapping of this address space, just made writable, which no Rust
        // reference points into.
        unsafe { std::ptr::copy(bytes.as_ptr(), address.0 as *mut u8, bytes.len()) };
        set_access(mapped.start, mapped.pages, mapped.access);
        Ok(())
    }

    pub(crate) fn protect(
        &mut self,
        address: GuestAddress,
        pages: u32,
        access: Access,
        key: u8,
    ) -> Result<(), GuestAddress> {
        assert!(!(access.write && access.execute), "write and execute together");
        let mapped = self.mapped.iter_mut().find(|mapped| mapped.start == address.0 && mapped.pages == pages);
        let mapped = mapped.ok_or(address)?;
        set_access(mapped.start, pages, access);
        mapped.access = access;
        mapped.key = key;
        Ok(())
    }

    pub(crate) fn unmap(&mut self, address: GuestAddress, pages: u32) {
        let index = self
            .mapped
            .iter()
            .position(|mapped| mapped.start == address.0 && mapped.pages == pages)
            .expect("unmap of what is not mapped");
        let mapped = self.mapped.swap_remove(index);
        let guard_bytes = if mapped.guard { PAGE_BYTES } else { 0 };
        let bytes = u64::from(pages) * PAGE_BYTES + guard_bytes;
        // SAFETY: the whole of a mapping that `map` made and nobody uses any more.
        let result = unsafe { libc::munmap((mapped.start - guard_bytes) as *mut _, bytes as usize) };
        assert_eq!(result, 0);
    }

    pub(crate) fn find(&self, address: GuestAddress) -> Option<&Mapped> {
        self.mapped.iter().find(|mapped| {
            (mapped.start..mapped.start + u64::from(mapped.pages) * PAGE_BYTES).contains(&address.0)
        })
    }

    pub(crate) fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<_> = self
            .mapped
            .iter()
            .map(|mapped| Region {
                start: GuestAddress(mapped.start),
                size: u64::from(mapped.pages) * PAGE_BYTES,
                access: mapped.access,
                key: mapped.key,
                owner: mapped.owner.clone(),
            })
            .collect();
        regions.sort_by_key(|region| region.start);
        regions
    }
}

fn set_access(start: u64, pages: u32, access: Access) {
    let mut protection = libc::PROT_READ;
    if access.write {
        protection |= libc::PROT_WRITE;
    }
    if access.execute {
        protection |= libc::PROT_EXEC;
    }
    // SAFETY: pages of a mapping that `map` made, holding no Rust object.
    let result = unsafe { libc::mprotect(start as *mut _, pages as usize * PAGE_BYTES as usize, protection) };
    assert_eq!(result, 0);
}

/// Reads this process's memory; the first bad address, to the page, on failure.
pub(crate) fn read(address: GuestAddress, buffer: &mut [u8]) -> Result<(), GuestAddress> {
    transfer(address, buffer.len(), |position, offset, length| {
        let local = libc::iovec { iov_base: buffer[offset..].as_mut_ptr().cast(), iov_len: length };
        let remote = libc::iovec { iov_base: position as *mut _, iov_len: length };
        // SAFETY: `local` lies in `buffer`; a bad `remote` is an error, not a fault.
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) }
    })
}

/// Writes this process's memory, where pages are writable.
pub(crate) fn write(address: GuestAddress, bytes: &[u8]) -> Result<(), GuestAddress> {
    transfer(address, bytes.len(), |position, offset, length| {
        let local = libc::iovec { iov_base: bytes[offset..].as_ptr().cast_mut().cast(), iov_len: length };
        let remote = libc::iovec { iov_base: position as *mut _, iov_len: length };
        // SAFETY: `local` lies in `bytes` and is only read; a bad `remote` is an error, not a fault. Tests
        // write to memory that is meant to be written so.
        unsafe { libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) }
    })
}

fn transfer(
    address: GuestAddress,
    length: usize,
    mut copy: impl FnMut(u64, usize, usize) -> isize,
) -> Result<(), GuestAddress> {
    let mut offset = 0;
    while offset < length {
        let position = address.0.checked_add(offset as u64).ok_or(address)?;
        let in_page = (PAGE_BYTES - position % PAGE_BYTES) as usize;
        let piece = in_page.min(length - offset);
        if copy(position, offset, piece) != piece as isize {
            return Err(GuestAddress(position));
        }
        offset += piece;
    }
    Ok(())
}

/// Mappings of this process: range, writable, and whether they belong to the test's executable.
pub(crate) fn process_maps() -> Vec<(Range<u64>, bool, bool)> {
    let executable = std::env::current_exe().unwrap();
    let executable = executable.to_str().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|access| access.starts_with('r')))
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let parse = |text| u64::from_str_radix(text, 16).unwrap();
            (parse(start)..parse(end), rest.as_bytes()[1] == b'w', line.ends_with(executable))
        })
        .collect()
}
