//! A shell that stays attached and takes commands from a pipe, in JSON.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::Guest;
use crate::process;

/// What one command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// An attached shell on pipes.
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    asked: u64,
}

impl Session {
    /// Attaches.
    ///
    /// # Panics
    ///
    /// If the shell cannot be started.
    #[must_use]
    pub fn open(guest: &Guest) -> Self {
        let mut command = guest.attach(&["--json"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines, asked: 0 }
    }

    /// Process id of the shell.
    ///
    /// # Panics
    ///
    /// Never: process ids fit.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Starts a command without waiting for what it prints.
    ///
    /// # Panics
    ///
    /// If the shell is gone.
    pub fn send(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("an open pipe");
        writeln!(stdin, "{command}").and_then(|()| stdin.flush()).expect("a shell that reads");
    }

    /// Objects that a command prints.
    ///
    /// # Panics
    ///
    /// If it takes too long, or prints what is no JSON.
    pub fn ask(&mut self, command: &str) -> Vec<Value> {
        self.send(command);
        self.collect(command)
    }

    /// What was printed until now; ends with a marker of its own.
    fn collect(&mut self, command: &str) -> Vec<Value> {
        self.asked += 1;
        let marker = format!("end of command {}", self.asked);
        // An unknown command fails at once, and says its own name.
        self.send(&format!("'{marker}'"));
        let deadline = Instant::now() + LIMIT;
        let mut objects = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("{command}: {error} after {objects:#?}"));
            let value: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line}"));
            if value["error"].as_str().is_some_and(|error| error.contains(&marker)) {
                return objects;
            }
            objects.push(value);
        }
    }

    /// The next line, or `None` if none comes within `limit`.
    pub fn line(&mut self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Closes the pipe, and gives the exit code.
    pub fn close(mut self) -> Option<i32> {
        self.stdin = None;
        process::wait(&mut self.child, LIMIT)?.code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
