//! `feature`

use serde_json::json;
use uio_protocol::inspect::IsolationBackend;
use uio_protocol::limits;

use super::info::backend_name;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::size;

pub(super) struct Feature;

impl Command for Feature {
    fn name(&self) -> &'static str {
        "feature"
    }

    fn summary(&self) -> &'static str {
        "What this guest and its machine can do: isolation, devices, limits, exports"
    }

    fn usage(&self) -> &'static str {
        "feature [exports|limits]"
    }

    fn details(&self) -> &'static str {
        "`exports` are the functions that extensions may link to, with their C prototypes; `limits` bound\n\
         what may be loaded and sent."
    }

    fn example(&self) -> &'static str {
        "> feature\n\
         isolation mpk    yes (pku)\n\
         isolation ring3  yes\n\
         isolation none   yes\n\
         devices          console, 9p, rng\n\
         exports          24 functions (`feature exports`)"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Words(&["exports", "limits"]), Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        match arguments.get(0) {
            None => overview(shell, out),
            Some("exports") => exports(shell, out),
            Some("limits") => show_limits(out),
            Some(other) => Err(CommandError::Usage {
                command: "feature",
                message: format!("`exports` or `limits`, not `{other}`"),
            }),
        }
    }
}

fn overview(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let info = shell.client.info()?;
    let exports = shell.client.exports()?.len();
    let keys = info.isolation != IsolationBackend::None;
    // The keys of supervisor pages say nothing in ring 3.
    let ring3 = info.isolation == IsolationBackend::Pku;
    if out.is_json() {
        return out.object(&json!({
            "isolation_backend": backend_name(info.isolation),
            "isolation": { "mpk": keys, "ring3": ring3, "none": true },
            "devices": info.devices,
            "machine": info.machine,
            "clock": info.clock,
            "exports": exports,
            "protocol": format!("{:016x}", uio_protocol::PROTOCOL_HASH),
        }));
    }
    let no_keys = "no: the machine has no protection keys";
    for (title, value) in [
        (
            "isolation mpk",
            if keys { format!("yes ({})", backend_name(info.isolation)) } else { no_keys.into() },
        ),
        (
            "isolation ring3",
            match info.isolation {
                IsolationBackend::Pku => "yes".to_owned(),
                IsolationBackend::Pks => "no: it needs keys for user pages (pku)".to_owned(),
                IsolationBackend::None => no_keys.to_owned(),
            },
        ),
        ("isolation none", "yes".to_owned()),
        ("devices", info.devices.join(", ")),
        ("machine", format!("{}, clock {}", info.machine, info.clock)),
        ("exports", format!("{exports} functions (`feature exports`)")),
    ] {
        out.line(format!("{}  {value}", out.style().bold(&format!("{title:<15}"))))?;
    }
    Ok(())
}

fn exports(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let mut exports = shell.client.exports()?;
    exports.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = Table::new(&[("ADDRESS", Align::Left), ("PROTOTYPE", Align::Left)]);
    for export in exports {
        if out.is_json() {
            out.object(&json!({
                "name": export.name,
                "prototype": export.prototype,
                "address": export.address.to_string(),
            }))?;
        }
        table.row([format!("{:#018x}", export.address), export.prototype]);
    }
    if out.is_json() { Ok(()) } else { out.table(&table) }
}

fn show_limits(out: &mut Output<'_>) -> Result<(), CommandError> {
    let rows = [
        ("shells attached", limits::SESSIONS_MAX.to_string(), limits::SESSIONS_MAX as u64),
        ("extensions loaded", limits::EXTENSIONS_MAX.to_string(), limits::EXTENSIONS_MAX as u64),
        ("runs at a time", limits::RUNS_MAX.to_string(), limits::RUNS_MAX as u64),
        (
            "bytes of an extension image",
            size(limits::UPLOAD_BYTES_MAX as u64),
            limits::UPLOAD_BYTES_MAX as u64,
        ),
        (
            "heap bytes of an extension",
            size(limits::EXTENSION_HEAP_BYTES_MAX as u64),
            limits::EXTENSION_HEAP_BYTES_MAX as u64,
        ),
        ("ms of CPU for a run", limits::BUDGET_DEFAULT_MS.to_string(), limits::BUDGET_DEFAULT_MS.into()),
        ("arguments of a call", limits::CALL_ARGUMENTS_MAX.to_string(), limits::CALL_ARGUMENTS_MAX as u64),
        ("bytes of a frame", size(limits::FRAME_BYTES_MAX as u64), limits::FRAME_BYTES_MAX as u64),
    ];
    for (what, text, value) in rows {
        if out.is_json() {
            out.object(&json!({ "limit": what, "value": value }))?;
        } else {
            out.line(format!("{what:<28} {text}"))?;
        }
    }
    Ok(())
}
