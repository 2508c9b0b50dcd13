//! The same programs in C, compiled by clang for this machine and measured in a process of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use uio_bpf_measure::run::Input;
use uio_bpf_measure::speed::Times;

use super::packets::PACKET_BYTES;
use super::workbench::Workbench;
use crate::bench::error::BenchError;

/// Passes over the ring in a round, as the engines make.
const PASSES: usize = 64;

/// A program in C, ready to be measured.
pub(super) struct Native {
    executable: PathBuf,
    packets: PathBuf,
}

/// What a measurement gave.
pub(super) struct Measured {
    pub(super) times: Times,
    /// Sum of the results over the ring, for comparison.
    pub(super) sum: u64,
}

impl Native {
    /// Compiles `source`, whose function is `function`, with `flags` beside -O2, for runs over `inputs`.
    pub(super) fn new(
        bench: &Workbench,
        source: &Path,
        function: &str,
        inputs: &[Input],
        flags: &[&str],
    ) -> Result<Self, BenchError> {
        let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let harness = bench.folder.path("native.c");
        std::fs::write(&harness, include_str!("native.c")).map_err(BenchError::io("native.c"))?;
        let packets = bench.folder.path(&format!("{stem}.packets"));
        let bytes: Vec<u8> = inputs.iter().flat_map(|input| input.bytes.clone()).collect();
        std::fs::write(&packets, bytes).map_err(BenchError::io("packets"))?;
        let executable = bench.folder.path(&format!("{stem}{}", flags.concat()));
        let include = bench.workspace.join("extensions/include");
        let mut command = Command::new("clang");
        command
            .args(flags)
            .args(["-O2", "-w", "-idirafter"])
            .arg(bench.workspace.join("extensions/bpf/fallback"));
        command.arg("-I").arg(include).arg(format!("-DPROGRAM={function}"));
        command.arg(&harness).arg(source).arg("-o").arg(&executable);
        let output = command.output().map_err(BenchError::io("clang"))?;
        if !output.status.success() {
            return Err(BenchError::Compile {
                program: "clang".into(),
                source_file: source.into(),
                said: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        Ok(Self { executable, packets })
    }

    /// Measures it.
    pub(super) fn measure(&self, rounds: usize) -> Result<Measured, BenchError> {
        let mut command = Command::new(&self.executable);
        command.arg(&self.packets).arg(PACKET_BYTES.to_string());
        command.arg(rounds.to_string()).arg(PASSES.to_string());
        let output = command.output().map_err(BenchError::io(self.executable.display().to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace();
        let parsed = (|| {
            let minimum_ns = words.next()?.parse().ok()?;
            let median_ns = words.next()?.parse().ok()?;
            Some(Measured { times: Times { minimum_ns, median_ns }, sum: words.next()?.parse().ok()? })
        })();
        parsed.ok_or(BenchError::Malformed { what: "the C program's measurement", found: text })
    }
}
