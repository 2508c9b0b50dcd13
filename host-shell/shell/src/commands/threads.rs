//! `threads`

use serde_json::json;
use uio_protocol::inspect::{ThreadInfo, ThreadState};

use super::{Arguments, Command, CommandError, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::{size, time};

pub(super) struct Threads;

impl Command for Threads {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn summary(&self) -> &'static str {
        "All threads: state, wait reason, CPU time, stack margin"
    }

    fn usage(&self) -> &'static str {
        "threads"
    }

    fn details(&self) -> &'static str {
        "MARGIN is the part of the stack that was never touched. A thread whose margin nears zero is about to\n\
         run into its guard page. The guest is not paused."
    }

    fn example(&self) -> &'static str {
        "> threads\n\
         TID  NAME     STATE              PRIO  CPU TIME    STACK    MARGIN\n  \
         1  idle     ready                 0   57.2 ms    8 KiB   7.9 KiB\n  \
         2  net      waiting: network      4    6.7 ms   64 KiB  28.6 KiB\n  \
         3  overlay  running               2    8.9 ms  128 KiB  94.6 KiB\n  \
         4  app      sleeping 550.4 µs     3    3.0 ms   64 KiB  63.8 KiB"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn run(&self, shell: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        // Wake times count from boot; "in how long" needs the guest's clock, read before they are.
        let now = shell.client.info()?.uptime_ns;
        let threads = shell.client.threads()?;
        if out.is_json() {
            for thread in &threads {
                out.object(&to_json(thread))?;
            }
            return Ok(());
        }
        let mut table = Table::new(&[
            ("TID", Align::Right),
            ("NAME", Align::Left),
            ("STATE", Align::Left),
            ("PRIO", Align::Right),
            ("CPU TIME", Align::Right),
            ("STACK", Align::Right),
            ("MARGIN", Align::Right),
        ]);
        for thread in &threads {
            table.row([
                thread.id.0.to_string(),
                thread.name.clone(),
                state(&thread.state, now),
                thread.priority.to_string(),
                time(thread.cpu_time_ns),
                size(thread.stack_bytes.into()),
                size(thread.stack_margin_bytes.into()),
            ]);
        }
        out.table(&table)
    }
}

fn state(state: &ThreadState, now_ns: u64) -> String {
    match state {
        // A wake time at the end of time is a sleep without one.
        ThreadState::Sleeping { until_ns } if *until_ns < u64::MAX => {
            match until_ns.checked_sub(now_ns) {
                Some(left_ns @ 1..) => format!("sleeping {}", time(left_ns)),
                // Its time has come; whoever answers this request has the processor.
                _ => "sleeping, due".to_owned(),
            }
        }
        state => state_name(state),
    }
}

/// The state in words, without times.
pub(super) fn state_name(state: &ThreadState) -> String {
    match state {
        ThreadState::Running => "running".into(),
        ThreadState::Ready => "ready".into(),
        ThreadState::Sleeping { .. } => "sleeping".into(),
        ThreadState::Waiting { reason } => format!("waiting: {reason}"),
        ThreadState::Exited => "exited".into(),
    }
}

/// The thread as every command writes it in JSON.
pub(super) fn to_json(thread: &ThreadInfo) -> serde_json::Value {
    let (state, reason, until) = match &thread.state {
        ThreadState::Running => ("running", None, None),
        ThreadState::Ready => ("ready", None, None),
        ThreadState::Sleeping { until_ns } => ("sleeping", None, Some(*until_ns)),
        ThreadState::Waiting { reason } => ("waiting", Some(reason), None),
        ThreadState::Exited => ("exited", None, None),
    };
    json!({
        "tid": thread.id.0,
        "name": thread.name,
        "state": state,
        "reason": reason,
        "until_ns": until,
        "priority": thread.priority,
        "cpu_time_ns": thread.cpu_time_ns,
        "stack_bytes": thread.stack_bytes,
        "stack_margin_bytes": thread.stack_margin_bytes,
        "extension": thread.extension.map(|id| id.0),
    })
}
