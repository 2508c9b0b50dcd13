//! Programs with a time limit.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What one run of `uio-shell` may take. Emulated guests answer within milliseconds; a loaded machine may need seconds.
pub const LIMIT: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(5);

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output of a program that succeeded.
    ///
    /// # Panics
    ///
    /// With all that it said, if it did not.
    #[must_use]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Standard output of a program that failed with exit code 1.
    ///
    /// # Panics
    ///
    /// With all that it said, if it did not.
    #[must_use]
    pub fn bad(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.stdout
    }
}

/// Runs `command` with `input` until it ends.
///
/// # Panics
///
/// If it cannot be started, or has not ended after `limit`: it is killed then.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    // A program that ends early does not read everything.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let ended = wait(&mut child, limit);
    if ended.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child");
    let finished = Finished {
        code: status.code(),
        signal: status.signal(),
        stdout: stdout.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    };
    writer.join().expect("a writer");
    assert!(ended.is_some(), "{command:?} did not end within {limit:?}: {finished:#?}");
    finished
}

/// Waits for the end of a child, until `limit` has passed.
pub fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Whether `condition` comes true before `limit` has passed.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(POLL);
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
