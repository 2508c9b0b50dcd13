//! From `uio-shell attach` to a prompt, as a person sees it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::guest::Kept;
use super::metrics;
use super::pty::open_pty;
use super::workbench::Workbench;
use crate::bench::children::{Leads, Supervised};
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::sheet::Sheet;
use crate::bench::statistics::Samples;

/// The instance, and with it the prompt.
const NAME: &str = "count";
/// The prompt of a guest of that name.
const PROMPT: &[u8] = b"count> ";
/// Attaches that are measured.
const ATTACHES: usize = 25;
/// How long one may take, and the shell to leave.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Ctrl-D.
const END: &[u8] = b"\x04";

pub(super) fn measure(bench: &Workbench, sheet: &mut Sheet, progress: &Progress) -> Result<(), BenchError> {
    let _guest = Kept::start(bench, NAME, None)?;
    let mut times = Vec::with_capacity(ATTACHES);
    for attach in 1..=ATTACHES {
        progress.step(format_args!("attach {attach} of {ATTACHES}"));
        times.push(attach_once(bench)?);
    }
    let samples = Samples::millis(&times);
    let part = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
    let build = if cfg!(debug_assertions) { ", of a shell built without optimization" } else { "" };
    let method = format!(
        "{} times `uio-shell attach {NAME}` in a new terminal each, from the start of the process to the prompt{build}; \
         minimum {}, median {}, maximum {} ms; guest under {}",
        samples.len(),
        part(samples.min()),
        part(samples.median()),
        part(samples.max()),
        bench.accel.name(),
    );
    sheet.set(metrics::ATTACH_MINIMUM, samples.min(), &*method);
    sheet.set(metrics::ATTACH_MEDIAN, samples.median(), method);
    Ok(())
}

fn attach_once(bench: &Workbench) -> Result<Duration, BenchError> {
    let (mut pty, terminal) = open_pty().map_err(BenchError::io("a terminal"))?;
    let copy = || terminal.try_clone().map_err(BenchError::io("a terminal"));
    let mut command = Command::new(&bench.shell);
    command.args(["attach", NAME]).env("TERM", "xterm-256color");
    command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
    let started = Instant::now();
    let mut shell = bench.spawn(&mut command, Leads::Group)?;
    // Ours and the command's would keep the terminal open after the shell has left.
    drop((command, terminal));
    let Some(prompt) = pty.wait_for(PROMPT, TIMEOUT) else {
        return Err(BenchError::Timeout { what: "prompt".into(), after: TIMEOUT, log: pty.unread() });
    };
    pty.type_in(END).map_err(BenchError::io("a terminal"))?;
    leave(&mut shell)?;
    Ok(prompt - started)
}

fn leave(shell: &mut Supervised) -> Result<(), BenchError> {
    if shell.ends_within(TIMEOUT) {
        return Ok(());
    }
    Err(BenchError::Timeout {
        what: "end of the shell after Ctrl-D".into(),
        after: TIMEOUT,
        log: String::new(),
    })
}
