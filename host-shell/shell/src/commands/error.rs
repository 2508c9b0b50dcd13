//! Why a command failed.

use std::io;
use std::path::PathBuf;

use uio_debuginfo::{ExprError, Problem};

use crate::client::ClientError;
use crate::render::error as rpc;
use crate::text::os_reason;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("unknown command `{name}`")]
    Unknown {
        /// What was typed.
        name: String,
        /// Commands like it.
        near: Vec<String>,
    },
    /// Wrong arguments.
    #[error("{command}: {message}")]
    Usage {
        /// The command.
        command: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The guest refused, or the link failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An expression.
    #[error("{}", .0.problem)]
    Expression(#[from] ExprError),
    /// A host file.
    #[error("{}: {}", path.display(), os_reason(source))]
    HostFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An eBPF program that was not found safe.
    #[error("{message}")]
    Rejected {
        /// What is wrong.
        message: String,
        /// Where, and how it comes there.
        details: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// Output went nowhere: the reader of a pipe is gone. Nobody needs to be told.
    #[error("the output was closed")]
    OutputClosed,
    /// Output failed otherwise.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Anything else, with the next step if there is one.
    #[error("{message}")]
    Other {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The failure has been shown already, as part of the output.
    #[error("failed")]
    Shown,
}

impl CommandError {
    /// A failure in words.
    #[must_use]
    pub fn message(message: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: None }
    }

    /// A failure in words, and what to do about it.
    #[must_use]
    pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: Some(hint.into()) }
    }

    /// Further lines.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Client(ClientError::Rpc(error)) => rpc::details(error),
            Self::Rejected { details, .. } => details.clone(),
            // A single word needs no finger pointing at it.
            Self::Expression(error) if error.source.len() > error.span.end - error.span.start => {
                let marks = error.source.get(error.span.start..error.span.end).unwrap_or(" ");
                let marks = "^".repeat(marks.chars().count().max(1));
                vec![error.source.clone(), format!("{}{marks}", " ".repeat(error.column()))]
            }
            _ => Vec::new(),
        }
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near, .. } => Some(match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`help` lists all commands".into(),
            }),
            Self::Usage { command, .. } => {
                let usage = super::find(command).map(super::Command::usage).unwrap_or(command);
                Some(format!("usage: {usage}"))
            }
            Self::Client(ClientError::Rpc(error)) => rpc::hint(error),
            Self::Client(ClientError::Timeout { .. }) => {
                Some("`uio-shell ps` says whether it still runs; `log` of another shell what it does".into())
            }
            Self::Client(ClientError::Closed) => Some(
                "`uio-shell ps` lists what runs; the serial log in the run directory says why it ended"
                    .into(),
            ),
            Self::Expression(error) if !error.suggestions.is_empty() => {
                let names: Vec<String> = error.suggestions.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("did you mean {}?", names.join(" or ")))
            }
            Self::Expression(error) if matches!(*error.problem, Problem::UnknownName { .. }) => {
                Some("`sym PATTERN` searches all names of the guest".into())
            }
            Self::HostFile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("this command takes a file of the host".into())
            }
            Self::Other { hint, .. } | Self::Rejected { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
