//! Whether KVM is usable here. The device alone proves nothing, so a few instructions are booted.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Accel;
use super::probe::{self, ProbeResult};
use super::process::QEMU;
use crate::instance::RunDirectory;

/// The probe runs some 40 instructions; starting QEMU is what takes time. A KVM that hangs is not usable.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether KVM is usable, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "reason")]
pub enum KvmVerdict {
    /// It runs guests and shows protection keys.
    Usable,
    /// It runs guests, but hides protection keys.
    NoPku,
    /// It does not; why.
    Unusable(String),
}

impl KvmVerdict {
    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Usable => "usable, with protection keys".into(),
            Self::NoPku => "runs guests, but shows them no protection keys (PKU)".into(),
            Self::Unusable(reason) => format!("not usable: {reason}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Cached {
    boot_id: String,
    verdict: KvmVerdict,
}

/// The verdict on KVM, from the probe or from an earlier one since the host booted.
#[must_use]
pub fn kvm(run: &RunDirectory) -> KvmVerdict {
    let path = run.path().join("kvm-probe.json");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if let Ok(text) = fs::read(&path)
        && let Ok(cached) = serde_json::from_slice::<Cached>(&text)
        && !boot_id.is_empty()
        && cached.boot_id == boot_id
    {
        return cached.verdict;
    }
    let verdict = probe_kvm(run.path());
    if let Ok(text) = serde_json::to_vec(&Cached { boot_id, verdict: verdict.clone() }) {
        // Without the cache the next start probes again: slower, not wrong.
        let _ = fs::write(path, text);
    }
    verdict
}

fn probe_kvm(folder: &Path) -> KvmVerdict {
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return KvmVerdict::Unusable("there is no /dev/kvm".into());
        }
        Err(error) => return KvmVerdict::Unusable(format!("/dev/kvm: {error}")),
    }
    match boot_probe(folder, Accel::Kvm) {
        Ok(ProbeResult::WorksWithPku) => KvmVerdict::Usable,
        Ok(ProbeResult::WorksWithoutPku) => KvmVerdict::NoPku,
        Err(reason) => KvmVerdict::Unusable(reason),
    }
}

/// Boots the probe under `accel`.
///
/// # Errors
///
/// What happened instead of the probe's answer.
pub fn boot_probe(folder: &Path, accel: Accel) -> Result<ProbeResult, String> {
    let image = folder.join(format!("probe-{}.elf", std::process::id()));
    fs::write(&image, probe::image()).map_err(|error| format!("{}: {error}", image.display()))?;
    let result = boot(&image, accel);
    let _ = fs::remove_file(&image);
    result
}

fn boot(image: &Path, accel: Accel) -> Result<ProbeResult, String> {
    let cpu = if accel == Accel::Kvm { "host" } else { "max" };
    let mut child = Command::new(QEMU)
        .args(["-machine", "q35", "-accel", accel.name(), "-cpu", cpu, "-m", "32M"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"])
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{QEMU}: {error}"))?;
    let deadline = Instant::now() + PROBE_TIMEOUT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let code = status.code();
                return code.and_then(probe::result).ok_or_else(|| {
                    format!("a guest of a few instructions failed under it (QEMU ended with {status})")
                });
            }
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            outcome => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(match outcome {
                    Err(error) => error.to_string(),
                    Ok(_) => format!(
                        "a guest of a few instructions did not finish within {} s",
                        PROBE_TIMEOUT.as_secs()
                    ),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TCG offers protection keys, so the probe has to find them; skipped where QEMU is not installed.
    #[test]
    fn the_probe_finds_protection_keys_under_tcg() {
        if Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: {QEMU} is not installed");
            return;
        }
        assert_eq!(boot_probe(&std::env::temp_dir(), Accel::Tcg), Ok(ProbeResult::WorksWithPku));
    }
}
