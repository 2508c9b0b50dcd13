//! The guest's serial log on the keeper's terminal.
//!
//! QEMU writes a file, so that a stopped terminal cannot stop the guest; the keeper follows the file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often the file is looked at: fast enough for a person.
const INTERVAL: Duration = Duration::from_millis(30);

static FINISH: AtomicBool = AtomicBool::new(false);

/// Shows the log as it grows.
pub(super) fn show(path: PathBuf) {
    let following = thread::Builder::new().name("uio-serial".into());
    let _ = following.spawn(move || {
        let Some(mut file) = (0..100).find_map(|_| {
            File::open(&path).ok().or_else(|| {
                thread::sleep(INTERVAL);
                None
            })
        }) else {
            return;
        };
        let mut text = Vec::new();
        while file.read_to_end(&mut text).is_ok() {
            let mut out = std::io::stdout().lock();
            if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                return;
            }
            drop(out);
            text.clear();
            if FINISH.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(INTERVAL);
        }
    });
}

/// Lets the last lines through.
pub(super) fn finish() {
    thread::sleep(2 * INTERVAL);
    FINISH.store(true, Ordering::Relaxed);
}

/// The last `lines` lines of a log file.
pub(super) fn tail(path: &std::path::Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().map(str::trim_end).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
