//! From nothing to a guest that shells can attach to.

use std::time::Duration;

use super::counter::{Counter, Window};
use super::guest::{Guest, READY_LINE, Setup};
use super::images::{open, symbol};
use super::metrics;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::bench::statistics::Samples;
use crate::machine::Machine;

/// Boots of each machine for the wall time.
const BOOTS: usize = 12;
/// The function that the kernel calls when shells can attach.
const READY: &str = "uio_overlay_ready";
/// Boots of each machine that are counted.
const COUNTED: usize = 2;

const MACHINES: [(Machine, &str, &str); 2] = [
    (Machine::Q35, metrics::BOOT_Q35, metrics::BOOT_Q35_INSTRUCTIONS),
    (Machine::Microvm, metrics::BOOT_MICROVM, metrics::BOOT_MICROVM_INSTRUCTIONS),
];

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let mut wall = [Vec::new(), Vec::new()];
    let mut inside = [Vec::new(), Vec::new()];
    for boot in 1..=BOOTS {
        for (index, (machine, ..)) in MACHINES.into_iter().enumerate() {
            progress.step(format_args!("{}, boot {boot} of {BOOTS}", machine.name()));
            let (time, own) = boot_once(bench, machine)?;
            wall[index].push(time);
            inside[index].extend(own);
        }
    }
    for ((_, wall_metric, _), (wall, inside)) in MACHINES.into_iter().zip(wall.iter().zip(inside)) {
        let (wall, inside) = (Samples::millis(wall), Samples::new(inside));
        let part =
            |value: Option<f64>| value.map_or_else(|| "unknown".into(), |value| format!("{value:.2} ms"));
        let method = format!(
            "minimum of {} boots, interleaved with the other machine's, from QEMU's start to `{READY_LINE}` on the serial \
             port, under {}; median {}; of it in the guest, by its clock, {}",
            wall.len(),
            bench.accel.name(),
            part(wall.median()),
            part(inside.min()),
        );
        sheet.set(wall_metric, wall.min(), method);
    }
    let counter = Counter::build(bench)?;
    let path = &bench.images.with;
    let (head, _) = symbol(&open(path)?, path, READY)?;
    for (machine, _, metric) in MACHINES {
        let window = Window { head, from: 0, to: 1, wait: None, range: None };
        let mut counts = Vec::new();
        for boot in 1..=COUNTED {
            progress.step(format_args!("{}, counted boot {boot} of {COUNTED}", machine.name()));
            counts.push(counter.count(bench, "boot-counted", path, machine, &window)?.total);
        }
        let method = format!(
            "from the processor's reset to `{READY}`, QEMU's firmware included; TCG plugin, -icount shift=0,sleep=off; \
             {COUNTED} boots counted {counts:?}"
        );
        sheet.set(metric, counts.iter().min().map(|count| *count as f64), method);
    }
    Ok(())
}

/// Wall time, and the guest's own in milliseconds.
fn boot_once(bench: &Workbench, machine: Machine) -> Result<(Duration, Option<f64>), BenchError> {
    let image = &bench.images.with;
    let mut guest = Guest::start(bench, "boot", Setup { image, machine, icount: false, extra: Vec::new() })?;
    let (ready, line) = guest.line(READY_LINE)?;
    Ok((ready - guest.started, stamp(&line).map(|seconds| seconds * 1e3)))
}

/// The time that the kernel writes before each line, `[    0.004172] …`, in seconds.
fn stamp(line: &str) -> Option<f64> {
    line.trim_start().strip_prefix('[')?.split_once(']')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        assert_eq!(stamp("[    0.004172] overlay ready"), Some(0.004_172));
        assert_eq!(stamp("overlay ready"), None);
    }
}
