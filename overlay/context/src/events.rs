//! Events to the sessions: output and ends of runs, log lines. Each costs credit, which the shell gives
//! back as it reads; without credit nothing is sent, and nothing but the run that prints waits.

use alloc::format;
use alloc::vec::Vec;

use uio_protocol::event::Event;
use uio_protocol::fault::Outcome;
use uio_protocol::frame::{self, Channel, Header, Kind};
use uio_protocol::inspect::{LogLevel, LogLine, ThreadId};
use uio_protocol::limits::CHUNK_BYTES_MAX;
use uio_protocol::programs::TestRun;
use uio_protocol::rpc::RunId;

use crate::gate::api::OUTPUT_BATCH_BYTES;
use crate::overlay::Overlay;
use crate::paging::{page_within, serialize};
use crate::platform::Platform;
use crate::session::Session;
use crate::shared::{Run, Shared};

/// Output that comes sooner than this after the last is sent together with what follows.
const OUTPUT_INTERVAL_NS: u64 = 1_000_000;

/// Bytes of log lines in one event.
const LOG_BYTES: usize = 8 * 1024;

/// Log lines asked for at a time.
const LOG_LINES_MAX: usize = 512;

/// Bytes of a log line that are sent; the rest is cut. A line is meant to be read by a person.
const LOG_TEXT_BYTES_MAX: usize = 4096;

/// Bytes that an output or log event adds to what it carries, generously.
const ENVELOPE_BYTES: u32 = 32;

impl Overlay {
    /// Sends what there is and may be sent: at most one event for each run and each log, so that no session
    /// starves another. Notes in `flush_ns` when to go on.
    pub(crate) fn send_events(&mut self) {
        let (shared, platform) = (self.shared, self.platform);
        let now = platform.now_ns();
        let mut next: Option<u64> = None;
        for (id, session) in self.sessions.iter_mut() {
            if send_log(platform, id, session) {
                next = Some(now);
            }
            let runs: Vec<RunId> = shared.with(|state| {
                state.runs.iter().filter(|run| run.session == Some(id)).map(|run| run.id).collect()
            });
            for run in runs {
                if let Some(at) = send_run(shared, id, session, run, now) {
                    next = Some(next.map_or(at, |other| other.min(at)));
                }
            }
        }
        // Runs of sessions that are gone end without a word.
        shared.with(|state| state.runs.retain(|run| run.session.is_some() || run.ended.is_none()));
        self.flush_ns = next;
    }

    /// Sends what a run of a load or unload printed, as far as credit goes, and forgets the run. Nobody is
    /// told of its end: that is what the reply is for.
    pub(crate) fn flush_run(&mut self, run: RunId) {
        let owner = self.shared.with(|state| state.run_mut(run).and_then(|run| run.session));
        let now = self.platform.now_ns();
        if let Some(id) = owner
            && let Some(session) = self.sessions.get_mut(id)
        {
            let has_output = || {
                self.shared.with(|state| state.run_mut(run).is_some_and(|run| !run.output.bytes.is_empty()))
            };
            // Each round empties the buffer by a piece or finds the credit used up.
            while has_output() && send_run(self.shared, id, session, run, now).is_some() {}
        }
        let lost = self.shared.with(|state| {
            let lost =
                state.run_mut(run).map_or(0, |run| run.output.dropped_bytes + run.output.bytes.len() as u64);
            state.runs.retain(|other| other.id != run);
            lost
        });
        if lost > 0 {
            let text = format!("{lost} bytes of output of a load or unload (run {}) found no reader", run.0);
            self.platform.log_line(LogLevel::Warn, &text);
        }
    }
}

/// Sends one event if its bytes are covered by credit; whether it was sent.
fn send(platform: &dyn Platform, id: u32, session: &mut Session, event: &Event) -> bool {
    let Some(body) = serialize(event) else { return false };
    let Some(credit) = u32::try_from(body.len()).ok().and_then(|cost| session.credit.checked_sub(cost))
    else {
        return false;
    };
    let header = Header { channel: Channel::Events, kind: Kind::Notice, session: id, id: 0 };
    let Ok(bytes) = frame::encode_body(header, &body) else { return false };
    session.credit = credit;
    platform.send(&bytes);
    true
}

/// Lines of the log from a sequence number on, cut to a length that many of fit a frame.
pub(crate) fn log_lines(platform: &dyn Platform, from: u64) -> Vec<LogLine> {
    let mut lines = platform.log_lines(from, LOG_LINES_MAX);
    for line in &mut lines {
        let end = line.text.floor_char_boundary(LOG_TEXT_BYTES_MAX);
        line.text.truncate(end);
    }
    lines
}

/// Sends log lines to a session that follows. Whether there are more that may be sent now.
fn send_log(platform: &dyn Platform, id: u32, session: &mut Session) -> bool {
    let Some(from) = session.log_from else { return false };
    if platform.log_next() <= from || session.credit <= ENVELOPE_BYTES {
        return false;
    }
    let lines = log_lines(platform, from);
    let Some(first) = lines.first().map(|line| line.sequence) else { return false };
    if first > from {
        if !send(platform, id, session, &Event::LogDropped { lines: first - from }) {
            return false;
        }
        session.log_from = Some(first);
    }
    let room = LOG_BYTES.min(session.credit.saturating_sub(ENVELOPE_BYTES) as usize);
    let (lines, more) = page_within(lines, room);
    let Some(last) = lines.last().map(|line| line.sequence) else { return false };
    if !send(platform, id, session, &Event::Log(lines)) {
        return false;
    }
    session.log_from = Some(last + 1);
    more || platform.log_next() > last + 1
}

/// What is to be sent of a run.
enum Due {
    Nothing,
    At(u64),
    Output { bytes: Vec<u8>, more: bool, unpark: Option<ThreadId> },
    Tested(TestRun),
    Exited { outcome: Outcome, cpu_time_ns: u64, dropped_bytes: u64 },
}

/// Sends output or the end of a run. When to come again, if it is not for new output or credit.
fn send_run(shared: &Shared, id: u32, session: &mut Session, run: RunId, now: u64) -> Option<u64> {
    let room = (session.credit.saturating_sub(ENVELOPE_BYTES) as usize).min(CHUNK_BYTES_MAX);
    match shared.with(|state| state.run_mut(run).map_or(Due::Nothing, |run| due(run, room, now))) {
        Due::Nothing => None,
        Due::At(at) => Some(at),
        Due::Output { bytes, more, unpark } => {
            // It fits the credit by construction.
            send(shared.platform, id, session, &Event::Output { run, bytes });
            if let Some(thread) = unpark {
                shared.platform.unpark(thread);
            }
            more.then_some(now)
        }
        Due::Tested(test) => {
            let event = Event::Tested { run, test };
            if !send(shared.platform, id, session, &event) {
                return None;
            }
            shared.with(|state| state.run_mut(run).map(|run| run.tested = None));
            Some(now)
        }
        Due::Exited { outcome, cpu_time_ns, dropped_bytes } => {
            let event = Event::Exited { run, outcome, cpu_time_ns, dropped_bytes };
            if send(shared.platform, id, session, &event) {
                shared.with(|state| state.runs.retain(|other| other.id != run));
            }
            None
        }
    }
}

/// Takes what is due of a run and fits `room`. Inside a critical section.
fn due(run: &mut Run, room: usize, now: u64) -> Due {
    let output = &mut run.output;
    if output.bytes.is_empty() {
        if let Some(test) = &run.tested {
            return Due::Tested(test.clone());
        }
        return match &run.ended {
            Some((outcome, cpu_time_ns)) => Due::Exited {
                outcome: outcome.clone(),
                cpu_time_ns: *cpu_time_ns,
                dropped_bytes: output.dropped_bytes,
            },
            None => Due::Nothing,
        };
    }
    let size = room.min(output.bytes.len());
    if size == 0 {
        return Due::Nothing;
    }
    let at = output.sent_ns.saturating_add(OUTPUT_INTERVAL_NS);
    if now < at && output.bytes.len() < OUTPUT_BATCH_BYTES && run.ended.is_none() {
        return Due::At(at);
    }
    let (front, back) = output.bytes.as_slices();
    let split = size.min(front.len());
    let bytes = [&front[..split], &back[..size - split]].concat();
    output.bytes.drain(..size);
    output.sent_ns = now;
    output.noticed = !output.bytes.is_empty();
    let waited = core::mem::take(&mut output.waiting);
    let more = run.ended.is_some() || (!output.bytes.is_empty() && size == CHUNK_BYTES_MAX);
    Due::Output { bytes, more, unpark: run.thread.filter(|_| waited) }
}
