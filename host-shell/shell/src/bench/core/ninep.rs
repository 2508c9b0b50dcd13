//! Sequential reads and writes of a host's file through the 9p share, timed in the guest.

use std::time::Duration;

use uio_protocol::fault::Outcome;
use uio_protocol::inspect::ExtensionId;

use super::guest::Kept;
use super::load;
use super::metrics;
use super::workbench::Workbench;
use crate::bench::compiler;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::bench::statistics::Samples;
use crate::client::Client;

/// Rounds over all sizes and directions.
const ROUNDS: usize = 3;
/// How long one transfer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where a Debian guest's kernel would be, if one were installed.
const DEBIAN_IMAGES: [&str; 3] = ["/boot", "/var/lib/libvirt/images", "/usr/share/cloud-images"];

/// Bytes of a block, blocks of a file, and the two rows. Files are large against what a call costs.
const SIZES: [(u64, u64, &str, &str); 3] = [
    (4 << 10, 1024, metrics::READ_4K, metrics::WRITE_4K),
    (64 << 10, 256, metrics::READ_64K, metrics::WRITE_64K),
    (256 << 10, 128, metrics::READ_256K, metrics::WRITE_256K),
];

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let object = compiler::extension(&bench.folder, "ninep", include_str!("ninep.c"))?;
    let share = bench.folder.path("share");
    std::fs::create_dir_all(&share).map_err(BenchError::io(share.display().to_string()))?;
    let guest = Kept::start(bench, "ninep", Some(&share))?;
    let client = guest.connect()?;
    let extension = load::load(&client, &object, "ninep")?;
    let mut rates = vec![[Vec::new(), Vec::new()]; SIZES.len()];
    for round in 1..=ROUNDS {
        for (index, (bytes, blocks, ..)) in SIZES.into_iter().enumerate() {
            for (direction, word) in ["write", "read"].into_iter().enumerate() {
                progress.step(format_args!("{word} by {} KiB, round {round} of {ROUNDS}", bytes >> 10));
                let nanoseconds = transfer(&client, extension, word, bytes, blocks)?;
                // Bytes a nanosecond are GB/s.
                rates[index][direction].push((bytes * blocks) as f64 / nanoseconds as f64 * 1e3);
            }
        }
    }
    for ((bytes, blocks, read, write), [written, was_read]) in SIZES.into_iter().zip(rates) {
        for (metric, rates) in [(write, written), (read, was_read)] {
            let samples = Samples::new(rates);
            let method = format!(
                "best of {ROUNDS} (median {:.1}), {} MiB in calls of {} KiB by an extension, timed by the guest's clock; \
                 guest under {}. {}",
                samples.median().unwrap_or_default(),
                (bytes * blocks) >> 20,
                bytes >> 10,
                bench.accel.name(),
                debian(),
            );
            sheet.set(metric, samples.max(), method);
        }
    }
    Ok(())
}

/// One pass over a file; nanoseconds.
fn transfer(
    client: &Client,
    extension: ExtensionId,
    word: &str,
    bytes: u64,
    blocks: u64,
) -> Result<u64, BenchError> {
    let path = format!("/host/data-{bytes}");
    let arguments = vec!["ninep".to_owned(), word.to_owned(), path, bytes.to_string(), blocks.to_string()];
    let mut printed = Vec::new();
    let end =
        load::run(client, extension, arguments, 0, TIMEOUT, |output| printed.extend_from_slice(output))?;
    let text = String::from_utf8_lossy(&printed).trim().to_owned();
    match (end.outcome, text.parse()) {
        (Outcome::Returned(0), Ok(nanoseconds)) if nanoseconds > 0 => Ok(nanoseconds),
        (outcome, _) => Err(BenchError::Malformed {
            what: "the result of a transfer",
            found: format!("{outcome:?} {text}"),
        }),
    }
}

/// Says whose figures stand beside ours.
fn debian() -> String {
    let kernel = DEBIAN_IMAGES.iter().find_map(|folder| {
        let entries = std::fs::read_dir(folder).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
    });
    match kernel {
        None => "No Debian guest is installed here: its figures are published ones".into(),
        Some(kernel) => format!(
            "{} is here but is not booted by this suite: the figures of the Debian guest are published ones",
            kernel.display()
        ),
    }
}
