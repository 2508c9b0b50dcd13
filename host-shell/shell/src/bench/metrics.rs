//! What is measured: names, units, goals, and whose figure stands beside it.

use super::peers::{self, Peer};

/// A goal, in the unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// This much or less.
    AtMost(f64),
}

impl Goal {
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// One row before it is measured.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) part: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) goal: Option<Goal>,
    pub(super) peer: Option<Peer>,
}

pub(super) const OVERHEAD: &str = "cost when idle";
pub(super) const FOOTPRINT: &str = "size and memory";
pub(super) const ATTACH: &str = "attach";
pub(super) const ROUNDTRIP: &str = "round trip";
pub(super) const LOAD: &str = "load";
pub(super) const GATE: &str = "gate";
pub(super) const NINEP: &str = "9p";
pub(super) const BOOT: &str = "boot";

pub(super) const WORK_WITH: &str = "work loop, with overlay";
pub(super) const WORK_WITHOUT: &str = "work loop, without overlay";
pub(super) const WORK_DIFFERENCE: &str = "work loop, cost of the overlay";
pub(super) const PERIOD_WITH: &str = "whole guest, with overlay";
pub(super) const PERIOD_WITHOUT: &str = "whole guest, without overlay";
pub(super) const PERIOD_DIFFERENCE: &str = "whole guest, cost of the overlay";
pub(super) const DETACHED: &str = "whole guest, cost of a shell that has left";

pub(super) const PARTS_SIZE: &str = "linker, isolation and protocol";
pub(super) const IMAGE_WITH: &str = "loaded image, with overlay";
pub(super) const IMAGE_WITHOUT: &str = "loaded image, without overlay";
pub(super) const IMAGE_DIFFERENCE: &str = "loaded image, growth";
pub(super) const MEMORY_WITH: &str = "memory used, with overlay";
pub(super) const MEMORY_WITHOUT: &str = "memory used, without overlay";
pub(super) const MEMORY_DIFFERENCE: &str = "memory used, growth";

pub(super) const ATTACH_MINIMUM: &str = "attach to first prompt, minimum";
pub(super) const ATTACH_MEDIAN: &str = "attach to first prompt, median";

pub(super) const IDLE_P50: &str = "round trip, application idle, p50";
pub(super) const IDLE_P99: &str = "round trip, application idle, p99";
pub(super) const BUSY_P50: &str = "round trip, application busy, p50";
pub(super) const BUSY_P99: &str = "round trip, application busy, p99";

pub(super) const LOAD_P50: &str = "load, link and run 4 KiB, p50";

pub(super) const GATE_SEPARATE: &str = "gate, there and back, stack switched";
pub(super) const GATE_SHARED: &str = "gate, there and back, stack shared";
pub(super) const GATE_ENTER: &str = "enter a domain and return";
pub(super) const GATE_REGISTER: &str = "two writes of the key register";

pub(super) const READ_4K: &str = "9p read, 4 KiB";
pub(super) const READ_64K: &str = "9p read, 64 KiB";
pub(super) const READ_256K: &str = "9p read, 256 KiB";
pub(super) const WRITE_4K: &str = "9p write, 4 KiB";
pub(super) const WRITE_64K: &str = "9p write, 64 KiB";
pub(super) const WRITE_256K: &str = "9p write, 256 KiB";

pub(super) const BOOT_Q35: &str = "boot to overlay-ready, q35";
pub(super) const BOOT_MICROVM: &str = "boot to overlay-ready, microvm";
pub(super) const BOOT_Q35_INSTRUCTIONS: &str = "boot to overlay-ready, q35, instructions";
pub(super) const BOOT_MICROVM_INSTRUCTIONS: &str = "boot to overlay-ready, microvm, instructions";

const fn metric(
    part: &'static str,
    name: &'static str,
    unit: &'static str,
    goal: Option<f64>,
    peer: Option<Peer>,
) -> Metric {
    let goal = match goal {
        Some(limit) => Some(Goal::AtMost(limit)),
        None => None,
    };
    Metric { part, name, unit, goal, peer }
}

/// All of them, in the order in which they are shown.
pub(super) const METRICS: &[Metric] = &[
    metric(OVERHEAD, WORK_WITH, "instructions/iteration", None, None),
    metric(OVERHEAD, WORK_WITHOUT, "instructions/iteration", None, None),
    metric(OVERHEAD, WORK_DIFFERENCE, "%", Some(0.0), Some(peers::UIO_NGINX_LOSS)),
    metric(OVERHEAD, PERIOD_WITH, "instructions/period", None, None),
    metric(OVERHEAD, PERIOD_WITHOUT, "instructions/period", None, None),
    metric(OVERHEAD, PERIOD_DIFFERENCE, "instructions/period", None, None),
    metric(OVERHEAD, DETACHED, "%", Some(0.0), None),
    metric(FOOTPRINT, PARTS_SIZE, "KiB", Some(64.0), Some(peers::UIO_IMAGE)),
    metric(FOOTPRINT, IMAGE_WITH, "KiB", None, None),
    metric(FOOTPRINT, IMAGE_WITHOUT, "KiB", None, None),
    metric(FOOTPRINT, IMAGE_DIFFERENCE, "KiB", None, None),
    metric(FOOTPRINT, MEMORY_WITH, "KiB", None, None),
    metric(FOOTPRINT, MEMORY_WITHOUT, "KiB", None, None),
    metric(FOOTPRINT, MEMORY_DIFFERENCE, "KiB", None, Some(peers::UIO_MEMORY)),
    metric(ATTACH, ATTACH_MINIMUM, "ms", None, None),
    metric(ATTACH, ATTACH_MEDIAN, "ms", Some(100.0), None),
    metric(ROUNDTRIP, IDLE_P50, "µs", None, Some(peers::LINUX_CONSOLE)),
    metric(ROUNDTRIP, IDLE_P99, "µs", None, None),
    metric(ROUNDTRIP, BUSY_P50, "µs", None, Some(peers::UIO_BUSY)),
    metric(ROUNDTRIP, BUSY_P99, "µs", None, None),
    metric(LOAD, LOAD_P50, "ms", None, Some(peers::UIO_LOAD)),
    metric(GATE, GATE_REGISTER, "cycles", None, None),
    metric(GATE, GATE_SHARED, "cycles", None, Some(peers::FLEXOS_SHARED)),
    metric(GATE, GATE_SEPARATE, "cycles", None, Some(peers::FLEXOS_SEPARATE)),
    metric(GATE, GATE_ENTER, "cycles", None, None),
    metric(NINEP, READ_4K, "MB/s", None, Some(peers::LINUX_9P_4K)),
    metric(NINEP, READ_64K, "MB/s", None, Some(peers::LINUX_9P_64K)),
    metric(NINEP, READ_256K, "MB/s", None, Some(peers::LINUX_9P_256K)),
    metric(NINEP, WRITE_4K, "MB/s", None, Some(peers::LINUX_9P_4K)),
    metric(NINEP, WRITE_64K, "MB/s", None, Some(peers::LINUX_9P_64K)),
    metric(NINEP, WRITE_256K, "MB/s", None, Some(peers::LINUX_9P_256K)),
    metric(BOOT, BOOT_Q35, "ms", None, Some(peers::LINUX_BOOT)),
    metric(BOOT, BOOT_MICROVM, "ms", None, Some(peers::UNIKRAFT_MICROVM)),
    metric(BOOT, BOOT_Q35_INSTRUCTIONS, "instructions", None, None),
    metric(BOOT, BOOT_MICROVM_INSTRUCTIONS, "instructions", None, None),
];
