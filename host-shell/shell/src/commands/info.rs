//! `info`

use serde_json::json;
use uio_protocol::inspect::IsolationBackend;

use super::{Arguments, Command, CommandError, Output, Shell};
use crate::render::units::{hex, size, time};

pub(super) struct Info;

impl Command for Info {
    fn name(&self) -> &'static str {
        "info"
    }

    fn summary(&self) -> &'static str {
        "Identity and state of the guest: build-id, uptime, memory, devices"
    }

    fn usage(&self) -> &'static str {
        "info"
    }

    fn example(&self) -> &'static str {
        "> info\n\
         image       count\n\
         build-id    3f0c6a2e9b1d4c5f8a7e6d5c4b3a29180716f5e4\n\
         uptime      12.41 s\n\
         memory      231 MiB free of 256 MiB\n\
         isolation   protection keys (pku)\n\
         machine     q35, clock tsc at 2.000 GHz\n\
         devices     console, 9p, rng, net\n\
         extensions  1 loaded\n\
         shells      1 attached"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        let info = shell.client.info()?;
        // The keeper of an instance has a session of its own, which is no shell.
        let keepers = u32::from(shell.target.directory.is_some());
        let shells = info.sessions.saturating_sub(keepers);
        if out.is_json() {
            return out.object(&json!({
                "instance": shell.target.name,
                "image": info.image,
                "build_id": hex(&info.build_id.0),
                "uptime_ns": info.uptime_ns,
                "memory_bytes": info.memory_bytes,
                "memory_free_bytes": info.memory_free_bytes,
                "isolation": backend_name(info.isolation),
                "machine": info.machine,
                "clock": info.clock,
                "tsc_hertz": info.tsc_hertz,
                "command_line": info.command_line,
                "devices": info.devices,
                "shells": shells,
                "extensions": info.extensions,
                "bad_frames": info.bad_frames,
            }));
        }
        let isolation = match info.isolation {
            IsolationBackend::None => "none on this machine".to_owned(),
            backend => format!("protection keys ({})", backend_name(backend)),
        };
        let hertz = info.tsc_hertz as f64 / 1e9;
        let mut rows = vec![
            ("image", info.image),
            ("build-id", hex(&info.build_id.0)),
            ("uptime", time(info.uptime_ns)),
            ("memory", format!("{} free of {}", size(info.memory_free_bytes), size(info.memory_bytes))),
            ("isolation", isolation),
            ("machine", format!("{}, clock {} at {hertz:.3} GHz", info.machine, info.clock)),
            ("devices", info.devices.join(", ")),
            ("extensions", format!("{} loaded", info.extensions)),
            ("shells", format!("{shells} attached")),
        ];
        let command_line = info.command_line.trim();
        if !command_line.is_empty() {
            rows.push(("options", command_line.to_owned()));
        }
        if info.bad_frames > 0 {
            rows.push(("link", format!("{} damaged frames discarded", info.bad_frames)));
        }
        let width = rows.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
        for (title, value) in rows {
            out.line(format!("{}  {value}", out.style().bold(&format!("{title:<width$}"))))?;
        }
        Ok(())
    }
}

pub(super) fn backend_name(backend: IsolationBackend) -> &'static str {
    match backend {
        IsolationBackend::Pku => "pku",
        IsolationBackend::Pks => "pks",
        IsolationBackend::None => "none",
    }
}
