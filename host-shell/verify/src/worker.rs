//! One verification in a process of its own.
//!
//! Engines work on what strangers send. A process can be stopped when its time is over, has its own memory limit, and
//! takes nobody along when its stack overflows. The service starts `COMMAND`, writes a [`Job`] to its standard input
//! as JSON and reads an [`Outcome`] from its standard output; [`serve`] is the other end.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process_group, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};

use crate::engine::{Engines, Options};
use crate::object::{Unreadable, read_object};
use crate::verification::{Request, Verification, verify};

/// Stack of the thread that verifies. PREVAIL walks loops inside of loops recursively.
const STACK_BYTES: usize = 64 << 20;

/// Longest outcome that is read. The largest package has 4 MiB; states for `-v` may need more.
const OUTCOME_BYTES_MAX: u64 = 64 << 20;

/// An object to verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The object's name: the file's stem.
    pub name: String,
    /// The ELF file.
    #[serde(with = "crate::base64")]
    pub file: Vec<u8>,
    /// Engines, as [`Engines`] reads them.
    pub engines: String,
    /// Instructions that uio's analysis may visit.
    pub max_steps: u64,
    /// Whether loops without a proven bound are accepted.
    pub fuel: bool,
    /// Whether to report states.
    pub states: bool,
    /// Address space of the process in bytes.
    pub memory_bytes: u64,
    /// Processor time of the process in seconds.
    pub seconds: u64,
}

/// What became of a job.
pub type Outcome = Result<Verification, JobError>;

/// Why a job ended without a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum JobError {
    /// The file is no object of ours.
    #[error("{message}")]
    UnreadableObject {
        /// Why.
        message: String,
        /// What to do.
        suggestion: String,
    },
    /// It took too long.
    #[error("verification took longer than {limit_ms} ms and was stopped")]
    OutOfTime {
        /// The limit.
        limit_ms: u64,
    },
    /// The process died: out of memory, or an engine's fault.
    #[error(
        "verification ended without a result ({status}): it needs too much memory, or an engine is at fault"
    )]
    Died {
        /// How.
        status: String,
    },
    /// The process could not be started.
    #[error("verification could not be started: {reason}")]
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The service stops and has not begun it.
    #[error("the service stops")]
    Stopping,
}

/// One that gets jobs done.
pub trait Runner: Send + Sync {
    /// Does one job; returns by `deadline` at about the latest.
    fn run(&self, job: &Job, deadline: Duration) -> Outcome;
}

/// Runs each job as a process.
#[derive(Clone, Debug)]
pub struct ProcessRunner {
    /// The program.
    pub program: PathBuf,
    /// Arguments that make it call [`serve`].
    pub arguments: Vec<String>,
}

impl Runner for ProcessRunner {
    fn run(&self, job: &Job, deadline: Duration) -> Outcome {
        let not_started = |error: io::Error| JobError::NotStarted { reason: error.to_string() };
        let end = Instant::now() + deadline;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // So that it can be killed with all that it started, and Ctrl-C at the service lets it finish.
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(JobError::NotStarted { reason: "no pipes".to_owned() });
        };
        let (sender, receiver) = channel();
        let text = serde_json::to_vec(job).map_err(|error| not_started(error.into()))?;
        thread::scope(|scope| {
            scope.spawn(move || {
                // A process that dies reads no further; its status says the rest.
                let _ = input.write_all(&text);
            });
            scope.spawn(move || {
                let mut bytes = Vec::new();
                let result = output.take(OUTCOME_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes);
                let _ = sender.send(result);
            });
            let answer = receiver.recv_timeout(end.saturating_duration_since(Instant::now()));
            // Ends the threads above as well, whatever they wait for.
            let died = match answer {
                Err(RecvTimeoutError::Timeout) => {
                    finish(&mut child, true);
                    return Err(JobError::OutOfTime { limit_ms: deadline.as_millis() as u64 });
                }
                Ok(Ok(bytes)) => match serde_json::from_slice::<Outcome>(&bytes) {
                    Ok(outcome) => {
                        finish(&mut child, true);
                        return outcome;
                    }
                    Err(_) => finish(&mut child, false),
                },
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => finish(&mut child, true),
            };
            Err(JobError::Died { status: died })
        })
    }
}

/// Waits for the end of `child`, which has closed its output or is to be killed. How it ended.
fn finish(child: &mut Child, kill: bool) -> String {
    /// Time for a process to end by itself after it closed its output.
    const GRACE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + if kill { Duration::ZERO } else { GRACE };
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(5));
    }
    // It is gone already, in most cases, but not reaped, so that its number is still its own.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Runs each job in the calling thread, without limits. For tests and for one's own files.
#[derive(Clone, Copy, Debug)]
pub struct DirectRunner;

impl Runner for DirectRunner {
    fn run(&self, job: &Job, _deadline: Duration) -> Outcome {
        job.run()
    }
}

impl Job {
    fn run(&self) -> Outcome {
        let engines: Engines =
            self.engines.parse().map_err(|error| JobError::NotStarted { reason: format!("{error}") })?;
        let options = Options { max_steps: self.max_steps, fuel: self.fuel, keep_states: self.states };
        let subject = read_object(&self.file, &self.name).map_err(|Unreadable { message, suggestion }| {
            JobError::UnreadableObject { message, suggestion }
        })?;
        Ok(verify(subject, &Request { engines, options }))
    }
}

/// Runs `task` in a thread with a stack that suffices for every engine.
///
/// # Errors
///
/// No thread could be started, or it panicked.
pub fn with_large_stack<T: Send>(task: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, task)?;
        thread.join().map_err(|_| io::Error::other("the verification panicked"))
    })
}

/// The other end: reads a job from standard input, limits itself, does it, and writes the outcome to standard output.
///
/// # Errors
///
/// No job came, or the outcome could not be written.
pub fn serve() -> io::Result<()> {
    // A worker without its service is of no use.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let job: Job = serde_json::from_reader(io::stdin().lock())?;
    limit(Resource::As, job.memory_bytes)?;
    limit(Resource::Cpu, job.seconds)?;
    limit(Resource::Core, 0)?;
    let outcome = with_large_stack(|| job.run())?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &outcome)?;
    out.flush()
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(Into::into)
}
