//! Where a command's output goes: text for people, or one JSON object a line.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::CommandError;
use crate::render::style::Style;
use crate::render::table::Table;

/// The output of a command.
pub struct Output<'sink> {
    sink: &'sink mut dyn Write,
    style: Style,
    json: bool,
}

/// # Errors
///
/// Each method: [`CommandError::OutputClosed`] when the reader is gone, [`CommandError::Output`] otherwise.
impl<'sink> Output<'sink> {
    /// Output into `sink`.
    pub fn new(sink: &'sink mut dyn Write, style: Style, json: bool) -> Self {
        Self { sink, style, json }
    }

    /// Colours.
    #[must_use]
    pub fn style(&self) -> Style {
        if self.json { Style::PLAIN } else { self.style }
    }

    /// Whether JSON is wanted.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Chooses JSON or text.
    pub fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    /// A line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), CommandError> {
        self.bytes(text.as_ref().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.sink.write_all(bytes).map_err(output_error)
    }

    /// Pushes out what is buffered.
    pub fn flush(&mut self) -> Result<(), CommandError> {
        self.sink.flush().map_err(output_error)
    }

    /// A table.
    pub fn table(&mut self, table: &Table) -> Result<(), CommandError> {
        let text = table.render(self.style());
        self.bytes(text.as_bytes())
    }

    /// One JSON object on a line.
    pub fn object(&mut self, value: &Value) -> Result<(), CommandError> {
        self.line(value.to_string())
    }

    /// Shows a failure, where nobody needs to be spared.
    pub fn failure(&mut self, error: &CommandError) {
        let (message, details, hint) = match error {
            CommandError::OutputClosed | CommandError::Output(_) | CommandError::Shown => return,
            error => (error.to_string(), error.details(), error.hint()),
        };
        // If not even this can be written, there is nobody to tell.
        let _ = if self.json {
            self.object(&json!({ "error": message, "details": details, "hint": hint }))
        } else {
            self.line(error_text(self.style, &message, &details, hint.as_deref()))
        };
        let _ = self.flush();
    }
}

/// An error as a person sees it.
#[must_use]
pub fn error_text(style: Style, message: &str, details: &[String], hint: Option<&str>) -> String {
    let mut text = format!("{} {message}", style.error("error:"));
    for detail in details {
        text.push_str("\n  ");
        text.push_str(detail);
    }
    if let Some(hint) = hint {
        text.push_str(&format!("\n  {} {hint}", style.hint("hint:")));
    }
    text
}

fn output_error(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CommandError::OutputClosed
    } else {
        CommandError::Output(error)
    }
}
