//! What is measured: names, units, goals, and whose figure stands beside it.

use super::peers;
use crate::bench::metric::{Goal, Metric, Peer};

pub(in crate::bench) const OVERHEAD: &str = "cost when idle";
pub(in crate::bench) const FOOTPRINT: &str = "size and memory";
pub(in crate::bench) const ATTACH: &str = "attach";
pub(in crate::bench) const ROUNDTRIP: &str = "round trip";
pub(in crate::bench) const LOAD: &str = "load";
pub(in crate::bench) const GATE: &str = "gate";
pub(in crate::bench) const NINEP: &str = "9p";
pub(in crate::bench) const BOOT: &str = "boot";

pub(in crate::bench) const WORK_WITH: &str = "work loop, with overlay";
pub(in crate::bench) const WORK_WITHOUT: &str = "work loop, without overlay";
pub(in crate::bench) const WORK_DIFFERENCE: &str = "work loop, cost of the overlay";
pub(in crate::bench) const PERIOD_WITH: &str = "whole guest, with overlay";
pub(in crate::bench) const PERIOD_WITHOUT: &str = "whole guest, without overlay";
pub(in crate::bench) const PERIOD_DIFFERENCE: &str = "whole guest, cost of the overlay";
pub(in crate::bench) const DETACHED: &str = "whole guest, cost of a shell that has left";

pub(in crate::bench) const PARTS_SIZE: &str = "linker, isolation and protocol";
pub(in crate::bench) const IMAGE_WITH: &str = "loaded image, with overlay";
pub(in crate::bench) const IMAGE_WITHOUT: &str = "loaded image, without overlay";
pub(in crate::bench) const IMAGE_DIFFERENCE: &str = "loaded image, growth";
pub(in crate::bench) const MEMORY_WITH: &str = "memory used, with overlay";
pub(in crate::bench) const MEMORY_WITHOUT: &str = "memory used, without overlay";
pub(in crate::bench) const MEMORY_DIFFERENCE: &str = "memory used, growth";

pub(in crate::bench) const ATTACH_MINIMUM: &str = "attach to first prompt, minimum";
pub(in crate::bench) const ATTACH_MEDIAN: &str = "attach to first prompt, median";

pub(in crate::bench) const IDLE_P50: &str = "round trip, application idle, p50";
pub(in crate::bench) const IDLE_P99: &str = "round trip, application idle, p99";
pub(in crate::bench) const BUSY_P50: &str = "round trip, application busy, p50";
pub(in crate::bench) const BUSY_P99: &str = "round trip, application busy, p99";

pub(in crate::bench) const LOAD_P50: &str = "load, link and run 4 KiB, p50";

pub(in crate::bench) const GATE_SEPARATE: &str = "gate, there and back, stack switched";
pub(in crate::bench) const GATE_SHARED: &str = "gate, there and back, stack shared";
pub(in crate::bench) const GATE_ENTER: &str = "enter a domain and return";
pub(in crate::bench) const GATE_REGISTER: &str = "two writes of the key register";

pub(in crate::bench) const READ_4K: &str = "9p read, 4 KiB";
pub(in crate::bench) const READ_64K: &str = "9p read, 64 KiB";
pub(in crate::bench) const READ_256K: &str = "9p read, 256 KiB";
pub(in crate::bench) const WRITE_4K: &str = "9p write, 4 KiB";
pub(in crate::bench) const WRITE_64K: &str = "9p write, 64 KiB";
pub(in crate::bench) const WRITE_256K: &str = "9p write, 256 KiB";

pub(in crate::bench) const BOOT_Q35: &str = "boot to overlay-ready, q35";
pub(in crate::bench) const BOOT_MICROVM: &str = "boot to overlay-ready, microvm";
pub(in crate::bench) const BOOT_Q35_INSTRUCTIONS: &str = "boot to overlay-ready, q35, instructions";
pub(in crate::bench) const BOOT_MICROVM_INSTRUCTIONS: &str = "boot to overlay-ready, microvm, instructions";

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
pub(in crate::bench) const METRICS: &[Metric] = &[
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
