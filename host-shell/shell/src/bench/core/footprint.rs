//! What the overlay adds to an image and to a guest's memory.

use super::memory;
use super::metrics;
use super::size::{Breakdown, Group, breakdown};
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

const KIB: f64 = 1024.0;

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    progress.step("reading the images");
    let with = breakdown(&bench.images.with)?;
    let without = breakdown(&bench.images.without)?;
    image_rows(sheet, &with, &without);

    let how = "total less free frames of the guest's frame allocator, half a second after boot, 256 MiB, q35; read \
               through QEMU's monitor";
    progress.step("memory of the guest with the overlay");
    let used = memory::used_bytes(bench, &bench.images.with)?;
    sheet.set(metrics::MEMORY_WITH, Some(used as f64 / KIB), how);
    progress.step("memory of the guest without the overlay");
    let bare = memory::used_bytes(bench, &bench.images.without)?;
    sheet.set(metrics::MEMORY_WITHOUT, Some(bare as f64 / KIB), how);
    let growth = (used as f64 - bare as f64) / KIB;
    sheet.set(metrics::MEMORY_DIFFERENCE, Some(growth), format!("difference of the two rows above: {how}"));
    Ok(())
}

fn image_rows(sheet: &mut Sheet, with: &Breakdown, without: &Breakdown) {
    let parts = [Group::Linker, Group::Isolation, Group::Protocol];
    let bytes: f64 = parts.iter().map(|group| with.bytes(*group) as f64 - without.bytes(*group) as f64).sum();
    let each: Vec<String> = Group::ALL
        .into_iter()
        .map(|group| {
            let growth = with.bytes(group) as f64 - without.bytes(group) as f64;
            format!("{} {:.1}", group.name(), growth / KIB)
        })
        .collect();
    let method = format!(
        "code by debug information: each byte belongs to the crate of the innermost function it was inlined from, core \
         and alloc to who instantiated them; serde, postcard, cobs and the checksum count as protocol; and \
         named data. Growth against the image without the overlay, of all groups, in KiB: {}; constants without a name \
         cannot be told apart",
        each.join(", ")
    );
    sheet.set(metrics::PARTS_SIZE, Some(bytes / KIB), method);
    let how =
        "memory sizes of the ELF file's loaded segments: code, constants, data, zeroed data and boot pages";
    sheet.set(metrics::IMAGE_WITH, Some(with.loaded as f64 / KIB), how);
    sheet.set(metrics::IMAGE_WITHOUT, Some(without.loaded as f64 / KIB), how);
    let growth = (with.loaded as f64 - without.loaded as f64) / KIB;
    let sections = format!(
        "difference of the two rows above; of it code {:.1} KiB, constants {:.1} KiB; what only the shell uses in this image \
         is in it: file systems, 9p, network",
        (with.code as f64 - without.code as f64) / KIB,
        (with.constants as f64 - without.constants as f64) / KIB,
    );
    sheet.set(metrics::IMAGE_DIFFERENCE, Some(growth), sections);
}
