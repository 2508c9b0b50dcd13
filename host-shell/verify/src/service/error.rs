//! What a service refuses, and how it says so.

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::clients::Denied;
use crate::issue::IssueError;
use crate::worker::JobError;

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address cannot be had.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Anybody on the network could have anything signed.
    #[error("a service at {address} would sign for everybody who reaches it")]
    OpenSigning {
        /// Where.
        address: SocketAddr,
    },
    /// No threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl ServiceError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OpenSigning { .. } => Some(
                "name who may have what signed with --clients FILE, or listen at 127.0.0.1 behind something that \
                 does"
                    .into(),
            ),
            Self::Listen { .. } => Some("`--listen 127.0.0.1:0` finds a free port".into()),
            Self::Thread(_) => None,
        }
    }
}

/// An error as the API says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// Status of the answer.
    #[serde(skip)]
    pub status: u16,
    /// For programs: a word that stays.
    pub code: String,
    /// For people.
    pub message: String,
    /// Values that belong to the code.
    #[serde(flatten)]
    pub details: Box<Value>,
}

impl ApiError {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), details: Box::new(json!({})) }
    }

    pub(super) fn with(mut self, details: Value) -> Self {
        *self.details = details;
        self
    }

    pub(super) fn body(&self) -> Value {
        json!({ "error": self })
    }
}

impl From<&JobError> for ApiError {
    fn from(error: &JobError) -> Self {
        let message = error.to_string();
        match error {
            JobError::UnreadableObject { suggestion, .. } => {
                Self::new(422, "unreadable_object", message).with(json!({ "suggestion": suggestion }))
            }
            JobError::OutOfTime { limit_ms } => {
                Self::new(422, "out_of_time", message).with(json!({ "limit_ms": limit_ms }))
            }
            JobError::Died { status } => {
                Self::new(500, "engine_died", message).with(json!({ "how": status }))
            }
            JobError::NotStarted { .. } => Self::new(500, "not_started", message),
            JobError::Stopping => Self::new(503, "stopping", message),
        }
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        let code = match &error {
            IssueError::Rejected => "rejected",
            IssueError::Unproven => "unproven",
            IssueError::HookKind { .. } => "hook_kind",
            IssueError::Claims(_) => "claims",
            IssueError::Package(_) => "package",
            IssueError::Object => "object",
        };
        Self::new(422, code, error.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => {
                Self::new(401, "no_token", "signing needs a token: `Authorization: Bearer TOKEN`")
            }
            Denied::UnknownToken => Self::new(401, "unknown_token", "this token is not known"),
            Denied::Tenant { client, tenant } => {
                let message = format!("`{client}` gets nothing signed for tenant `{tenant}`");
                Self::new(403, "tenant", message).with(json!({ "tenant": tenant }))
            }
            Denied::Hook { client, hook } => {
                let message = format!("`{client}` gets nothing signed for hook {hook}");
                Self::new(403, "hook", message).with(json!({ "hook": hook }))
            }
        }
    }
}
