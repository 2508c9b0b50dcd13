//! What the test process gives to the programs, and memory to run them in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use uio_linker::{Bases, Linked, Resolver, StubBytes, Target, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::ExtensionImage;

/// `fn(u64) -> u64` of the System V ABI.
pub(crate) type Function = extern "C" fn(u64) -> u64;

/// Same as in `reference.c`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn host_mix(value: u64) -> u64 {
    (value ^ (value >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

extern "C" fn host_apply(called: Function, value: u64) -> u64 {
    called(value).wrapping_add(1)
}

extern "C" fn must_not_be_called() {
    eprintln!("an extension panicked");
    std::process::abort();
}

/// Address of `host_values`, in low memory so that every code model reaches it. It is never unmapped.
fn host_values() -> GuestAddress {
    static ADDRESS: OnceLock<u64> = OnceLock::new();
    GuestAddress(*ADDRESS.get_or_init(|| {
        let mut values = Mapping::new(4096, Region::Low);
        let bytes: Vec<u8> = [11u64, 22, 33, 44].iter().flat_map(|value| value.to_le_bytes()).collect();
        values.write(0, &bytes);
        ManuallyDrop::new(values).address()
    }))
}

/// How the host's functions are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Direct,
    Stubs,
}

/// Where an extension is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// Below 2 GiB, where 32-bit absolute addresses reach, and far from the host's functions.
    Low,
    /// Wherever Linux likes.
    Any,
}

/// Resolves what the programs need of the host.
pub(crate) struct Host {
    mode: Mode,
    pub(crate) extra: BTreeMap<String, Target>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Host {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, extra: BTreeMap::new(), asked: RefCell::default() }
    }

    fn function(&self, address: usize) -> Target {
        match self.mode {
            Mode::Direct => Target::Address(GuestAddress(address as u64)),
            Mode::Stubs => {
                // movabs r11, address; jmp r11
                let mut code = vec![0x49, 0xbb];
                code.extend_from_slice(&(address as u64).to_le_bytes());
                code.extend_from_slice(&[0x41, 0xff, 0xe3]);
                Target::Stub(StubBytes::new(&code).expect("13 bytes fit"))
            }
        }
    }
}

impl Resolver for Host {
    fn resolve(&self, name: &str, _: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        self.asked.borrow_mut().push(name.into());
        Ok(match name {
            "host_mix" => Some(self.function(host_mix as *const () as usize)),
            "host_apply" => Some(self.function(host_apply as *const () as usize)),
            "host_values" => Some(Target::Address(host_values())),
            "memcpy" => Some(self.function(libc::memcpy as *const () as usize)),
            "memmove" => Some(self.function(libc::memmove as *const () as usize)),
            "memset" => Some(self.function(libc::memset as *const () as usize)),
            "memcmp" => Some(self.function(libc::memcmp as *const () as usize)),
            name if name.contains("panic") || name.contains("unwrap_failed") => {
                Some(self.function(must_not_be_called as *const () as usize))
            }
            name => self.extra.get(name).copied(),
        })
    }

    fn candidates(&self, visit: &mut dyn FnMut(&str)) {
        ["host_mix", "host_apply", "host_values"].into_iter().for_each(visit);
    }
}

/// Anonymous memory of this process.
pub(crate) struct Mapping {
    start: *mut u8,
    bytes: usize,
}

impl Mapping {
    pub(crate) fn new(bytes: usize, region: Region) -> Self {
        let place = if region == Region::Low { libc::MAP_32BIT } else { 0 };
        // SAFETY: a new private mapping at an address that the kernel chooses overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | place,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED, "mmap of {bytes} bytes");
        Self { start: start.cast(), bytes }
    }

    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.bytes);
        // SAFETY: the range lies inside the mapping, which is writable until `protect` and owned by `self`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
    }

    fn protect(&mut self, offset: usize, bytes: usize, protection: i32) {
        assert!(offset + bytes <= self.bytes);
        if bytes == 0 {
            return;
        }
        // SAFETY: the range lies inside the mapping, which no reference points into.
        let result = unsafe { libc::mprotect(self.start.add(offset).cast(), bytes, protection) };
        assert_eq!(result, 0, "mprotect");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned by `self`, and nothing that outlives it points into it.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

/// An extension in this process.
pub(crate) struct Loaded {
    pub(crate) linked: Linked,
    _memory: Mapping,
}

/// Links `image`, maps it with the permissions of a guest, and runs its constructors.
pub(crate) fn load(image: &ExtensionImage, host: &Host, region: Region) -> Result<Loaded, LoadError> {
    const PAGE: usize = 4096;
    let plan = plan(image, host)?;
    let pages = plan.pages();
    let [text, read_only, data] =
        [pages.text, pages.read_only, pages.data].map(|pages| pages as usize * PAGE);
    let mut memory = Mapping::new(text + read_only + data + PAGE, region);
    let base = memory.address();
    let bases = Bases {
        text: GuestAddress(base),
        read_only: GuestAddress(base + text as u64),
        data: GuestAddress(base + (text + read_only) as u64),
    };
    let linked = link(&plan, bases)?;
    assert_eq!(linked.text.len(), text);
    assert!(linked.read_only.len() <= read_only);
    assert!(linked.data.len() as u64 + linked.zeroed_bytes <= data as u64);
    memory.write(0, &linked.text);
    memory.write(text, &linked.read_only);
    memory.write(text + read_only, &linked.data);
    memory.protect(0, text, libc::PROT_READ | libc::PROT_EXEC);
    memory.protect(text, read_only, libc::PROT_READ);
    let loaded = Loaded { linked, _memory: memory };
    for constructor in &loaded.linked.constructors {
        loaded.call_address(*constructor, 0);
    }
    Ok(loaded)
}

impl Loaded {
    pub(crate) fn call(&self, name: &str, argument: u64) -> u64 {
        let entry = self.linked.entry(name).unwrap_or_else(|| panic!("no function {name}"));
        self.call_address(entry, argument)
    }

    pub(crate) fn call_address(&self, address: GuestAddress, argument: u64) -> u64 {
        // SAFETY: the address is that of a compiled function of the test programs, all of which have at most
        // one integer argument, in text that stays mapped while `self` lives.
        let function: Function = unsafe { std::mem::transmute(address.0 as usize) };
        function(argument)
    }
}
