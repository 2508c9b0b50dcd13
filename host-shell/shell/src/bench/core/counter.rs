//! Counts a guest's instructions exactly, by a plugin of QEMU's translator.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guest::{Guest, Setup};
use super::workbench::Workbench;
use crate::bench::compiler;
use crate::bench::error::BenchError;
use crate::machine::Machine;

/// How long a counted run may take. Counted, a guest runs at some 10 million instructions a second on a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The compiled plugin.
#[derive(Debug)]
pub(super) struct Counter {
    library: PathBuf,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// An instruction that runs once per round.
    pub(super) head: u64,
    /// Counting begins at this round; 0 is the guest's first instruction.
    pub(super) from: u64,
    /// At this round it ends, and QEMU with it.
    pub(super) to: u64,
    /// Rounds are numbered from when this file exists.
    pub(super) wait: Option<PathBuf>,
    /// Start and end of a piece of code to count separately.
    pub(super) range: Option<(u64, u64)>,
}

/// Instructions executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// By the whole guest.
    pub(super) total: u64,
    /// In the range.
    pub(super) range: u64,
}

/// A guest whose instructions are counted.
pub(super) struct Counted {
    pub(super) guest: Guest,
    out: PathBuf,
}

impl Counter {
    /// Compiles the plugin.
    pub(super) fn build(bench: &Workbench) -> Result<Self, BenchError> {
        Ok(Self { library: compiler::library(&bench.folder, "counter", include_str!("counter.c"))? })
    }

    /// Starts a guest.
    pub(super) fn start(
        &self,
        bench: &Workbench,
        name: &str,
        image: &Path,
        machine: Machine,
        window: &Window,
    ) -> Result<Counted, BenchError> {
        let out = bench.folder.path(&format!("{name}.counts"));
        let _ = fs::remove_file(&out);
        let Window { head, from, to, wait, range } = window;
        let mut plugin =
            format!("{},out={},head={head:#x},from={from},to={to}", self.library.display(), out.display());
        if let Some(wait) = wait {
            plugin.push_str(&format!(",wait={}", wait.display()));
        }
        if let Some((low, high)) = range {
            plugin.push_str(&format!(",range={low:#x}-{high:#x}"));
        }
        let extra = vec!["-plugin".to_owned(), plugin];
        let guest = Guest::start(bench, name, Setup { image, machine, icount: true, extra })?;
        Ok(Counted { guest, out })
    }

    /// Runs a guest to the end of the window.
    pub(super) fn count(
        &self,
        bench: &Workbench,
        name: &str,
        image: &Path,
        machine: Machine,
        window: &Window,
    ) -> Result<Counts, BenchError> {
        self.start(bench, name, image, machine, window)?.finish()
    }
}

impl Counted {
    /// Waits for the end of the window.
    pub(super) fn finish(mut self) -> Result<Counts, BenchError> {
        self.guest.end(TIMEOUT)?;
        let text = fs::read_to_string(&self.out).map_err(|_| BenchError::Ended {
            what: "its instructions were counted".into(),
            log: fs::read_to_string(self.guest.paths.qemu_log()).unwrap_or_default(),
        })?;
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Counts, BenchError> {
    let malformed = || BenchError::Malformed { what: "the plugin's answer", found: text.to_owned() };
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers.map_err(|_| malformed())?.as_slice() {
        [total] => Ok(Counts { total: *total, range: 0 }),
        [total, range] => Ok(Counts { total: *total, range: *range }),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_plugin() {
        assert_eq!(parse("10836000 6810000\n").unwrap(), Counts { total: 10_836_000, range: 6_810_000 });
        assert_eq!(parse("7\n").unwrap(), Counts { total: 7, range: 0 });
        for bad in ["", "a", "1 2 3", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
