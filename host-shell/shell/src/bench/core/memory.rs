//! How much memory a guest uses, read from its frame allocator by the image's debug information.
//!
//! The image without the overlay has nobody to ask, so both are read from outside, through QEMU's monitor.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uio_debuginfo::{MemoryError, PrintLimits, ReadMemory, Space};

use super::guest::{Guest, Setup};
use super::images::open;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::machine::Machine;
use crate::machine::qmp::Monitor;

/// The kernel says this when it has come up, with or without the overlay.
const UP: &str = "uio: ";
/// How long the guest runs before it is looked at: everything has started by then.
const SETTLE: Duration = Duration::from_millis(500);
/// Frames that the kernel manages, and those of them that nobody uses.
const TOTAL: &str = "uio_kernel::mm::frames::FRAMES.data.total";
const FREE: &str = "uio_kernel::mm::frames::FRAMES.data.free";
/// Bytes of a frame.
const FRAME_BYTES: u64 = 4096;

/// Bytes in use in a guest that runs `image`.
pub(super) fn used_bytes(bench: &Workbench, image: &PathBuf) -> Result<u64, BenchError> {
    let space = Space::new(Arc::new(open(image)?));
    let setup = Setup { image, machine: Machine::Q35, icount: false, extra: Vec::new() };
    let mut guest = Guest::start(bench, "memory", setup)?;
    guest.line(UP)?;
    std::thread::sleep(SETTLE);
    let mut monitor = Monitor::connect(&guest.paths.monitor())?;
    monitor.execute("stop")?;
    let mut memory = Monitored { monitor, file: bench.folder.path("memory.bin") };
    let mut number = |expression: &str| {
        let malformed = |found: String| BenchError::Malformed { what: "the frame allocator", found };
        let printed = space
            .print(expression, &mut memory, None, PrintLimits::default())
            .map_err(|error| malformed(error.to_string()))?;
        let text = printed.datum.to_text();
        text.parse::<u64>().map_err(|_| malformed(format!("{expression} is {text}")))
    };
    let (total, free) = (number(TOTAL)?, number(FREE)?);
    Ok(total.saturating_sub(free) * FRAME_BYTES)
}

/// Memory of a stopped guest.
struct Monitored {
    monitor: Monitor,
    /// Where QEMU puts it.
    file: PathBuf,
}

impl ReadMemory for Monitored {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let failed = |reason: String| MemoryError { address, size: buffer.len(), reason };
        // The monitor's integers are signed.
        let arguments = json!({ "val": address.cast_signed(), "size": buffer.len(), "filename": self.file });
        let saved = self.monitor.execute_with("memsave", &arguments);
        saved.map_err(|error| failed(error.to_string()))?;
        let bytes = fs::read(&self.file).map_err(|error| failed(error.to_string()))?;
        if bytes.len() != buffer.len() {
            return Err(failed(format!("QEMU saved {} bytes", bytes.len())));
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}
