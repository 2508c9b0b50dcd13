//! Builds the fixture programs, once per test run, with the compilers of the machine.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use uio_debuginfo::{Image, Space};

/// Runs `build` unless `name` is newer than its source. Concurrent test binaries each build their own
/// copy and rename it into place.
fn built(name: &str, source: &str, build: impl FnOnce(&Path, &Path)) -> PathBuf {
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
