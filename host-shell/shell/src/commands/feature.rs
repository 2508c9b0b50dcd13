//! `feature`

use serde_json::json;
use uio_bpf::helper::prototype;
use uio_protocol::inspect::IsolationBackend;
use uio_protocol::limits;

use super::info::backend_name;
use super::prog::engine_name;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::{hex, size};

/// Helpers from this number on are not Linux's.
const FIRST_OWN: u32 = 0x1_0000;

pub(super) struct Feature;

impl Command for Feature {
    fn name(&self) -> &'static str {
        "feature"
    }

    fn summary(&self) -> &'static str {
        "What this guest and its machine can do: isolation, devices, limits, exports, eBPF"
    }

    fn usage(&self) -> &'static str {
        "feature [exports|limits|helpers|maps]"
    }

    fn details(&self) -> &'static str {
        "`exports` are the functions that extensions may link to, with their C prototypes; `limits` bound\n\
         what may be loaded and sent; `helpers` are what eBPF programs may call, `maps` the kinds of maps."
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
        &[Completion::Words(&["exports", "limits", "helpers", "maps"]), Completion::Nothing]
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
            Some("helpers") => helpers(shell, out),
            Some("maps") => maps(shell, out),
            Some(other) => Err(CommandError::Usage {
                command: "feature",
                message: format!("`exports`, `limits`, `helpers` or `maps`, not `{other}`"),
            }),
        }
    }
}

fn overview(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let info = shell.client.info()?;
    let exports = shell.client.exports()?.len();
    let bpf = shell.client.bpf_features()?;
    let engines: Vec<&str> = bpf.engines.iter().map(|engine| engine_name(*engine)).collect();
    let signers: Vec<String> = bpf.keys.iter().map(|key| hex(key)).collect();
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
            "bpf": {
                "engines": engines,
                "helpers": bpf.helpers.len(),
                "maps": bpf.maps.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
                "signature_required": bpf.signature_required,
                "keys": signers,
            },
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
        ("ebpf engine", engines.join(", ")),
        ("ebpf helpers", format!("{} functions (`feature helpers`)", bpf.helpers.len())),
        ("ebpf maps", format!("{} kinds (`feature maps`)", bpf.maps.len())),
        (
            "ebpf signature",
            match (bpf.signature_required, signers.is_empty()) {
                (false, true) => "not required; a proof is, always".to_owned(),
                (false, false) => format!("not required; keys {}", signers.join(", ")),
                (true, true) => "required, and no key counts: nothing is admitted".to_owned(),
                (true, false) => format!("required, of {}", signers.join(", ")),
            },
        ),
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

fn helpers(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let mut table = Table::new(&[("NUMBER", Align::Right), ("HELPER", Align::Left), ("", Align::Left)]);
    for number in shell.client.bpf_features()?.helpers {
        // A guest of another build may have one that this shell does not know.
        let known = prototype(number);
        if out.is_json() {
            out.object(&json!({
                "number": number,
                "name": known.map(|helper| helper.name),
                "declaration": known.map(|helper| helper.declaration),
                "summary": known.map(|helper| helper.summary),
            }))?;
            continue;
        }
        let shown = if number < FIRST_OWN { number.to_string() } else { format!("{number:#x}") };
        let (name, summary) = known.map_or(("?", ""), |helper| (helper.name, helper.summary));
        table.row([shown, format!("bpf_{name}"), summary.to_owned()]);
    }
    if out.is_json() { Ok(()) } else { out.table(&table) }
}

fn maps(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let mut table = Table::new(&[("NUMBER", Align::Right), ("KIND", Align::Left)]);
    for kind in shell.client.bpf_features()?.maps {
        if out.is_json() {
            out.object(&json!({ "number": kind as u32, "kind": kind.name() }))?;
        }
        table.row([(kind as u32).to_string(), kind.name().to_owned()]);
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
        ("ebpf programs", limits::BPF_PROGRAMS_MAX.to_string(), limits::BPF_PROGRAMS_MAX as u64),
        ("instructions of a program", limits::BPF_SLOTS_MAX.to_string(), limits::BPF_SLOTS_MAX as u64),
        ("ebpf maps", limits::BPF_MAPS_MAX.to_string(), limits::BPF_MAPS_MAX as u64),
        ("bytes of a map", size(limits::BPF_MAP_BYTES_MAX), limits::BPF_MAP_BYTES_MAX),
        (
            "bytes of a map's value",
            size(limits::BPF_VALUE_BYTES_MAX.into()),
            limits::BPF_VALUE_BYTES_MAX.into(),
        ),
        ("bytes of test data", size(limits::BPF_TEST_BYTES_MAX as u64), limits::BPF_TEST_BYTES_MAX as u64),
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
