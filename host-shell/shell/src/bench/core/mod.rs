//! The suite `core`: boot, attach, overlay, extensions, gates, files. Guests are started and measured as a person
//! would start them.

mod attach;
mod boot;
mod counter;
mod footprint;
mod gate;
mod guest;
mod images;
mod load;
mod memory;
pub(super) mod metrics;
mod ninep;
mod overhead;
mod peers;
mod pty;
mod roundtrip;
mod size;
mod workbench;

use super::Suite;
use workbench::Workbench;

pub(super) const SUITE: Suite<Workbench> = Suite {
    name: "core",
    metrics: metrics::METRICS,
    parts: &[
        (metrics::OVERHEAD, overhead::measure),
        (metrics::FOOTPRINT, footprint::measure),
        (metrics::ATTACH, attach::measure),
        (metrics::ROUNDTRIP, roundtrip::measure),
        (metrics::LOAD, load::measure),
        (metrics::GATE, gate::measure),
        (metrics::NINEP, ninep::measure),
        (metrics::BOOT, boot::measure),
    ],
    prepare: Workbench::new,
};
