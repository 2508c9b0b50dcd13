//! `uio-shell doctor`: what this host can do.

use std::process::Command;

use serde_json::{Value, json};

use crate::instance::{RunDirectory, list};
use crate::machine::accelerator::{KvmVerdict, kvm};
use crate::machine::image::workspace;
use uio_prerequisites::{CLANG, QEMU, Tool, command_line, is_installed};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it is as it should be. What only makes things slower counts as good.
    pub good: bool,
    /// The next step.
    pub advice: Option<String>,
}

impl Finding {
    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "check": self.what, "found": self.found, "ok": self.good, "advice": self.advice })
    }
}

/// Looks at everything that guests and extensions need.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let run = RunDirectory::open();
    let mut findings = vec![tool(&QEMU)];
    findings.push(match &run {
        Ok(run) => accelerator(run),
        Err(error) => bad("accelerator", format!("not probed: {error}"), None),
    });
    findings.push(host_keys());
    findings.push(tool(&CLANG));
    findings.push(optional("gcc", "compiles C extensions where clang is missing"));
    findings.push(match version("cargo") {
        Some(version) => good("cargo", version),
        None => {
            bad("cargo", "not installed".into(), Some("needed to build images: https://rustup.rs".into()))
        }
    });
    findings.push(match workspace() {
        Some(path) => good("workspace", path.display().to_string()),
        None => good("workspace", "not here: images are given by path".into()),
    });
    findings.push(match run {
        Ok(run) => {
            let count = list(&run).len();
            let plural = if count == 1 { "" } else { "s" };
            good("run directory", format!("{} ({count} instance{plural})", run.path().display()))
        }
        Err(error) => {
            bad("run directory", error.to_string(), Some("set XDG_RUNTIME_DIR to a folder of yours".into()))
        }
    });
    findings
}

fn good(what: &'static str, found: String) -> Finding {
    Finding { what, found, good: true, advice: None }
}

fn bad(what: &'static str, found: String, advice: Option<String>) -> Finding {
    Finding { what, found, good: false, advice }
}

fn tool(tool: &Tool) -> Finding {
    match version(tool.program) {
        Some(version) => good(tool.program, version),
        None => bad(
            tool.program,
            format!("not installed ({})", tool.purpose),
            Some(format!("install with: {}", command_line(&[*tool]))),
        ),
    }
}

fn optional(program: &'static str, purpose: &str) -> Finding {
    good(program, version(program).unwrap_or_else(|| format!("not installed (optional: {purpose})")))
}

fn accelerator(run: &RunDirectory) -> Finding {
    if !is_installed(QEMU.program) {
        return bad("accelerator", "not probed: QEMU is missing".into(), None);
    }
    match kvm(run) {
        KvmVerdict::Usable => good("accelerator", "kvm: usable, with protection keys".into()),
        verdict => Finding {
            what: "accelerator",
            found: format!("tcg (emulation, has protection keys); kvm: {}", verdict.describe()),
            good: true,
            advice: None,
        },
    }
}

fn host_keys() -> Finding {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    good(
        "host CPU keys",
        match (has("pku"), has("ospke")) {
            (true, true) => "pku, usable by programs".into(),
            (true, false) => "pku, not enabled by the kernel".into(),
            (false, _) => "none: gate costs cannot be measured natively".into(),
        },
    )
}

/// First line of `PROGRAM --version`.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
