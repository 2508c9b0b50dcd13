//! `log`

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde_json::json;
use uio_protocol::event::Event;
use uio_protocol::inspect::{LogLevel, LogLine};

use super::{Arguments, Command, CommandError, Flag, Output, Shell};
use crate::render::style::Style;

/// How often a follower looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

pub(super) struct Log;

impl Command for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn summary(&self) -> &'static str {
        "The guest's log; with -f, as it grows"
    }

    fn usage(&self) -> &'static str {
        "log [-f]"
    }

    fn details(&self) -> &'static str {
        "Times are seconds since boot. The guest keeps the newest lines only; a gap is announced, and so are\n\
         lines that this shell was too slow to take. `log -f` ends with Ctrl-C."
    }

    fn example(&self) -> &'static str {
        "> log\n\
         [    0.000] info   uio count 0.1.0\n\
         [    0.012] info   virtio: console, 9p, rng\n\
         [    4.310] warn   extension loop ended: budget of 1000 ms used up"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag { name: "-f", takes_value: false }]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let mut next = 0;
        if !arguments.has("-f") {
            return print(&shell.client.log_from(0)?, &mut next, out);
        }
        shell.follow(|events| {
            // Events were turned on first, so nothing falls between these lines and the events; what comes twice
            // is known by its number.
            print(&shell.client.log_from(0)?, &mut next, out)?;
            loop {
                out.flush()?;
                match events.recv_timeout(POLL) {
                    Ok(Event::Log(lines)) => print(&lines, &mut next, out)?,
                    Ok(Event::LogDropped { lines }) => lost(lines, out)?,
                    Ok(Event::Output { .. } | Event::Exited { .. } | Event::Tested { .. })
                    | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                // Ctrl-C is how one leaves; it is no failure.
                if shell.interrupts.take() {
                    return Ok(());
                }
                if !shell.client.is_connected() {
                    return Err(crate::client::ClientError::Closed.into());
                }
            }
        })
    }
}

fn print(lines: &[LogLine], next: &mut u64, out: &mut Output<'_>) -> Result<(), CommandError> {
    for line in lines {
        if line.sequence < *next {
            continue;
        }
        // Before the first line shown, what is missing was overwritten long ago.
        if *next > 0 && line.sequence > *next {
            lost(line.sequence - *next, out)?;
        }
        *next = line.sequence + 1;
        if out.is_json() {
            out.object(&json!({
                "sequence": line.sequence,
                "time_ns": line.time_ns,
                "level": level_name(line.level).trim_end(),
                "text": line.text,
            }))?;
        } else {
            out.line(colored_line(line, out.style()))?;
        }
    }
    Ok(())
}

fn lost(lines: u64, out: &mut Output<'_>) -> Result<(), CommandError> {
    if out.is_json() {
        out.object(&json!({ "lost_lines": lines }))
    } else {
        out.line(out.style().warning(&format!("({lines} lines were lost)")))
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn ",
        LogLevel::Info => "info ",
        LogLevel::Debug => "debug",
    }
}

fn colored_line(line: &LogLine, style: Style) -> String {
    let seconds = line.time_ns as f64 / 1e9;
    let level = level_name(line.level);
    let level = match line.level {
        LogLevel::Error => style.error(level),
        LogLevel::Warn => style.warning(level),
        LogLevel::Info => level.to_owned(),
        LogLevel::Debug => style.dim(level),
    };
    format!("{} {level}  {}", style.dim(&format!("[{seconds:>9.3}]")), line.text)
}

/// A line without colours.
pub(super) fn plain_line(line: &LogLine) -> String {
    colored_line(line, Style::PLAIN)
}
