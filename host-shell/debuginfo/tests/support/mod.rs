//! Builds the fixture programs, once per test run, with the compilers of the machine.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use uio_debuginfo::{Image, MemoryError, ReadMemory, Space};
use uio_protocol::inspect::Registers;

/// Runs `build` unless `name` is newer than its source. Concurrent test binaries each build their own
/// copy and rename it into place.
fn built(name: &str, source: &str, build: impl FnOnce(&Path, &Path)) -> PathBuf {
    // Tests of one binary take turns; other binaries build their own copies.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(source);
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified(&output) > modified(&source) && modified(&output) > modified(Path::new(file!())) {
        return output;
    }
    let temporary = output
        .with_extension(format!("{:?}.tmp", std::thread::current().id()))
        .with_file_name(format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
    build(&source, &temporary);
    std::fs::rename(&temporary, &output).expect("the fixture can be put into place");
    output
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the compiler starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The bare-metal image, linked where the guest is.
pub(crate) fn guest_path() -> PathBuf {
    built("guest", "guest.rs", |source, output| {
        let mut command = Command::new("rustc");
        command.args(["--edition", "2024", "--crate-name", "guest", "-C", "debuginfo=2"]);
        command.args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "relocation-model=static"]);
        command.args(["-C", "code-model=kernel", "-C", "force-unwind-tables=yes"]);
        for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
            command.arg("-C").arg(format!("link-arg={argument}"));
        }
        command.arg("-Clink-arg=-Wl,--image-base=0xffffffff80000000,--build-id=sha1");
        command.arg(source).arg("-o").arg(output);
        run(&mut command);
    })
}

pub(crate) fn guest() -> Arc<Image> {
    Arc::new(Image::open(guest_path()).expect("the fixture parses"))
}

pub(crate) fn guest_space() -> Space {
    Space::new(guest())
}

/// The process fixture, linked statically and at a fixed address as the guest is.
pub(crate) fn app_path() -> PathBuf {
    built("app", "app.rs", |source, output| {
        let mut command = Command::new("rustc");
        command.args(["--edition", "2024", "--crate-name", "app", "-C", "debuginfo=2", "-C", "opt-level=2"]);
        command.args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"]);
        command.args(["-C", "panic=abort"]);
        command.arg(source).arg("-o").arg(output);
        run(&mut command);
    })
}

/// What the process fixture wrote of itself.
pub(crate) struct Dump {
    pub registers: Registers,
    regions: Vec<(u64, Vec<u8>)>,
}

impl Dump {
    /// Runs the fixture and reads its dump.
    pub(crate) fn take() -> Self {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "dump.{}.{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        run(Command::new(app_path()).arg(&file));
        let bytes = std::fs::read(&file).expect("the dump was written");
        std::fs::remove_file(&file).expect("the dump can be removed");
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let r = |index: usize| word(8 * index);
        let registers = Registers {
            rax: r(0),
            rbx: r(1),
            rcx: r(2),
            rdx: r(3),
            rsi: r(4),
            rdi: r(5),
            rbp: r(6),
            rsp: r(7),
            r8: r(8),
            r9: r(9),
            r10: r(10),
            r11: r(11),
            r12: r(12),
            r13: r(13),
            r14: r(14),
            r15: r(15),
            rip: r(16),
            rflags: 0,
        };
        let mut regions = Vec::new();
        let mut at = 18 * 8;
        while at < bytes.len() {
            let size = usize::try_from(word(at + 8)).expect("fits");
            regions.push((word(at), bytes[at + 16..at + 16 + size].to_vec()));
            at += 16 + size;
        }
        Self { registers, regions }
    }

    /// The stack from `rsp` upward, as a thread snapshot carries it.
    pub(crate) fn stack(&self, bytes_max: usize) -> Vec<u8> {
        let rsp = self.registers.rsp;
        let (start, bytes) = self
            .regions
            .iter()
            .find(|(start, bytes)| rsp.wrapping_sub(*start) < bytes.len() as u64)
            .expect("the stack was dumped");
        let rest = &bytes[usize::try_from(rsp - start).expect("fits")..];
        rest[..rest.len().min(bytes_max)].to_vec()
    }
}

impl ReadMemory for Dump {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        for (start, bytes) in &self.regions {
            let offset = usize::try_from(address.wrapping_sub(*start)).unwrap_or(usize::MAX);
            if let Some(found) = offset.checked_add(buffer.len()).and_then(|end| bytes.get(offset..end)) {
                buffer.copy_from_slice(found);
                return Ok(());
            }
        }
        Err(MemoryError { address, size: buffer.len(), reason: "not dumped".to_owned() })
    }
}

/// An object of the C extension fixture.
pub(crate) fn c_object(compiler: &str, flags: &[&str]) -> Vec<u8> {
    uio_prerequisites::require(&[uio_prerequisites::CLANG]);
    let name = format!("extension-{compiler}{}.o", flags.concat());
    let path = built(&name, "extension.c", |source, output| {
        let mut command = Command::new(compiler);
        command.args(["-c", "-g", "-fno-pic", "-fno-pie", "-mcmodel=kernel", "-mno-red-zone"]);
        run(command.args(flags).arg(source).arg("-o").arg(output));
    });
    std::fs::read(path).expect("was built")
}

/// An object of the Rust extension fixture.
pub(crate) fn rust_object() -> Vec<u8> {
    let path = built("extension-rust.o", "extension.rs", |source, output| {
        let mut command = Command::new("rustc");
        command.args(["--edition", "2024", "--emit=obj", "-C", "debuginfo=2", "-C", "opt-level=2"]);
        command.args(["-C", "relocation-model=static", "-C", "code-model=kernel", "-C", "panic=abort"]);
        command.args(["-C", "codegen-units=1", "-C", "force-unwind-tables=yes"]);
        run(command.arg(source).arg("-o").arg(output));
    });
    std::fs::read(path).expect("was built")
}
