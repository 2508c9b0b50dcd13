//! What a gate costs on the real processor: the overlay's own gates, in a Linux process.

use uio_isolation::measure::{CrossingTicks, MeasureError, gate_cycles};

use super::metrics;
use super::workbench::Workbench;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;

pub(super) fn measure(_bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    progress.step("gates in this process");
    let costs = gate_cycles().map_err(|error| malformed(&error))?;
    let per_cycle = costs.ticks_per_core_cycle;
    let bare = costs.unisolated;
    let ticks = match costs.isolated {
        Ok(ticks) => ticks,
        Err(error) => {
            let why = format!(
                "{}; without keys the same gate takes {:.0} cycles, its stack shared {:.0}",
                reason(&error),
                bare.crossing / per_cycle,
                bare.crossing_shared_stack / per_cycle,
            );
            for (metric, _) in rows(&bare) {
                sheet.set(metric, None, &*why);
            }
            return Ok(());
        }
    };
    let unoptimized = if cfg!(debug_assertions) { "; built without optimization" } else { "" };
    for (metric, value) in rows(&ticks) {
        let method = format!(
            "minimum of many rounds with this processor's keys (PKU) in a Linux process, the loop included; core cycles: \
             {:.1} ticks of the time-stamp counter at {per_cycle:.3} ticks a cycle; a gate without keys {:.1} \
             cycles{unoptimized}",
            value.unwrap_or_default(),
            bare.crossing / per_cycle,
        );
        sheet.set(metric, value.map(|ticks| ticks / per_cycle), method);
    }
    Ok(())
}

fn rows(ticks: &CrossingTicks) -> [(&'static str, Option<f64>); 4] {
    [
        (metrics::GATE_REGISTER, ticks.register_pair),
        (metrics::GATE_SHARED, Some(ticks.crossing_shared_stack)),
        (metrics::GATE_SEPARATE, Some(ticks.crossing)),
        (metrics::GATE_ENTER, Some(ticks.enter)),
    ]
}

fn reason(error: &MeasureError) -> String {
    match error {
        MeasureError::NoPku => "this processor, or its hypervisor, offers no protection keys (PKU)".into(),
        other => format!("{other:?}"),
    }
}

fn malformed(error: &MeasureError) -> BenchError {
    BenchError::Malformed { what: "the measurement of gates", found: reason(error) }
}
