//! QEMU's monitor (QMP): JSON lines over a Unix socket, one client at a time.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long QEMU may take to answer; it answers at once unless it is stopped by a debugger.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a monitor command failed.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed.
    #[error("QEMU's monitor: {0}")]
    Io(#[from] io::Error),
    /// QEMU refused.
    #[error("QEMU refused `{command}`: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// Its words.
        reason: String,
    },
}

/// A monitor that is ready for commands.
#[derive(Debug)]
pub struct Monitor {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Monitor {
    /// Connects and leaves negotiation mode.
    ///
    /// # Errors
    ///
    /// [`QmpError::Io`] if nobody listens or something else does.
    pub fn connect(path: &Path) -> Result<Self, QmpError> {
        let writer = UnixStream::connect(path)?;
        writer.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        writer.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut monitor = Self { reader: BufReader::new(writer.try_clone()?), writer };
        let greeting = monitor.line()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no QMP greeting").into());
        }
        monitor.execute("qmp_capabilities")?;
        Ok(monitor)
    }

    /// Runs a command without arguments and gives its result.
    ///
    /// # Errors
    ///
    /// [`QmpError`].
    pub fn execute(&mut self, command: &str) -> Result<Value, QmpError> {
        self.execute_with(command, &json!({}))
    }

    /// Runs a command and gives its result.
    ///
    /// # Errors
    ///
    /// [`QmpError`].
    pub fn execute_with(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let request = json!({ "execute": command, "arguments": arguments });
        let mut line = serde_json::to_vec(&request).map_err(io::Error::from)?;
        line.push(b'\n');
        self.writer.write_all(&line)?;
        loop {
            let mut answer = self.line()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), reason });
            }
            // Anything else is an event.
        }
    }

    fn line(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(serde_json::from_str(&line).map_err(io::Error::from)?)
    }
}
